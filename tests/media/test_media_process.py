import asyncio
import os
import pickle
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ffmpeg
import pytest

from prefect_ltx.media import (
    FfmpegFailed,
    MediaInvalid,
    Progress,
    generator,
    nowhere,
    probe,
    run_ffmpeg,
    source,
    target,
)


def endless(path: Path) -> Any:
    """A graph that never ends by itself."""
    return target(
        generator("testsrc2=s=256x144:r=24").video, path=path, **{"c:v": "libx264", "preset": "fast"}
    )


def group_is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def eventually(holds: Callable[[], bool]) -> None:
    for _ in range(2000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to hold")


async def started(path: Path) -> int:
    """The process id that `stubborn` writes last."""
    await eventually(lambda: path.exists() and bool(path.read_text().strip()))
    return _number(path)


def _number(path: Path) -> int:
    return int(path.read_text())


@pytest.fixture
def stubborn(tmp_path: Path) -> Path:
    """An ffmpeg that ignores SIGTERM and has a child; writes down its variables and process id."""
    path = tmp_path / "stubborn"
    path.write_text(
        f"#!/bin/sh\ntrap '' TERM INT\nenv > {tmp_path}/env\nsleep 60 &\necho $$ > {tmp_path}/pid\n"
        'for last in "$@"; do :; done\necho partial > "${last#file:}"\nwait\n'
    )
    path.chmod(0o755)
    return path


async def test_cancelling_ends_the_whole_process_group_and_leaves_no_file(
    tmp_path: Path, stubborn: Path
) -> None:
    """Whatever ffmpeg does with signals, nothing of a cancelled run stays: no process, no child, no file."""
    out = tmp_path / "out"
    out.mkdir()
    run = asyncio.create_task(run_ffmpeg(endless(out / "a.mp4"), binary=str(stubborn)))
    group = await started(tmp_path / "pid")
    await eventually(lambda: files(out) != [])
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(5):
            await run
    assert files(out) == []
    await eventually(lambda: not group_is_alive(group))  # the orphaned child is reaped by init


async def test_a_run_over_its_time_is_ended_and_says_so(tmp_path: Path) -> None:
    """The time limit ends ffmpeg and its partial output like a cancellation does."""
    with pytest.raises(FfmpegFailed, match=r"longer than 0\.3 s"):
        await run_ffmpeg(endless(tmp_path / "a.mp4"), timeout=0.3)
    assert files(tmp_path) == []


async def test_a_killed_ffmpeg_is_a_failure(tmp_path: Path, stubborn: Path) -> None:
    """An ffmpeg that somebody else ends (the kernel, out of memory) has failed and left no output."""
    out = tmp_path / "out"
    out.mkdir()
    run = asyncio.create_task(run_ffmpeg(endless(out / "a.mp4"), binary=str(stubborn)))
    os.killpg(await started(tmp_path / "pid"), signal.SIGKILL)
    with pytest.raises(FfmpegFailed) as failed:
        await run
    assert failed.value.returncode == -signal.SIGKILL
    assert files(out) == []


async def test_ffmpeg_sees_no_secret_of_the_environment(
    tmp_path: Path, stubborn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process gets the few variables it needs, so neither keys nor FFREPORT reach it."""
    monkeypatch.setenv("FAL_KEY", "very:secret")
    monkeypatch.setenv("FFREPORT", f"file={tmp_path}/report")
    run = asyncio.create_task(run_ffmpeg(endless(tmp_path / "a.mp4"), binary=str(stubborn)))
    await started(tmp_path / "pid")
    seen = (tmp_path / "env").read_text()
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    assert "secret" not in seen
    assert "FFREPORT" not in seen


async def test_a_failure_says_why_in_one_line_and_leaves_the_old_output(tmp_path: Path) -> None:
    """ffmpeg's own reason is in the message, its log beside it, and a file that was there before stays."""
    path = tmp_path / "a.mp4"
    path.write_text("before")
    with pytest.raises(FfmpegFailed) as failed:
        await run_ffmpeg(target(generator("testsrc2").video.filter("nosuchfilter"), path=path))
    assert "nosuchfilter" in str(failed.value)
    assert "\n" not in str(failed.value)
    assert failed.value.log
    assert path.read_text() == "before"
    assert files(tmp_path) == [path]


async def test_several_outputs_appear_together_or_not_at_all(tmp_path: Path) -> None:
    """When one output of a graph fails, the others are not published either."""
    frames = generator("testsrc2=s=64x64").video.filter_multi_output("split", 2)
    good = target(frames[0], path=tmp_path / "good.png")
    bad = target(frames[1], path=tmp_path / "no" / "such" / "folder.png")
    with pytest.raises(FfmpegFailed):
        await run_ffmpeg(ffmpeg.merge_outputs(good, bad))
    assert files(tmp_path) == []


async def test_progress_grows_and_ends_at_one(tmp_path: Path) -> None:
    """Fractions never go back, stay below one while ffmpeg works, and one is said once, at the end."""
    seen: list[Progress] = []
    graph = target(
        generator("testsrc2=s=256x144:r=24").video,
        path=tmp_path / "a.mp4",
        **{"c:v": "libx264", "frames:v": 300},
    )
    run = await run_ffmpeg(graph, expected_frames=300, on_progress=seen.append)
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(set(fractions))
    assert fractions[-1] == 1.0
    assert run.frames == 300


@pytest.mark.parametrize(
    "name", ["-i.mp4", "a:b.mp4", "%03d %s.mp4", "'q\" $(x);&.mp4", "ünï\n.mp4", "x" * 250]
)
async def test_a_name_is_only_a_name(tmp_path: Path, name: str) -> None:
    """No character in a file's or a folder's name means anything to ffmpeg, going in or coming out."""
    folder = tmp_path / name.removesuffix(".mp4")
    folder.mkdir()
    video, picture = folder / name, folder / f"{name[:240]}.png"
    await run_ffmpeg(target(generator("testsrc2=s=64x64").video, path=video, format="mp4", **{"frames:v": 2}))
    await run_ffmpeg(target(source(video).video, path=picture))
    await run_ffmpeg(nowhere(source(picture).video))
    assert probe(video).frames == 2
    assert probe(picture).width == 64
    assert files(folder) == sorted([video, picture])


@pytest.mark.parametrize("name", ["http://127.0.0.1:9/a.mp4", "concat:a|b", "relative.mp4", "-"])
async def test_only_checked_local_files_go_in(tmp_path: Path, name: str) -> None:
    """A graph with any other input than `source` makes is refused before a process starts."""
    with pytest.raises(ValueError, match=r"media\.source"):
        await run_ffmpeg(target(ffmpeg.input(name).video, path=tmp_path / "a.mp4"))


async def test_an_input_is_never_overwritten(tmp_path: Path) -> None:
    """A graph that would write over what it reads is refused."""
    path = tmp_path / "a.png"
    await run_ffmpeg(target(generator("testsrc2=s=64x64").video, path=path))
    with pytest.raises(ValueError, match=r"media\.target"):
        await run_ffmpeg(target(source(path).video, path=path))


def test_errors_survive_a_pickle() -> None:
    """Prefect sends a failed task's error between processes; it arrives with the same words and parts."""
    for error in (MediaInvalid("a.mp4", ["too short", "no audio"]), FfmpegFailed("it ended", returncode=8)):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
