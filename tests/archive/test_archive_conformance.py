"""What an archive promises wherever it is: the same tests over a folder, moto and OpenStack Swift."""

import asyncio
import contextlib
import os
from pathlib import Path

import pytest
from archive_parts import FOLDER, Place, archive_generation, manifest, noise, sha, written
from s3_servers import SECRET

from prefect_ltx.archive import (
    Archive,
    ArchiveConflict,
    ArchiveCorrupt,
    ArchiveKeyInvalid,
    ArchiveNotFound,
    ManifestUnreadable,
)

LARGE = 21 << 20  # more than S3 takes in one request here, and not a whole number of parts


@pytest.mark.parametrize("size", [0, 1, 100_000, LARGE])
async def test_what_goes_in_comes_out(place: Place, tmp_path: Path, size: int) -> None:
    """A file of any size is stored, found, listed and read back byte for byte."""
    data = noise(size)
    stored = await place.archive.put_file(
        "a/b/video.mp4", written(tmp_path / "in.mp4", data), sha256=sha(data), content_type="video/mp4"
    )
    assert (stored.key, stored.size, stored.sha256, stored.existed) == (
        "a/b/video.mp4",
        size,
        sha(data),
        False,
    )
    assert await place.archive.exists("a/b/video.mp4")
    assert await place.archive.list() == ["a/b/video.mp4"]
    fetched = await place.archive.fetch("a/b/video.mp4", tmp_path / "out.mp4", sha256=sha(data))
    assert (tmp_path / "out.mp4").read_bytes() == data
    assert fetched.sha256 == sha(data)
    assert place.unfinished() == 0


@pytest.mark.parametrize("size", [1000, LARGE])
async def test_the_same_bytes_again_are_no_error(place: Place, tmp_path: Path, size: int) -> None:
    """A run that starts over after a crash may store its files again."""
    data = noise(size)
    path = written(tmp_path / "in.mp4", data)
    first = await place.archive.put_file("a/video.mp4", path, sha256=sha(data), content_type="video/mp4")
    again = await place.archive.put_file("a/video.mp4", path, sha256=sha(data), content_type="video/mp4")
    assert (first.existed, again.existed) == (False, True)


@pytest.mark.parametrize("size", [1000, LARGE])
async def test_other_bytes_never_replace_what_is_there(place: Place, tmp_path: Path, size: int) -> None:
    """Write-once: the second, different file is refused and the first one stays."""
    await place.archive.put_bytes("a/video.mp4", b"first", content_type="video/mp4")
    other = noise(size)
    with pytest.raises(ArchiveConflict, match=r"video\.mp4.*other bytes"):
        await place.archive.put_file(
            "a/video.mp4", written(tmp_path / "in", other), sha256=sha(other), content_type="video/mp4"
        )
    with pytest.raises(ArchiveConflict):
        await place.archive.put_bytes("a/video.mp4", b"FIRST", content_type="video/mp4")
    assert await place.archive.read_bytes("a/video.mp4") == b"first"
    assert place.unfinished() == 0


@pytest.mark.parametrize("size", [1000, LARGE])
async def test_a_file_that_is_not_what_it_is_said_to_be_is_not_stored(
    place: Place, tmp_path: Path, size: int
) -> None:
    """The bytes on disk are hashed on their way in; nothing appears when they changed since."""
    path = written(tmp_path / "in", noise(size, seed=1))
    with pytest.raises(ArchiveCorrupt, match="sha256 differs"):
        await place.archive.put_file("a/video.mp4", path, sha256=sha(b"else"), content_type="video/mp4")
    assert await place.archive.list() == []
    assert place.unfinished() == 0


async def test_a_missing_local_file_is_named(place: Place, tmp_path: Path) -> None:
    """The error says which file was to be archived."""
    with pytest.raises(ArchiveNotFound, match=r"gone\.mp4"):
        await place.archive.put_file(
            "a.mp4", tmp_path / "gone.mp4", sha256=sha(b""), content_type="video/mp4"
        )


async def test_of_racing_writers_one_wins(place: Place) -> None:
    """With different bytes one write is kept and every other is refused; nobody reads a mixture."""
    if place.kind == "swift":
        pytest.skip("Swift's conditional writes are not atomic")
    contents = [noise(200_000, seed) for seed in range(8)]
    answers = await asyncio.gather(
        *(place.archive.put_bytes("a.mp4", data, content_type="video/mp4") for data in contents),
        return_exceptions=True,
    )
    winners = [number for number, answer in enumerate(answers) if not isinstance(answer, Exception)]
    assert len(winners) == 1
    assert sum(isinstance(answer, ArchiveConflict) for answer in answers) == 7
    assert await place.archive.read_bytes("a.mp4") == contents[winners[0]]


async def test_racing_writers_of_the_same_bytes_all_succeed(place: Place) -> None:
    """Two workers that finish the same generation do not disturb each other."""
    answers = await asyncio.gather(
        *(place.archive.put_bytes("a.mp4", b"same", content_type="video/mp4") for _ in range(6))
    )
    assert {answer.sha256 for answer in answers} == {sha(b"same")}


async def test_cancelling_a_write_leaves_nothing_half_done(place: Place, tmp_path: Path) -> None:
    """No temporary file and no multipart upload stays behind; what was through when the word came is whole."""
    data = noise(2 * LARGE)
    path = written(tmp_path / "in", data)
    for delay in (0.0, 0.01, 0.04):
        write = asyncio.create_task(
            place.archive.put_file("a/video.mp4", path, sha256=sha(data), content_type="video/mp4")
        )
        await asyncio.sleep(delay)
        write.cancel()
        await asyncio.gather(write, return_exceptions=True)
    for _ in range(1000):  # a thread that copies into a folder ends at its next piece
        if place.unfinished() == 0:
            break
        await asyncio.sleep(0.01)
    assert place.unfinished() == 0
    for key in await place.archive.list():
        await place.archive.fetch(key, tmp_path / "out", sha256=sha(data))


async def test_a_cancelled_copy_stops_at_its_next_piece(tmp_path: Path) -> None:
    """A folder gets no file from a writer that was cancelled while its source was being read."""
    archive, source = Archive(str(tmp_path / "archive")), tmp_path / "source"
    os.mkfifo(source)
    data = noise(LARGE)
    write = asyncio.create_task(
        archive.put_file("a/video.mp4", source, sha256=sha(data), content_type="video/mp4")
    )
    pipe = await asyncio.to_thread(source.open, "wb")  # returns once the copying thread has opened it too
    await asyncio.to_thread(pipe.write, data[: 4 << 20])
    write.cancel()
    with pytest.raises(asyncio.CancelledError):
        await write
    with contextlib.suppress(BrokenPipeError):
        await asyncio.to_thread(pipe.write, data[4 << 20 :])
    with contextlib.suppress(BrokenPipeError):
        pipe.close()
    while list(tmp_path.rglob("*.part")):
        await asyncio.sleep(0.01)
    assert await archive.list() == []


async def test_what_a_killed_writer_left_is_cleared_when_it_is_old(place: Place) -> None:
    """Young leftovers may belong to a living writer and stay; finished files always stay."""
    await place.archive.put_bytes("2026/kept.mp4", b"kept", content_type="video/mp4")
    place.leave_unfinished()
    assert await place.archive.list() == ["2026/kept.mp4"]
    if place.kind != "moto":  # there every upload was begun in 2010
        assert await place.archive.clear_stale_temporaries(older_than=3600) == 0
        assert place.unfinished() == 1
    assert await place.archive.clear_stale_temporaries(older_than=-5) == 1
    assert place.unfinished() == 0
    assert await place.archive.list() == ["2026/kept.mp4"]


async def test_listing_goes_by_prefix(place: Place) -> None:
    """Prefixes may end in the middle of a name; an archive without files is an empty one."""
    assert await place.archive.list() == []
    for key in ("a/1.jpg", "a/10.jpg", "ab/1.jpg", "index.html"):
        await place.archive.put_bytes(key, b"x", content_type="image/jpeg")
    assert await place.archive.list("a/") == ["a/1.jpg", "a/10.jpg"]
    assert await place.archive.list("a/1") == ["a/1.jpg", "a/10.jpg"]
    assert await place.archive.list("a") == ["a/1.jpg", "a/10.jpg", "ab/1.jpg"]
    assert await place.archive.list("b") == []


async def test_reading_what_is_not_there_says_so(place: Place, tmp_path: Path) -> None:
    """Reading and fetching fail by name, and a failed fetch leaves no file and keeps an old one."""
    with pytest.raises(ArchiveNotFound, match=r"none\.mp4"):
        await place.archive.read_bytes("a/none.mp4")
    out = written(tmp_path / "out.mp4", b"before")
    with pytest.raises(ArchiveNotFound):
        await place.archive.fetch("a/none.mp4", out)
    await place.archive.put_bytes("a/b.mp4", b"other", content_type="video/mp4")
    with pytest.raises(ArchiveCorrupt):
        await place.archive.fetch("a/b.mp4", out, sha256=sha(b"expected"))
    assert out.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out.mp4"]
    assert not await place.archive.exists("a/none.mp4")


async def test_an_unsafe_key_reaches_no_store(place: Place, tmp_path: Path) -> None:
    """Keys that could leave the archive are refused by every method."""
    archive = place.archive
    for work in (
        archive.put_bytes("../a", b"", content_type="x/y"),
        archive.put_file("/etc/a", tmp_path, sha256="", content_type="x/y"),
        archive.read_bytes("a/../../b"),
        archive.fetch("..", tmp_path / "x"),
        archive.exists("a//b"),
        archive.list("../"),
        archive.manifest("../other"),
    ):
        with pytest.raises(ArchiveKeyInvalid):
            await work


async def test_a_manifest_is_written_last(place: Place) -> None:
    """It is refused until every file that it names is there, with the size that it names."""
    files = {"video.mp4": b"a video", "poster.jpg": b"a poster"}
    made = manifest(files)
    await place.archive.put_bytes(f"{FOLDER}/video.mp4", files["video.mp4"], content_type="video/mp4")
    with pytest.raises(ArchiveNotFound, match=r"poster\.jpg"):
        await place.archive.publish(made)
    await place.archive.put_bytes(f"{FOLDER}/poster.jpg", b"a different one", content_type="image/jpeg")
    with pytest.raises(ArchiveCorrupt, match=r"poster\.jpg"):
        await place.archive.publish(made)
    assert await place.archive.manifest(FOLDER) is None


async def test_a_manifest_is_written_once(place: Place) -> None:
    """The first one of a generation stands; one of another generation in its folder is refused."""
    first = await archive_generation(place.archive, {"video.mp4": b"a video"})
    later = first.model_copy(update={"tools": {"ffmpeg": "10"}})
    again = await place.archive.publish(later)
    assert (again.existed, again.sha256) == (True, first.sha256)
    found = await place.archive.manifest(FOLDER)
    assert found is not None
    assert found.model_dump() == first.model_dump()
    assert found.sha256 == first.sha256
    with pytest.raises(ArchiveConflict):
        await place.archive.publish(first.model_copy(update={"generation_key": "f" * 64}))


async def test_manifests_come_in_the_order_of_their_folders(place: Place) -> None:
    """All readable manifests are found, and one that is none disturbs no other."""
    for day in ("2026/11/22/b-1", "2026/11/21/a-1", "2026/11/22/a-1"):
        await archive_generation(place.archive, {"video.mp4": b"v"}, folder=day)
    place.tamper("2026/11/23/x-1/manifest.json", b"{}")
    assert [each.folder async for each in place.archive.manifests()] == [
        "2026/11/21/a-1",
        "2026/11/22/a-1",
        "2026/11/22/b-1",
    ]
    with pytest.raises(ManifestUnreadable, match=r"x-1/manifest\.json"):
        await place.archive.manifest("2026/11/23/x-1")


async def test_verify_finds_every_kind_of_damage(place: Place) -> None:
    """Missing, altered, cut, unreadable and unlisted are told apart; what is whole is not mentioned."""
    files = {"video.mp4": b"the video", "poster.jpg": b"a poster", "web.mp4": b"web", "preview.webp": b"w"}
    await archive_generation(place.archive, files)
    await archive_generation(place.archive, {"video.mp4": b"whole"}, folder="2026/11/22/whole-1")
    place.remove(f"{FOLDER}/poster.jpg")
    place.tamper(f"{FOLDER}/video.mp4", b"THE video")
    place.tamper(f"{FOLDER}/web.mp4", b"we")
    place.tamper("2026/11/23/broken-1/manifest.json", b"not json")
    place.tamper("2026/11/24/unfinished-1/video.mp4", b"no manifest yet")
    seen = []
    report = await place.archive.verify(seen.append)
    assert not report.ok
    assert report.missing == [f"{FOLDER}/poster.jpg"]
    assert [(each.key, each.found_sha256) for each in report.altered] == [
        (f"{FOLDER}/video.mp4", sha(b"THE video")),
        (f"{FOLDER}/web.mp4", None),
    ]
    assert len(report.unreadable) == 1
    assert "broken-1" in report.unreadable[0]
    assert report.unlisted == ["2026/11/24/unfinished-1/video.mp4"]
    assert (report.generations, report.files) == (2, 4)
    assert seen[-1].files == seen[-1].total_files == 4
    assert seen[-1].bytes == seen[-1].total_bytes == report.bytes


async def test_a_whole_archive_is_ok_and_says_so_in_json(place: Place) -> None:
    """An untouched archive, gallery included, passes; so does an empty one; unlisted files are no damage."""
    assert (await place.archive.verify()).ok
    await archive_generation(place.archive, {"video.mp4": b"the video"})
    await place.archive.gallery()
    place.tamper("notes.txt", b"mine")
    report = await place.archive.verify()
    assert report.model_dump(mode="json")["ok"] is True
    assert report.unlisted == ["notes.txt"]


async def test_the_gallery_alone_is_written_anew(place: Place) -> None:
    """Each call replaces the page with one of everything that is archived now."""
    await archive_generation(place.archive, {"video.mp4": b"1"}, prompt_sent="A red boat")
    address = await place.archive.gallery()
    assert address == place.archive.url("index.html")
    await archive_generation(
        place.archive, {"video.mp4": b"2"}, folder="2026/11/22/b-1", prompt_sent="A kite"
    )
    await place.archive.gallery()
    page = (await place.archive.read_bytes("index.html")).decode()
    assert "A red boat" in page
    assert "A kite" in page


def test_an_archive_serves_several_event_loops(place: Place) -> None:
    """One archive object works in one event loop after the other, and in threads at the same time."""

    async def use(number: int) -> bytes:
        await place.archive.put_bytes(f"{number}.txt", b"%d" % number, content_type="text/plain")
        return await place.archive.read_bytes(f"{number}.txt")

    async def in_threads() -> list[bytes]:
        return await asyncio.gather(*(asyncio.to_thread(asyncio.run, use(number)) for number in (2, 3, 4)))

    assert asyncio.run(use(1)) == b"1"
    assert asyncio.run(in_threads()) == [b"2", b"3", b"4"]


def test_no_secret_is_shown(place: Place) -> None:
    """An archive's representation is its place, and no attribute's is its credentials."""
    assert repr(place.archive) == f"Archive({place.archive.location!r})"
    assert SECRET not in repr(everything_in(place.archive))


def everything_in(thing: object, depth: int = 4) -> object:
    inside = getattr(thing, "__dict__", {})
    return {repr(thing): [everything_in(each, depth - 1) for each in inside.values()] if depth else []}


async def test_an_archive_can_be_used_again_after_it_was_closed(place: Place) -> None:
    """Closing gives connections back and ends nothing."""
    async with place.archive as archive:
        await archive.put_bytes("a.txt", b"a", content_type="text/plain")
    assert await place.archive.read_bytes("a.txt") == b"a"
    await place.archive.aclose()
