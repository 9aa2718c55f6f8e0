"""What all histories of one runner share and none changes: empty databases, a clip, a sheet."""

import os
import random
import shutil
import sqlite3
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import NamedTuple

from machines import WatchedConnection
from PIL import Image

from prefect_ltx.ledger import Ledger
from prefect_ltx.ledger.sqlite_file import engine_of
from prefect_ltx.local.faults import Faults
from prefect_ltx.local.opening import open_site
from prefect_ltx.local.renderer import RenderJob, Report
from prefect_ltx.local.requestlog import RequestLog
from prefect_ltx.local.store import DATABASE_NAME
from prefect_ltx.local.stored_clip import StoredClipRenderer
from prefect_ltx.local.webhooks import Webhooks
from prefect_ltx.runtime import Runtime

EPOCH = 1_790_000_000.0
"""Unix seconds at which every history begins, in September 2026."""
FOLDER = "PREFECT_LTX_SIMULATION_FOLDER"
"""The environment's variable for where runners work."""
SIZE = (256, 144)
FRAMES = 9
MEGAPIXELS = 1


class CurrentLedger:
    """The engine of all ledgers of this runner: it compiles each statement once, and connects to the history's file."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self.engine = engine_of(self._connect)

    def _connect(self) -> sqlite3.Connection:
        assert self.path is not None
        return sqlite3.connect(self.path, check_same_thread=False, factory=WatchedConnection)


class Material(NamedTuple):
    """Files to copy from."""

    folder: Path
    ledger: Path
    fal: Path
    sheet: Path
    clip: bytes
    current: CurrentLedger


class ClipRenderer:
    """Gives every job the same clip, with the job's id in it, so that no two jobs have the same bytes."""

    def __init__(self, clip: bytes) -> None:
        self._clip = clip

    def render(self, job: RenderJob, progress: Report, cancelled: threading.Event) -> Path:
        """A copy of the clip with a free box behind it (ISO 14496-12 §8.1.2), which every reader skips."""
        made = job.folder / "clip.mp4"
        note = job.request_id.encode()
        made.write_bytes(self._clip + (8 + len(note)).to_bytes(4, "big") + b"free" + note)
        return made


def seeded(name: str) -> Runtime:
    """A machine whose clock stands at the epoch, and whose chance is always the same."""
    return Runtime(time=lambda: EPOCH, awake=lambda: 0.0, sleep=lambda _: None, random=random.Random(name))


@cache
def material() -> Material:
    """Made once in each runner, in memory where there is a file system for that."""
    folder = Path(tempfile.mkdtemp(prefix="runner-", dir=os.environ.get(FOLDER)))
    ledger = folder / "ledger.db"
    Ledger(f"sqlite:///{ledger}", runtime=seeded("ledger")).close()
    _rename(
        ledger, "UPDATE ltx_meta SET value = '5a000000-0000-4000-8000-000000000001' WHERE name = 'ledger_id'"
    )
    fal = folder / "fal"
    with open_site(fal, Faults(), 0, "stored-clip", None, 2, RequestLog(), runtime=seeded("fal")) as site:
        Webhooks(site)
    shutil.rmtree(fal / "work", ignore_errors=True)
    _rename(fal / DATABASE_NAME, "UPDATE meta SET value = 'simulated' WHERE key = 'server_id'")
    _rename(fal / DATABASE_NAME, "UPDATE meta SET value = '00ff' WHERE key = 'secret'")
    sheet = folder / "sheet.png"
    Image.new("RGB", (64, 64), (200, 40, 40)).save(sheet)
    scratch = folder / "clip"
    scratch.mkdir()
    renderer = StoredClipRenderer()
    job = RenderJob.__new__(RenderJob)
    object.__setattr__(job, "folder", scratch)
    clip = renderer.render(job, lambda *_: None, threading.Event()).read_bytes()
    shutil.rmtree(scratch)
    return Material(folder, ledger, fal, sheet, clip, CurrentLedger())


def _rename(database: Path, statement: str) -> None:
    """Give what was drawn a fixed name, and leave no log beside the file, which is copied alone."""
    with sqlite3.connect(database) as connection:
        connection.execute(statement)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
