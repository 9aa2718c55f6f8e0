"""Approve, then buy, at a shell: an approval is for one plan, up to an amount and a time, and kept with its videos."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cli_parts import REQUEST, cli
from support import submits

from prefect_ltx.archive import Manifest
from prefect_ltx.ledger import Ledger
from prefect_ltx.local import LocalFal


@pytest.fixture
def fal() -> Iterator[LocalFal]:
    with LocalFal(renderer="prefect_ltx.local.stored_clip:StoredClipRenderer") as server:
        yield server


@pytest.fixture
def folder(ltx_env: Path, media_folder: Path) -> Path:
    (ltx_env / "sheet.png").write_bytes((media_folder / "sheet.png").read_bytes())
    return ltx_env


def write(folder: Path, *seeds: int | None) -> None:
    rows = [REQUEST | ({} if seed is None else {"seed": seed}) for seed in seeds]
    (folder / "night.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def batch(folder: Path, *words: str) -> Any:
    return cli(folder, "batch", "night.jsonl", "--recipe", "none", "--json", *words)


def refused(folder: Path, *words: str) -> None:
    done = batch(folder, "--approve", *words)
    assert done.returncode == 1, done.stdout
    assert "Nobody has approved this plan" in done.stderr
    assert "Nothing was sent or spent" in done.stderr


@pytest.mark.timeout(280)
def test_nothing_is_bought_before_this_very_plan_is_approved(fal: LocalFal, folder: Path) -> None:
    """Another seed, another row, another budget, a higher price or a day too late is another plan; what was approved is
    bought once, also in two runs, and the ledger and every manifest say who approved which plan, and when."""
    write(folder, 1, None)
    refused(folder)
    done = batch(folder, "--plan", "--approve", "--budget-usd", "5")
    assert done.returncode == 0, done.stderr
    approval = json.loads(done.stdout)["approval"]
    assert "it holds for this plan alone" in done.stderr.lower()
    assert approval["title"] == "Batch night"
    refused(folder)  # without the budget
    refused(folder, "--budget-usd", "6")
    write(folder, 2, None)
    refused(folder, "--budget-usd", "5")
    write(folder, 1, None, 3)
    refused(folder, "--budget-usd", "5")
    write(folder, 1, None)
    refused(folder, "--budget-usd", "5", "--quality", "next_seed")  # up to three times the money
    with closing(sqlite3.connect(folder / "ledger.db")) as database, database:
        (until,) = database.execute("SELECT valid_until FROM ltx_approval").fetchone()
        database.execute("UPDATE ltx_approval SET valid_until = approved_at")
    refused(folder, "--budget-usd", "5")
    assert submits(fal) == 0
    with closing(sqlite3.connect(folder / "ledger.db")) as database, database:
        database.execute("UPDATE ltx_approval SET valid_until = ?", (until,))

    fal.faults.add(
        "job_422"
    )  # one of the two fails; the approval holds for the run that makes what is missing
    done = batch(folder, "--approve", "--budget-usd", "5", "--concurrency", "1")
    assert json.loads(done.stdout)["counts"] == {"failed": 1, "archived": 1}, done.stderr
    done = batch(folder, "--approve", "--budget-usd", "5")
    assert json.loads(done.stdout)["counts"] == {"archived": 1, "reused": 1}, done.stderr
    assert batch(folder, "--approve").returncode == 0  # nothing is left to buy, so nobody has to approve
    assert submits(fal) == 3
    manifests = [Manifest.from_bytes(path.read_bytes()) for path in folder.rglob("manifest.json")]
    assert len(manifests) == 2
    for each in manifests:
        assert each.approval is not None
        assert (each.approval.id, each.approval.plan) == (approval["id"], approval["plan"])
        assert each.approval.approved_by == approval["approved_by"]
        assert each.approval.approved_at.isoformat()[:19] == approval["approved_at"][:19]
        assert each.approval.valid_until > each.approval.approved_at
    with Ledger(f"sqlite:///{folder / 'ledger.db'}") as ledger:
        rows = ledger.find(tag=f"approval:{approval['id']}")
        assert {row.state.value for row in rows} == {"ARCHIVED", "FAILED"}
        assert [each.id for each in ledger.approvals()] == [approval["id"]]


def test_a_plan_beyond_the_budget_is_not_approved(fal: LocalFal, folder: Path) -> None:
    """It could not be bought: exit code 1, and no approval is kept; a plan that buys nothing needs none."""
    write(folder, 1)
    done = batch(folder, "--plan", "--approve", "--budget-usd", "0.0001")
    assert done.returncode == 1
    assert json.loads(done.stdout)["approval"] is None
    with Ledger(f"sqlite:///{folder / 'ledger.db'}", read_only=True) as ledger:
        assert ledger.approvals() == []
