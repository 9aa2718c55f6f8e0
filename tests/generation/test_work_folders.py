"""Clearing this machine's unfinished work: what is needed stays, what is closed goes."""

import os
import time
from pathlib import Path

import pytest

from prefect_ltx.generation.work_folders import FILMS, INPUTS, SHEETS, TAKES, clear_work_dir, own_folder

DAY = 24 * 3600


def written(path: Path, days_ago: float) -> Path:
    """A file that was last written so many days ago, in folders as old as it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"bytes")
    when = time.time() - days_ago * DAY
    for each in (path, path.parent):
        os.utime(each, (when, when))
    return path


def test_a_folder_has_one_owner(tmp_path: Path) -> None:
    """Two runs of the very same film never meet, and an error leaves nothing behind."""
    with own_folder(tmp_path, FILMS) as one, own_folder(tmp_path, FILMS) as other:
        assert one != other
        (one / "film.mp4").write_bytes(b"one")
    with pytest.raises(ZeroDivisionError), own_folder(tmp_path, FILMS):
        raise ZeroDivisionError
    assert not [*(tmp_path / FILMS).iterdir()]


@pytest.mark.parametrize("folder", [INPUTS, SHEETS, FILMS])
def test_shared_folder_loses_its_old_entries_and_keeps_its_young_ones(folder: str, tmp_path: Path) -> None:
    """A sheet drawn today stays, whatever lies beside it; one that nobody touched for two days goes."""
    young, old = written(tmp_path / folder / "young.png", 0.5), written(tmp_path / folder / "old.png", 2)
    assert clear_work_dir(tmp_path, set()) == [old]
    assert young.exists()


def test_takes_stay_while_a_person_may_still_choose(tmp_path: Path) -> None:
    """The posters of three days ago are still shown to whoever chooses; those of last week are not."""
    waiting = written(tmp_path / TAKES / "waiting" / "1.jpg", 3)
    closed = written(tmp_path / TAKES / "closed" / "1.jpg", 8)
    assert clear_work_dir(tmp_path, set()) == [closed.parent]
    assert waiting.exists()


def test_an_entry_that_is_written_to_is_young(tmp_path: Path) -> None:
    """A film that is being joined in an old folder is not taken away from under ffmpeg."""
    part = written(tmp_path / FILMS / "film" / "renditions" / "part.mp4", 0)
    for folder in (part.parent, part.parent.parent):
        os.utime(folder, (0, 0))
    assert clear_work_dir(tmp_path, set()) == []
    assert part.exists()


def test_a_generation_with_work_left_keeps_its_download(tmp_path: Path) -> None:
    """However old: what was paid for stays until its row is closed."""
    kept, left = written(tmp_path / "aaaa" / "video.mp4", 30), written(tmp_path / "bbbb" / "video.mp4", 30)
    assert clear_work_dir(tmp_path, {"aaaa"}) == [left.parent]
    assert kept.exists()


def test_a_closed_generation_keeps_nothing_however_young(tmp_path: Path) -> None:
    """What a kill left after the row was closed goes at once; what the ledger does not know is given a day."""
    left, foreign = written(tmp_path / "aaaa" / "video.mp4", 0), written(tmp_path / "bbbb" / "video.mp4", 0)
    assert clear_work_dir(tmp_path, set(), {"aaaa"}) == [left.parent]
    assert foreign.exists()


def test_no_work_yet_is_nothing_to_clear(tmp_path: Path) -> None:
    """A sweep on a machine that never made anything clears nothing."""
    assert clear_work_dir(tmp_path / "nowhere", set()) == []
