"""An archive copied to another place, a folder or a bucket: every byte, each manifest last, nothing twice."""

from pathlib import Path

import pytest
from archive_parts import Place, archive_generation

from prefect_ltx.archive import Archive, ArchiveConflict
from prefect_ltx.archive.copying import copy_archive


async def test_every_file_is_copied_and_a_second_run_finds_it_there(place: Place, tmp_path: Path) -> None:
    """What is copied verifies; a manifest arrives after what it names; the same copy again writes nothing."""
    async with Archive(tmp_path / "source") as source:
        made = await archive_generation(source, {"video.mp4": b"video", "poster.jpg": b"poster"})
        await source.put_bytes("takes/a/page.html", b"<p>", content_type="text/html")
        await source.gallery()
        seen: list[tuple[int, int]] = []
        report = await copy_archive(source, place.archive, lambda done, total: seen.append((done, total)))
        assert set(await place.archive.list()) == set(await source.list())
        assert (report.there_already, seen[-1]) == (0, (report.files, report.files))
        assert (await place.archive.verify()).ok
        assert await place.archive.manifest(made.folder) == made
        again = await copy_archive(source, place.archive)
        assert again.there_already >= 4

    async with Archive(tmp_path / "other") as other:
        await other.put_bytes("takes/a/page.html", b"<p>another", content_type="text/html")
        with pytest.raises(ArchiveConflict):
            await copy_archive(other, place.archive)
    assert await place.archive.read_bytes("takes/a/page.html") == b"<p>"
