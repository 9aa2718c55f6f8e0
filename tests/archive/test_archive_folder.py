"""What only a folder can do: lack hard links, fill up, be read-only, hold links and strangers."""

import errno
import os
import pickle
from pathlib import Path

import pytest
from archive_parts import archive_generation, sha

from prefect_ltx.archive import (
    Archive,
    ArchiveConflict,
    ArchiveDenied,
    ArchiveError,
    ArchiveKeyInvalid,
    ArchiveNotFound,
)


async def test_without_hard_links_files_are_still_whole_and_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """exFAT and some network drives have no links; the name is looked up and renamed to instead."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    archive = Archive(tmp_path)
    await archive.put_bytes("a/b.txt", b"first", content_type="text/plain")
    with pytest.raises(ArchiveConflict):
        await archive.put_bytes("a/b.txt", b"other", content_type="text/plain")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]
    assert await archive.read_bytes("a/b.txt") == b"first"


async def test_stored_files_are_the_archives_own(tmp_path: Path) -> None:
    """Changing the source afterwards does not change what was archived."""
    source = tmp_path / "in.txt"
    source.write_bytes(b"before")
    archive = Archive(tmp_path / "archive")
    await archive.put_file("a.txt", source, sha256=sha(b"before"), content_type="text/plain")
    source.write_bytes(b"after!")
    assert await archive.read_bytes("a.txt") == b"before"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_may_not_be_written_says_so(tmp_path: Path) -> None:
    """Permissions are named as the cause."""
    tmp_path.chmod(0o500)
    with pytest.raises(ArchiveDenied):
        await Archive(tmp_path / "archive").put_bytes("a.txt", b"", content_type="text/plain")


async def test_a_file_in_the_way_of_a_folder_is_one_clear_error(tmp_path: Path) -> None:
    """The path and the system's reason are in the message, in one line."""
    (tmp_path / "archive").write_text("a file")
    with pytest.raises(ArchiveError, match="archive") as failed:
        await Archive(tmp_path / "archive").put_bytes("a.txt", b"", content_type="text/plain")
    assert "\n" not in str(failed.value)


async def test_hidden_folders_of_others_are_not_part_of_it(tmp_path: Path) -> None:
    """What a file manager or git keeps in the folder is neither listed nor called unlisted."""
    archive = Archive(tmp_path)
    await archive_generation(archive, {"video.mp4": b"v"})
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("x")
    report = await archive.verify()
    assert report.unlisted == []
    assert report.ok


@pytest.mark.parametrize("location", ["", "  ", "http://127.0.0.1/x", "gs://bucket/x"])
def test_a_location_is_a_folder_or_s3(location: str) -> None:
    """Anything else is refused at once."""
    with pytest.raises(ArchiveKeyInvalid):
        Archive(location)


async def test_a_folder_may_be_named_in_several_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path, a relative one, one in the home folder and a file URL are the same archive."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    places = [Archive(each).location for each in (tmp_path / "a", "a", "~/a", f"file://{tmp_path}/a")]
    assert set(places) == {str(tmp_path / "a")}
    assert Archive("a").url("b c.mp4") == f"file://{tmp_path}/a/b%20c.mp4"
    assert not (tmp_path / "a").exists()


def test_errors_survive_a_pickle() -> None:
    """Prefect sends a failed task's error between processes; it arrives with the same words and parts."""
    for error in (ArchiveNotFound("a is gone"), ArchiveKeyInvalid("bad", next_step="Use another")):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))
        assert (again.what, again.next_step) == (error.what, error.next_step)
