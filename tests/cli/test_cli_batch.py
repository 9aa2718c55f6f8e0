"""`prefect-ltx batch` and `plan` with batch files, as a user starts them."""

import csv
import json
import os
import subprocess
from pathlib import Path

import pytest
from forked import run_forked, run_without_prefect
from support import submits

from prefect_ltx.cli.prefect_server import without_prefect
from prefect_ltx.local import LocalFal

TABLE = "id,prompt,image_url,num_frames,resolution\ncup,A cup.,sheet.png,9,256x128\npan,A pan.,sheet.png,9,256x128\n"


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_without_prefect("prefect_ltx.cli", *arguments, env=without_prefect(os.environ), cwd=Path.cwd())


@pytest.fixture
def table(media_folder: Path) -> Path:
    path = media_folder / "cli-batch.csv"
    path.write_text(TABLE)
    return path


def test_mistakes_are_one_line_each_and_nothing_is_sent(fal: LocalFal, ltx_env: Path, table: Path) -> None:
    """Exit code 1, a line by row and column on stderr, a JSON document on stdout, no POST, no Prefect."""
    table.write_text(TABLE.replace("num_frames", "num_framez") + ",,nowhere.png,9,\n")
    done = cli("batch", str(table), "--json")
    assert done.returncode == 1
    found = [(each["where"], each["column"]) for each in json.loads(done.stdout)["problems"]]
    assert found == [("header", "num_framez"), ("line 4", "prompt"), ("line 4", "image_url")]
    assert done.stderr.count("Error: ") == 4
    assert "Traceback" not in done.stderr
    assert submits(fal) == 0


def test_plan_of_a_table_shows_its_price_and_spends_nothing(
    fal: LocalFal, ltx_env: Path, table: Path
) -> None:
    """`plan FILE.csv` and `batch --plan` agree; a budget that is too small is exit code 1."""
    plans = [
        cli(*words, "--json")
        for words in (("plan", str(table)), ("batch", str(table), "--plan", "--matrix", "seeds=1..3"))
    ]
    assert [each.returncode for each in plans] == [0, 0], [each.stderr for each in plans]
    first, second = (json.loads(each.stdout)["plan"] for each in plans)
    assert (first["to_send"], first["price_expected_usd"]) == (2, "0.0048150")
    assert (second["to_send"], second["megapixels"]) == (6, 6)
    short = cli("plan", str(table), "--budget-usd", "0.003")
    assert short.returncode == 1
    assert "Over budget" in short.stderr
    assert submits(fal) == 0


@pytest.mark.e2e
@pytest.mark.timeout(240)
def test_batch_ends_with_every_video_and_again_costs_nothing(
    fal: LocalFal, ltx_env: Path, table: Path, prefect_server: None, tmp_path: Path
) -> None:
    """Rows without a seed included: run again, all of it is reused; a row that fails is exit code 1."""
    from prefect.settings import PREFECT_API_URL

    environ = without_prefect(os.environ) | {
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_HOME": str(tmp_path / "prefect"),
    }
    fal.faults.add("job_422")
    command = ("-m", "prefect_ltx.cli", "batch", str(table), "--recipe", "none", "--json")
    first = run_forked(*command, env=environ)
    assert first.returncode == 1, first.stderr
    made = json.loads(first.stdout)
    assert (made["ok"], made["counts"]) == (False, {"failed": 1, "archived": 1})
    assert "content_policy_violation" in first.stderr
    results = tmp_path / "results.csv"
    again = run_forked(*command, "--report", str(results), env=environ)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["counts"] == {"archived": 1, "reused": 1}
    with results.open(encoding="utf-8-sig", newline="") as file:
        rows = [(row["id"], row["status"], row["video"].endswith(".mp4")) for row in csv.DictReader(file)]
    assert {(name, has_video) for name, _, has_video in rows} == {("cup", True), ("pan", True)}
    assert {status for _, status, _ in rows} == {"archived", "reused"}
    assert "2 of 2 rows" in again.stderr
    assert len(fal.bill) == 2
