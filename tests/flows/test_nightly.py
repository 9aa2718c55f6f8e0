"""A night's batch of all request files of a folder, and the report on what it cost."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from prefect_ltx.local import LocalFal

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ROW: dict[str, Any] = {
    "prompt": "a cup turns",
    "image_url": "sheet.png",
    "num_frames": 9,
    "resolution": {"width": 256, "height": 128},
    "video_write_mode": "fast",
}


def report_of_command(*arguments: str) -> Any:
    from prefect_ltx.cli import app

    done = CliRunner().invoke(app, ["ledger", "spend", "--json", *arguments])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


async def test_a_night_makes_what_is_missing_once_and_its_report_agrees_with_the_command_line(
    prefect_server: None, fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """Errors in one file stop no other; done files stay and are not run again; every dollar is in the report."""
    from prefect_ltx.flows import nightly_batch, spend_report

    inbox = ltx_env / "in"
    (inbox / "more").mkdir(parents=True)
    for folder in (inbox, inbox / "more"):
        (folder / "sheet.png").write_bytes((media_folder / "sheet.png").read_bytes())
    (inbox / "broken.yaml").write_text("rows: [{promt: a, image_url: sheet.png}]")
    (inbox / "cups.jsonl").write_text("\n".join(json.dumps(each) for each in (ROW, {**ROW, "seed": 7})))
    (inbox / "more" / "again.json").write_text(json.dumps({**ROW, "seed": 7}))

    report = await nightly_batch(str(inbox), recipe="none", settle_seconds=0.1)
    assert {each.name: each.status for each in report.files} == {
        "broken.yaml": "refused",
        "cups.jsonl": "done",
        "more/again.json": "done",  # its one row is a row of cups.jsonl: the same request
    }
    assert not report.ok
    assert "did you mean prompt" in report.files[0].reason
    assert len(fal.bill) == 2
    assert report.files[2].spent_usd == 0

    (inbox / "broken.yaml").unlink()
    state = await nightly_batch(str(inbox), recipe="none", settle_seconds=0.1, return_state=True)  # type: ignore[call-overload]
    assert (state.name, state.message) == ("Completed", "nothing to do")
    lines = (inbox / "cups.jsonl").read_text().splitlines()
    (inbox / "cups.jsonl").write_text("\n".join([*lines, json.dumps({**ROW, "seed": 8})]))
    changed = await nightly_batch(str(inbox), recipe="none", settle_seconds=0.1)
    assert [each.status for each in changed.files] == ["done", "done_before"]
    assert len(fal.bill) == 3
    assert sorted(each.name for each in inbox.iterdir()) == [".ltx", "cups.jsonl", "more", "sheet.png"]

    today = datetime.now(UTC).date()
    spent = await spend_report(days=2, until=today + timedelta(days=1))
    assert spent.generations == 3
    assert spent.billed_usd + spent.open_usd == report.files[1].spent_usd + changed.files[0].spent_usd
    # again.json got a row of cups.jsonl; the changed cups.jsonl got both of its own rows of before.
    assert (spent.reuses, spent.saved_usd) == (3, 3 * spent.expected_usd / 3)
    shown = report_of_command("--since", str(spent.since), "--until", str(spent.until), "--by", "tag")
    assert Decimal(str(shown["expected_usd"])) == spent.expected_usd
    assert (shown["generations"], shown["reuses"]) == (spent.generations, spent.reuses)
    assert [(each["name"], each["count"]) for each in shown["totals"]] == [
        (each.name, each.generations) for each in spent.by_tag
    ]
    usable = spent.usable.total
    assert (usable.attempts, usable.usable, usable.unusable_usd) == (3, 3, 0)
    assert usable.usd_per_clip == usable.usable_usd / 3 == (spent.billed_usd + spent.open_usd) / 3
    assert {each.name: each.attempts for each in spent.usable.by_prompt} == {ROW["prompt"]: 3}
    today_so_far = await spend_report(days=1)
    assert (today_so_far.generations, today_so_far.until) == (spent.generations, today + timedelta(days=1))
    before = await spend_report(days=7, until=today)
    assert (before.generations, before.by_day, before.usable.total.attempts) == (0, [], 0)


async def test_the_report_shows_a_picture_and_no_markup_of_a_tag(prefect_server: None, ltx_env: Path) -> None:
    """The artifact is text that can be pasted; what users wrote is code in it, and the plot is a data URI."""
    from prefect_ltx.flows.spend import SpendLine, SpendReport, spend_markdown, spend_report
    from prefect_ltx.flows.spend_chart import days_of
    from prefect_ltx.ledger import Period, Total

    empty: SpendReport = await spend_report()
    usd = Decimal("1.25")
    hostile = "x|y`<img src=x onerror=alert(1)>"
    line = SpendLine(name=hostile, generations=1, expected_usd=usd, held_usd=usd, billed_usd=usd)
    report = empty.model_copy(update={"by_tag": [line], "generations": 1, "billed_usd": usd})
    days = days_of(
        Period(report.since, report.until), [Total(str(report.since), 1, usd, usd, Decimal("0.5"))]
    )
    assert len(days) == 7
    text = spend_markdown(report, days)
    assert "](data:image/svg+xml;base64," in text
    assert "| `x/y'<img src=x onerror=alert(1)>` |" in text
    assert empty.usable is not None
    tagged = empty.usable.total.model_copy(
        update={"name": hostile, "attempts": 2, "usable": 1, "usable_usd": usd, "usd_per_clip": 2 * usd}
        | {"why": {hostile: 1}}
    )
    usable = empty.usable.model_copy(update={"total": tagged, "by_prompt": [tagged]})
    text = spend_markdown(report.model_copy(update={"usable": usable}), days)
    assert "1 of 2 attempts can be used: $1.25 for these, $0.00 for the others; $2.5000 a usable clip" in text
    assert text.count("](data:image/svg+xml;base64,") == 2
    assert text.count("| `x/y'<img src=x onerror=alert(1)>` |") == 3
