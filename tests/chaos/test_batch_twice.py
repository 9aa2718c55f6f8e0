"""The same batch in two processes at the same moment: every row is paid for once, and both end well."""

import json
import os
from pathlib import Path

import pytest
from forked import Forked
from support import environment, submits

from prefect_ltx.archive import Archive
from prefect_ltx.ledger import Ledger, State
from prefect_ltx.local import LocalFal

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("prefect_server"), pytest.mark.timeout(600)]

CHILD = Path(__file__).with_name("batch_child.py")
ROWS = 12


async def test_two_processes_share_one_batch(ledger_url: str, tmp_path: Path, media_folder: Path) -> None:
    """On SQLite and on PostgreSQL: one charge a row, both processes have every row, one manifest a row."""
    from prefect.settings import PREFECT_API_URL

    batch = tmp_path / "batch.json"
    row = {
        "prompt": "Reference sheet: a cup. Generated video: it turns.",
        "image_url": str(media_folder / "sheet.png"),
        "num_frames": 9,
        "resolution": "256x128",
    }
    batch.write_text(json.dumps([{**row, "seed": seed} for seed in range(ROWS)]))
    renderer = "prefect_ltx.local.stored_clip:StoredClipRenderer"
    with LocalFal(renderer=renderer, render_seconds=0.3) as fal:
        fal.faults.add("concurrency", value=8)
        environ = os.environ | environment(fal.url, tmp_path)
        environ |= {
            "PREFECT_LTX_LEDGER": ledger_url,
            "PREFECT_API_URL": str(PREFECT_API_URL.value()),
            "PREFECT_LOGGING_LEVEL": "CRITICAL",
        }
        both = [Forked(str(CHILD), str(batch), env=environ) for _ in range(2)]
        told = [each.communicate(240)[1] for each in both]
        assert [each.returncode for each in both] == [0, 0], told
        assert (submits(fal), len(fal.bill)) == (ROWS, ROWS)
    archive = Archive(str(tmp_path / "archive"))
    report = await archive.verify()
    assert (report.ok, report.generations) == (True, ROWS)
    with Ledger(ledger_url) as ledger:
        assert [each.state for each in ledger.find()] == [State.ARCHIVED] * ROWS
        assert ledger.double_charges() == []
