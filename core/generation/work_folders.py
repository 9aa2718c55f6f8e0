"""Unfinished work on this machine, and what of it may be cleared.

A folder has one owner: a generation's belongs to whoever holds its lease and is needed until its row is closed; what
a run makes besides lies in a folder of that run (`own_folder`), and files that runs may share are named by their
whole content. Those can be fetched or drawn again: they only have to outlive the run that uses them.
"""

import contextlib
import secrets
import shutil
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

INPUTS: Final = "inputs"
SHEETS: Final = "sheets"
TAKES: Final = "takes"
FILMS: Final = "films"
PARAMETERS: Final = "parameters"
"""What was too large for a run's parameters."""
KEPT_ID: Final = "request.json"
"""fal's request id in a generation's folder, until the ledger has it."""

_DAY: Final = 24 * 3600.0
_SHARED: Final = {
    INPUTS: _DAY,
    SHEETS: _DAY,
    TAKES: 7 * _DAY,  # a person may take days to choose, and then the posters are shown
    FILMS: _DAY,
    PARAMETERS: 30 * _DAY,  # a run may wait for a person, and be retried
}
"""Seconds that nobody may have written to an entry before it is cleared."""


@contextlib.contextmanager
def own_folder(work_dir: Path, kind: str) -> Iterator[Path]:
    """A folder that no other run has, removed at the end; what a killed run leaves is cleared by the sweep.

    Named by chance: by what is made in it two runs would meet, and one would archive the other's file.
    """
    folder = work_dir / kind / secrets.token_hex(12)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def generation_folders(work_dir: Path) -> list[str]:
    """Names of the folders that are not shared by runs: a generation's is its id."""
    return [entry.name for entry in _entries(work_dir) if entry.name not in _SHARED]


def clear_work_dir(work_dir: Path, unfinished: Collection[str], over: Collection[str] = ()) -> list[Path]:
    """Remove what nobody needs any more, and say what that was.

    A folder that other runs are filling is never removed whole: its entries are judged one by one.

    Args:
        work_dir: where this machine keeps unfinished work.
        unfinished: ids of rows with work left; their folders stay, however old.
        over: ids of rows without; their folders go, however young. Of what is in neither, the age decides.
    """
    cleared = []
    for entry in _entries(work_dir):
        if entry.name in _SHARED:
            cleared += [each for each in _entries(entry) if _removed(each, _SHARED[entry.name])]
        elif (entry / KEPT_ID).exists() and entry.name not in over:
            continue  # a request of another ledger's, paid for and perhaps recorded nowhere else
        elif entry.name not in unfinished and _removed(entry, 0 if entry.name in over else _DAY):
            cleared.append(entry)
    return cleared


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _removed(path: Path, age: float) -> bool:
    # Another run may finish and clear it at this moment.
    with contextlib.suppress(FileNotFoundError):
        if age and max(each.lstat().st_mtime for each in _within(path)) > time.time() - age:
            return False
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
        return True
    return False


def _within(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir() and not path.is_symlink():
        yield from path.rglob("*")
