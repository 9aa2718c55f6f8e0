"""What a usable clip costs, from the command line, with the choices that somebody made on the gallery's page."""

import csv
import io
import json
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, browser
from cli_parts import REQUEST, cli

from prefect_ltx.ledger import Ledger, State
from prefect_ltx.local import LocalFal
from prefect_ltx.recovery import ChoicesUnreadable, read_choices

FOR_EVER = 10_000


@pytest.fixture
def fal() -> Iterator[LocalFal]:
    with LocalFal() as server:
        server.faults.add("concurrency", value=8)
        yield server


@pytest.fixture
def folder(ltx_env: Path, media_folder: Path) -> Path:
    (ltx_env / "sheet.png").write_bytes((media_folder / "sheet.png").read_bytes())
    return ltx_env


def usable(folder: Path, *words: str) -> list[dict[str, Any]]:
    done = cli(folder, "ledger", "spend", "--usable", "--json", *words)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["usable"]
    return found


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (apt-get install chromium)")
@pytest.mark.timeout(280)
def test_choices_of_the_gallery_s_page_are_the_verdict(fal: LocalFal, folder: Path, tmp_path: Path) -> None:
    """Four takes, one refused by quality control; a person chooses one and rejects another with a mouse, saves, and
    `archive review` reads it: money for what is used and what is not is exact, and the page says it."""
    rows = [REQUEST | {"seed": seed, "tags": ["client:acme"]} for seed in range(1, 5)]
    (folder / "cups.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    fal.faults.add("sheet_lead_in", times=1, value=FOR_EVER)
    done = cli(
        folder,
        "batch",
        "cups.jsonl",
        "--recipe",
        "review",
        "--quality",
        "reject",
        "--concurrency",
        "1",
        "--json",
    )
    assert json.loads(done.stdout)["counts"] == {"rejected": 1, "archived": 3}, done.stderr
    price = Decimal(json.loads(done.stdout)["rows"][0]["price_billed_usd"])
    (before,) = usable(folder)
    assert (before["attempts"], before["usable"], before["rejected"]) == (4, 3, 1)
    assert list(before["why_not"]) == ["machine: sheet_throughout"]

    assert cli(folder, "archive", "gallery").returncode == 0
    with Ledger(f"sqlite:///{folder / 'ledger.db'}") as ledger:
        by_seed = {row.seed: row for row in ledger.find(states=[State.ARCHIVED])}
    refused, *accepted = (by_seed[seed] for seed in range(1, 5))
    chosen, thrown, _ = accepted
    (tmp_path / "saved").mkdir()
    with browser(tmp_path / "profile") as page:
        page.open((folder / "archive" / "index.html").as_uri())
        page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path / "saved"))
        assert "3 of 4 attempts can be used" in page.text()
        card = "document.querySelector('article[data-generation=\"{}\"]')"
        page.evaluate(f"{card.format(chosen.id)}.querySelector('.judge [data-verdict=chosen]').click()")
        for _ in range(3):  # a second click takes it back
            page.evaluate(f"{card.format(thrown.id)}.querySelector('.judge [data-verdict=rejected]').click()")
        page.evaluate(
            f"{{ const why = {card.format(thrown.id)}.querySelector('.why'); why.value = '=the hand is wrong'; "
            "why.dispatchEvent(new Event('input', {bubbles: true})); }"
        )
        page.evaluate("document.getElementById('who').value = 'ann'")
        assert page.evaluate("document.getElementById('save').textContent") == "Save 2 choices"
        page.evaluate("document.getElementById('save').click()")
        deadline = time.monotonic() + 60
        while not (saved := list((tmp_path / "saved").glob("choices-*.json"))):
            assert time.monotonic() < deadline, "nothing was saved"
            time.sleep(0.1)
        assert page.complaints() == []
    for known in (False, True):  # read twice, it counts once
        done = cli(folder, "archive", "review", str(saved[0]), "--json")
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert (report["by"], report["noted"], report["known"]) == (
            "ann",
            0 if known else 2,
            2 if known else 0,
        )

    for words in ((), ("--tag", "client:acme"), ("--by", "prompt"), ("--by", "batch")):
        (found,) = usable(folder, *words)
        assert (found["attempts"], found["usable"], found["chosen"]) == (4, 1, 1)
        assert found["why_not"] == {
            "machine: sheet_throughout": 1,
            "person: =the hand is wrong": 1,
            "another take was chosen": 1,
        }
        assert (Decimal(found["usable_usd"]), Decimal(found["unusable_usd"])) == (price, 3 * price)
        assert Decimal(found["usd_per_usable_clip"]) == 4 * price
        assert Decimal(found["usable_rate"]) == Decimal("0.25")
        seconds = Decimal(9) / Decimal(24)
        assert Decimal(found["usd_per_usable_second"]) == 4 * price / seconds
    done = cli(folder, "ledger", "spend", "--usable", "--by", "tag", "--csv")
    (table, _) = sorted(csv.DictReader(io.StringIO(done.stdout)), key=lambda row: row["tag"], reverse=True)
    assert (table["tag"], table["usd_per_usable_clip"]) == ("client:acme", f"{4 * price:f}")
    assert cli(folder, "ledger", "spend", "--usable").stdout.count("25.0 %") == 1
    assert cli(folder, "ledger", "spend", "--usable", "--by", "state").returncode == 2

    # A person's word stands over the machine's, and over an older one of theirs.
    entry = {"generation_id": refused.id, "folder": refused.folder, "verdict": "chosen"}
    mine = {
        "file": "prefect-ltx choices",
        "version": 1,
        "choices": [entry | {"said_at": "2026-11-26T20:00:00Z"}],
    }
    (folder / "mine.json").write_text(json.dumps(mine))
    assert cli(folder, "archive", "review", "mine.json", "--by", "bob").returncode == 0
    (found,) = usable(folder)
    assert (found["usable"], found["chosen"]) == (2, 2)
    assert Decimal(found["usd_per_usable_clip"]) == 2 * price
    assert cli(folder, "archive", "gallery").returncode == 0
    page_text = (folder / "archive" / "index.html").read_text()
    assert "2 of 4 attempts can be used" in page_text
    assert "chosen by ann" in page_text
    assert "rejected by ann: =the hand is wrong" in page_text
    assert len(fal.bill) == 4


def test_a_file_without_choices_is_refused_by_place(tmp_path: Path) -> None:
    """In one line that names the field, before anything is changed; JSON's own mistakes by line."""
    choice = {
        "generation_id": "a",
        "folder": "2026/a",
        "verdict": "chosen",
        "said_at": "2026-11-26T20:00:00Z",
    }
    good = {"file": "prefect-ltx choices", "version": 1, "by": "ann", "choices": [choice]}
    path = tmp_path / "choices.json"
    path.write_text(json.dumps(good))
    assert read_choices(str(path)).choices[0].verdict == "chosen"
    changed: list[tuple[Any, str]] = [
        (good | {"version": 2}, "version"),
        (good | {"more": 1}, "more"),
        ({}, "file"),
        ([], "mapping"),
        *(
            (good | {"choices": [choice | {name: value}]}, f"choices.0.{name}")
            for name, value in (
                ("verdict", "maybe"),
                ("said_at", "2026-11-26T20:00:00"),
                ("reason", "\ud800"),
                ("reason", "x" * 401),
                ("folder", ""),
                ("generation_id", 7),
            )
        ),
    ]
    for file, said in changed:
        path.write_text(json.dumps(file))
        with pytest.raises(ChoicesUnreadable, match="Nothing was changed") as refused:
            read_choices(str(path))
        assert said in str(refused.value)
    for text in ('{"file": 1, "file": 2}', "[" * 5000, "no JSON", ""):
        path.write_text(text)
        with pytest.raises(ChoicesUnreadable, match="Nothing was changed"):
            read_choices(str(path))
    with pytest.raises(ChoicesUnreadable):
        read_choices(str(tmp_path / "nowhere.json"))


def test_choices_of_another_archive_count_for_nothing(fal: LocalFal, folder: Path) -> None:
    """Named one by one, exit code 1; no path leads out of the archive."""
    (folder / "archive").mkdir()
    places = ["2026/11/21/nothing-here", "../../etc", "/etc/passwd", ".ledgers/x"]
    choice = {"generation_id": "a", "verdict": "chosen", "said_at": "2026-11-26T20:00:00Z"}
    file = {
        "file": "prefect-ltx choices",
        "version": 1,
        "choices": [choice | {"folder": each} for each in places],
    }
    (folder / "choices.json").write_text(json.dumps(file))
    done = cli(folder, "archive", "review", "choices.json", "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert (report["noted"], len(report["unknown"])) == (0, 4)
    assert "Traceback" not in done.stderr
