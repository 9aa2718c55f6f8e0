"""A film whose process is killed in the middle and run again: every take is paid for once, and the film is whole."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from forked import Forked
from support import environment, submits

from prefect_ltx.archive import Archive
from prefect_ltx.ledger import Ledger, State
from prefect_ltx.local import LocalFal

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("prefect_server"), pytest.mark.timeout(600)]

CHILD = Path(__file__).with_name("film_child.py")
LONG = bool(os.environ.get("CHAOS_ROUNDS"))
"""Set by `make chaos`; the short form kills while shots are at fal, and while the film is joined."""
POINTS = [
    ("after-reply", 2),
    ("film", 1),
    *([("after-intent", 1), ("after-completed", 2), ("before-manifest", 1), ("film", 2)] if LONG else []),
]


def run(board: Path, fal: LocalFal, folder: Path, *kill: str) -> dict[str, Any] | None:
    """Run the flow; what it made, or None where it was killed."""
    from prefect.settings import PREFECT_API_URL

    environ = os.environ | environment(fal.url, folder)
    environ |= {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT_LOGGING_LEVEL": "CRITICAL"}
    child = Forked(str(CHILD), str(board), *kill, env=environ)
    said, errors = child.communicate(240)
    assert child.returncode in (0, -signal.SIGKILL), errors[-2000:]
    return json.loads(said.splitlines()[-1]) if child.returncode == 0 else None


@pytest.mark.parametrize(("stage", "count"), POINTS)
async def test_killed_film_is_finished_by_the_next_run(
    stage: str, count: int, fal: LocalFal, tmp_path: Path, media_folder: Path
) -> None:
    """Killed once, run again: as many charges as takes, one film of all frames, and nothing left unfinished."""
    board = tmp_path / "board.json"
    shot = {"text": "the cup turns", "frames": 9}
    board.write_text(
        json.dumps(
            {
                "title": "Killed",
                "resolution": {"width": 256, "height": 128},
                "defaults": {"settings": {"video_write_mode": "fast"}},
                "cast": {"cup": {"look": "a white cup", "images": [str(media_folder / "sheet.png")]}},
                "shots": [
                    {"id": name, "seed": seed, **shot} for seed, name in enumerate(("one", "two", "three"))
                ],
            }
        )
    )
    assert run(board, fal, tmp_path, stage, str(count)) is None
    made = run(board, fal, tmp_path)
    assert made is not None
    assert (made["frames"], submits(fal), len(fal.bill)) == (27, 3, 3)
    archive = Archive(str(tmp_path / "archive"))
    assert (await archive.verify()).ok
    assert await archive.manifest(made["folder"]) is not None
    with Ledger(environment(fal.url, tmp_path)["PREFECT_LTX_LEDGER"]) as ledger:
        assert [row.state for row in ledger.find()] == [State.ARCHIVED] * 3
        assert ledger.double_charges() == []
    again = run(board, fal, tmp_path)
    assert again is not None
    assert (again["paid_now"], again["folder"], len(fal.bill)) == (0, made["folder"], 3)
