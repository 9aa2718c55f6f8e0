"""Whether what is written at a place is still there tomorrow, as far as this machine can tell.

Linux says which file system a path is on (`/proc/self/mountinfo`); elsewhere only the temporary folders are known.
"""

import socket
import tempfile
from pathlib import Path
from typing import Final, Literal, NamedTuple

MOUNTS: Final = Path("/proc/self/mountinfo")
_OVERLAYS: Final = frozenset({"overlay", "aufs", "fuse.fuse-overlayfs"})
_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
_TEMPORARY: Final = ("/tmp", "/var/tmp", "/run")  # noqa: S108  # only looked for


class Transience(NamedTuple):
    """Why what lies at a place goes away. `what` is the end of the sentence "it is on …"."""

    kind: Literal["run", "container", "memory", "temporary"]
    what: str


def transience(path: Path, mounts: Path = MOUNTS) -> Transience | None:
    """Why what is written at `path` will not last; None where nothing says so."""
    real = path.resolve()
    if (run := run_folder()) is not None and real.is_relative_to(run):
        return Transience("run", f"in the folder of this run, {run}, which is deleted when the run ends")
    kind, _ = file_system(real, mounts)
    if kind in _OVERLAYS:
        return Transience("container", f"on a container's own disk ({kind}), which goes with the container")
    if kind in _IN_MEMORY:
        return Transience("memory", f"in memory ({kind}), which is empty after a restart")
    for folder in dict.fromkeys((tempfile.gettempdir(), *_TEMPORARY)):
        if real.is_relative_to(Path(folder).resolve()):
            return Transience("temporary", f"below {folder}, which systems clear")
    return None


def run_folder() -> Path | None:
    """The folder that a Prefect worker made for the run around us and deletes afterwards; None outside one.

    A process worker makes `tmp…prefect` in the temporary folder, and a runner `runner_storage` (Prefect 3.8 and 3.9).
    """
    temporary = Path(tempfile.gettempdir()).resolve()
    try:
        here = Path.cwd().resolve()
    except OSError:
        return None  # the working folder is gone
    if not here.is_relative_to(temporary):
        return None
    top = here.relative_to(temporary).parts[:1]
    if top and (top[0] == "runner_storage" or (top[0].startswith("tmp") and top[0].endswith("prefect"))):
        return temporary / top[0]
    return None


def file_system(path: Path, mounts: Path = MOUNTS) -> tuple[str, Path]:
    """Linux' name of the file system that `path` is on, and where that is mounted; an empty name where unknown."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return "", Path("/")
    real = path.resolve()
    best, kind = Path("/"), ""
    for line in lines:
        # proc(5): the fifth field is where it is mounted, with spaces as \040; the type follows a lone dash.
        left, _, right = line.partition(" - ")
        if len(left.split()) < 5 or not right:
            continue
        point = Path(left.split()[4].replace("\\040", " "))
        if real.is_relative_to(point) and len(point.parts) >= len(best.parts):
            best, kind = point, right.split()[0]
    return kind, best


def machine() -> str:
    """What tells this machine from others: its machine id where it has one, else its host name."""
    try:
        found = Path("/etc/machine-id").read_text().strip()
    except OSError:
        found = ""
    return found or socket.gethostname()
