"""`archive verify` compares what a manifest says with the file itself, and one bad item is named and ends nothing."""

import asyncio
import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archive_parts import manifest
from click.testing import Result
from typer.testing import CliRunner

from prefect_ltx.archive import Archive, ArchivedFile, Manifest
from prefect_ltx.archive.mp4_facts import Mp4Watcher
from prefect_ltx.cli import app
from prefect_ltx.media import ffmpeg_binary

FOLDER = "2026/11/21/film-0123456789abcdef"
FACTS = {"width": 256, "height": 144, "num_frames": 25, "audio": True}


@pytest.fixture
def verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Result]:
    monkeypatch.setenv("PREFECT_LTX_ARCHIVE", str(tmp_path / "archive"))
    return lambda: CliRunner().invoke(app, ["archive", "verify", "--json"])


def archived(tmp_path: Path, video: Path, facts: dict[str, Any], folder: str = FOLDER, **extra: Any) -> str:
    """The video in a folder of its own, with a manifest that has its hash and these facts."""
    archive, data = Archive(tmp_path / "archive"), video.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    key = f"{folder}/video.mp4"
    asyncio.run(archive.put_file(key, video, sha256=sha256))
    described = ArchivedFile(
        role="video", name="video.mp4", sha256=sha256, size=len(data), content_type="video/mp4", facts=facts
    )
    asyncio.run(
        archive.publish(Manifest(**{**manifest(folder=folder).model_dump(), "files": [described], **extra}))
    )
    return key


def changed(media_folder: Path, out: Path, *arguments: str) -> Path:
    """The small clip after ffmpeg has done something to it."""
    command = [
        ffmpeg_binary(),
        "-v",
        "error",
        "-y",
        "-i",
        str(media_folder / "clip.mp4"),
        *arguments,
        str(out),
    ]
    subprocess.run(command, check=True)
    return out


def test_a_file_that_is_what_its_manifest_says(
    tmp_path: Path, media_folder: Path, verify: Callable[[], Result]
) -> None:
    """Facts as they were measured contradict nothing; what a manifest does not say is not compared."""
    archived(tmp_path, media_folder / "clip.mp4", FACTS)
    archived(tmp_path, media_folder / "clip.mp4", {}, folder="2026/11/21/ingredient-1")
    done = verify()
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["contradicting"] == []


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"num_frames": 121}, "25 frames in place of 121"),
        ({"frames": 24, "num_frames": 24}, "25 frames in place of 24"),
        ({"width": 1280, "height": 720}, "256x144 in place of 1280x720"),
        ({"audio": False}, "has sound, and should have none"),
    ],
)
def test_a_file_that_is_another_one(
    facts: dict[str, Any], says: str, tmp_path: Path, media_folder: Path, verify: Callable[[], Result]
) -> None:
    """The hash is right, and the file is not the one that its manifest describes: named, exit code 1."""
    key = archived(tmp_path, media_folder / "clip.mp4", FACTS | facts)
    done = verify()
    assert done.exit_code == 1
    assert json.loads(done.stdout)["contradicting"] == [{"key": key, "what": [says]}]


def test_one_film_s_file_under_another_s_manifest(
    tmp_path: Path, media_folder: Path, verify: Callable[[], Result]
) -> None:
    """A film's file carries its title: that of another film is found, and its own is not."""
    ours = changed(media_folder, tmp_path / "ours.mp4", "-c", "copy", "-metadata", "title=The  Quay")
    key = archived(tmp_path, ours, FACTS, film={"title": "The Harbour"})
    archived(tmp_path, ours, FACTS, folder="2026/11/21/film-2", film={"title": "The Quay"})
    done = verify()
    assert done.exit_code == 1
    (found,) = json.loads(done.stdout)["contradicting"]
    assert found == {"key": key, "what": ["its title is 'The  Quay' in place of 'The Harbour'"]}


@pytest.mark.parametrize(
    "how", [["-ss", "0.5", "-c", "copy"], ["-c", "copy", "-movflags", "+frag_keyframe+empty_moov"]]
)
def test_what_an_index_cannot_tell_is_not_judged(
    how: list[str], tmp_path: Path, media_folder: Path, verify: Callable[[], Result]
) -> None:
    """Frames that an edit list hides, and those of a fragmented file, are no contradiction."""
    video = changed(media_folder, tmp_path / "cut.mp4", *how, "-c", "copy")
    archived(tmp_path, video, FACTS | {"num_frames": 13})
    assert verify().exit_code == 0


def test_one_bad_item_ends_nothing(tmp_path: Path, media_folder: Path, verify: Callable[[], Result]) -> None:
    """A pipe in place of a manifest, a manifest without an end, a hostile one: each is named, the rest is checked."""
    root = tmp_path / "archive"
    archived(tmp_path, media_folder / "clip.mp4", FACTS)
    for name in ("pipe", "huge", "odd", "gone"):
        (root / "2026" / name).mkdir(parents=True)
    os.mkfifo(root / "2026" / "pipe" / "manifest.json")
    with (root / "2026" / "huge" / "manifest.json").open("wb") as file:
        file.truncate(6 << 30)
    (root / "2026" / "odd" / "manifest.json").write_text(
        '{"price_expected_usd": 1E+99999999, "seed": "\\ud800"}'
    )
    (root / "2026" / "gone" / "manifest.json").symlink_to("/dev/zero")
    done = verify()
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert (report["generations"], report["files"], report["missing"], report["altered"]) == (1, 1, [], [])
    for name in ("pipe", "huge", "odd", "gone"):
        assert sum(f"2026/{name}/manifest.json" in each for each in report["unreadable"]) == 1, name


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_pieces_of_any_length_give_the_same_facts(size: int, media_folder: Path) -> None:
    """The index is put together from whatever pieces arrive; bytes that are no MP4 say nothing."""
    data = (media_folder / "clip.mp4").read_bytes()
    for bytes_, expected in ((data, (256, 144, 25, True)), (b"\0\0\0\x03none", None), (data[:2000], None)):
        watcher = Mp4Watcher()
        for at in range(0, len(bytes_), size):
            watcher.feed(bytes_[at : at + size])
        found = watcher.facts()
        assert (found and (found.width, found.height, found.frames, found.audio)) == expected
