"""Tables out, as a user asks for them: a batch's ends, the ledger's rows and its sums, for a spreadsheet."""

import csv
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest
from cli_parts import REQUEST, cli
from support import submits

from prefect_ltx.local import LocalFal

NASTY = ["=1+1", "+2", "-3", "@A1", "cup"]
STORED = "prefect_ltx.local.stored_clip:StoredClipRenderer"


@pytest.fixture
def fal() -> Iterator[LocalFal]:
    with LocalFal(renderer=STORED) as server:
        yield server


@pytest.fixture
def folder(ltx_env: Path, media_folder: Path) -> Path:
    (ltx_env / "sheet.png").write_bytes((media_folder / "sheet.png").read_bytes())
    rows = [REQUEST | {"seed": n, "id": name, "tags": [f"{name}:tag"]} for n, name in enumerate(NASTY, 1)]
    (ltx_env / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return ltx_env


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_batch_and_its_ledger_as_tables(fal: LocalFal, folder: Path) -> None:
    """One batch, as CSV, workbook and JSON lines, then `ledger list` and `spend` as CSV: the same rows, seeds and
    prices in each, no cell that is calculated, and a row that failed with its reason."""
    fal.faults.add("job_422")
    done = cli(
        folder,
        "batch",
        "rows.jsonl",
        "--recipe",
        "review",
        "--concurrency",
        "1",
        "--json",
        "--report",
        "a.csv",
    )
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    table = rows_of((folder / "a.csv").read_bytes().decode("utf-8-sig"))
    assert [row["id"] for row in table] == ["'=1+1", "'+2", "'-3", "'@A1", "cup"]
    assert [row["status"] for row in table] == ["failed", *["archived"] * 4]
    assert "content_policy_violation" in table[0]["reason"]
    assert [int(row["seed"]) for row in table] == [1, 2, 3, 4, 5]
    # As asked for where there is no video, else as delivered: this fal gives one clip to everybody.
    assert [row["size"] for row in table] == ["256x128", *["256x144"] * 4]
    expected = [Decimal(row["price_expected_usd"]) for row in report["rows"]]
    assert [Decimal(row["price_expected_usd"]) for row in table] == expected
    assert [row["price_billed_usd"] != "" for row in table] == [False, *[True] * 4]
    for row in table[1:]:
        assert len(row["files"].split("; ")) > 1
        assert all(Path(each).is_file() for each in row["files"].split("; "))
    for name in ("b.xlsx", "c.jsonl"):
        done = cli(folder, "batch", "rows.jsonl", "--recipe", "review", "--json", "--report", name)
        assert done.returncode == 0, done.stderr
    sheet = openpyxl.load_workbook(folder / "b.xlsx").active
    assert sheet is not None
    names, *lines = [list(row) for row in sheet.iter_rows()]
    columns = [str(cell.value) for cell in names]
    assert all(cell.data_type != "f" for line in lines for cell in line)
    assert [line[columns.index("seed")].value for line in lines] == [1, 2, 3, 4, 5]
    assert [line[columns.index("id")].value for line in lines] == ["'=1+1", "'+2", "'-3", "'@A1", "cup"]
    objects = [json.loads(line) for line in (folder / "c.jsonl").read_text().splitlines()]
    assert [row["id"] for row in objects] == NASTY
    assert all(isinstance(row["price_expected_usd"], float) for row in objects)
    assert [row["status"] for row in objects] == [
        "archived",
        "reused",
        "reused",
        "reused",
        "reused",
    ] or objects

    done = cli(folder, "ledger", "list", "--tag", "batch:rows", "--csv")
    assert done.returncode == 0, done.stderr
    listed = rows_of(done.stdout)
    assert sorted(row["seed"] for row in listed) == ["1", "1", "2", "3", "4", "5"]
    archived = [row for row in listed if row["state"] == "ARCHIVED"]
    assert {row["size"] for row in archived} == {"256x144"}
    assert sum(Decimal(row["price_billed_usd"] or 0) for row in archived) == sum(
        Decimal(str(row["price_billed_usd"])) for row in objects
    )
    assert all(row["tags"].split("; ")[0] == "batch:rows" for row in listed)
    done = cli(folder, "ledger", "spend", "--by", "tag", "--csv")
    spent = {row["tag"]: row for row in rows_of(done.stdout)}
    assert {f"'{name}:tag" for name in NASTY[:4]} | {"cup:tag", "batch:rows"} <= set(spent)
    assert spent["batch:rows"]["generations"] == "6"
    assert cli(folder, "ledger", "list", "--csv", "--json").returncode == 2
    assert cli(folder, "ledger", "list", "--csv", "--limit", "2").stdout.count("ARCHIVED") == 2


def test_a_report_that_cannot_be_written(fal: LocalFal, folder: Path) -> None:
    """Known before: nothing is sent. Found out afterwards: exit code 1, and the whole result on stdout all the same."""
    for name in ("ends.txt", "nowhere/ends.csv"):
        done = cli(folder, "batch", "rows.jsonl", "--report", name)
        assert done.returncode == 2
        assert "Nothing was sent or spent" in " ".join(done.stderr.replace("│", " ").split())
    assert submits(fal) == 0
    for name in ("full.csv", "full.xlsx", "full.jsonl"):
        (folder / name).symlink_to("/dev/full")
        done = cli(folder, "batch", "rows.jsonl", "--recipe", "none", "--json", "--report", name)
        assert done.returncode == 1
        assert [row["status"] in ("archived", "reused") for row in json.loads(done.stdout)["rows"]] == [
            True
        ] * 5
        assert "No space left on device" in done.stderr
        assert "Nothing is lost" in done.stderr
    assert len(fal.bill) == 5
