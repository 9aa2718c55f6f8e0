"""`plan`, `ledger`, `sweep` and `archive` on a real ledger, a real archive and the embedded fal."""

import asyncio
import json
import os
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, make_url
from support import submits
from typer.testing import CliRunner

from prefect_ltx.cli import app
from prefect_ltx.fal import IngredientRequest, parse_request, price_usd
from prefect_ltx.generation import Services, ledger_plan, prepare, submit_once, upload
from prefect_ltx.ledger import Generation, Owner, PostStarted, ReplyLost, State, Undecidable
from prefect_ltx.local import LocalFal
from prefect_ltx.settings import Settings

PRICE = price_usd(256, 128, 9)


@pytest.fixture
def sheet(media_folder: Path, ltx_env: Path) -> dict[str, Any]:
    """A small request for the embedded fal."""
    return {
        "prompt": "Reference sheet: a cup. Generated video: it turns.",
        "image_url": str(media_folder / "sheet.png"),
        "num_frames": 9,
        "resolution": {"width": 256, "height": 128},
        "video_write_mode": "fast",
        "seed": 7,
    }


def written(folder: Path, *documents: Any) -> str:
    path = folder / ("request.json" if len(documents) == 1 else "requests.jsonl")
    path.write_text("\n".join(each if isinstance(each, str) else json.dumps(each) for each in documents))
    return str(path)


def run(*arguments: str, exit_code: int = 0) -> Any:
    """What a command prints with --json."""
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == exit_code, done.output
    return json.loads(done.stdout) if done.stdout else None


def complaint(*arguments: str, exit_code: int = 1) -> str:
    """What a command that fails says on stderr."""
    done = CliRunner().invoke(app, [*arguments])
    assert done.exit_code == exit_code, done.output
    return done.stderr


async def plan_of(services: Services, request: IngredientRequest, owner: Owner) -> Any:
    plan, settled, inputs = await prepare(services, request, owner=owner)
    urls = {field: (await upload(services, str(media.path))).url for field, media in inputs.items()}
    return ledger_plan(plan, settled.with_media(urls).body(), flow_run_id=None, tags=("film",))


def submitted(document: dict[str, Any]) -> Generation:
    """The request, sent by a run that went no further and gave its lease back."""

    async def send() -> Generation:
        async with Services.from_settings(Settings()) as services:
            request = parse_request(document)
            assert isinstance(request, IngredientRequest)
            owner = Owner.here()
            return await submit_once(services, await plan_of(services, request, owner), owner)

    return asyncio.run(send())


def parked(document: dict[str, Any]) -> Generation:
    """The request, whose answer was lost and could not be looked up."""

    async def park() -> Generation:
        async with Services.from_settings(Settings()) as services:
            request = parse_request(document)
            assert isinstance(request, IngredientRequest)
            owner = Owner.here()
            claim = await services.ledger.claim(await plan_of(services, request, owner), owner)
            for event in (
                PostStarted(attempt=1),
                ReplyLost("reset", attempt=1),
                Undecidable("forbidden", attempt=1),
            ):
                await services.ledger.record(claim.generation.id, event, owner=owner)
            await services.ledger.release(claim.generation.id, owner)
            return await services.ledger.get(claim.generation.id)

    return asyncio.run(park())


def test_plan_prices_a_request_and_sends_nothing(fal: LocalFal, ltx_env: Path, sheet: dict[str, Any]) -> None:
    """`plan` tells size, megapixels and price, and neither submits nor writes a row."""
    shown = run("plan", written(ltx_env, sheet))
    (report,) = shown["requests"]
    assert (report["width"], report["height"], report["num_frames"]) == (256, 128, 9)
    assert (report["status"], Decimal(report["price_expected_usd"])) == ("new", PRICE)
    assert Decimal(shown["total"]["price_expected_usd"]) == PRICE
    assert submits(fal) == len(fal.bill) == 0
    assert run("ledger", "list")["generations"] == []


def test_plan_of_a_file_keeps_good_lines_and_fails_for_the_bad_one(
    ltx_env: Path, sheet: dict[str, Any]
) -> None:
    """One invalid request makes the plan fail, named by line and field; the others are priced."""
    path = written(ltx_env, sheet, sheet | {"num_frames": 7}, "not json", sheet | {"seed": 8})
    shown = run("plan", path, exit_code=1)
    assert [each["status"] for each in shown["requests"]] == ["new", "invalid", "invalid", "new"]
    assert shown["total"]["to_send"] == 2
    lines = complaint("plan", path).splitlines()
    assert len(lines) == 2
    assert "line 2" in lines[0]
    assert "num_frames" in lines[0]
    assert "line 3" in lines[1]


def test_plan_counts_a_repeated_request_once(ltx_env: Path, sheet: dict[str, Any]) -> None:
    """The same request twice is one purchase, so the total has it once."""
    total = run("plan", written(ltx_env, sheet, sheet))["total"]
    assert (total["to_send"], Decimal(total["price_expected_usd"])) == (1, PRICE)


def test_plan_fails_when_the_budget_covers_each_request_but_not_all(
    ltx_env: Path, sheet: dict[str, Any]
) -> None:
    """A file that is over budget as a whole is refused, with what is left and what would be needed."""
    path = written(ltx_env, sheet, sheet | {"seed": 8})
    enough = str(PRICE * 2)
    run("plan", path, "--budget-usd", enough)
    line = complaint("plan", path, "--budget-usd", str(PRICE))
    assert "Over budget" in line
    assert f"${PRICE:f}".rstrip("0") in line


def test_plan_of_an_unreadable_media_file_is_one_line(ltx_env: Path, sheet: dict[str, Any]) -> None:
    """A media path that does not exist is found before anything is sent."""
    path = written(ltx_env, sheet | {"image_url": "absent.png"})
    assert "image_url" in complaint("plan", path)


def test_sweep_collects_what_was_paid_for_and_left(
    fal: LocalFal, ltx_env: Path, sheet: dict[str, Any]
) -> None:
    """After a run that died, `sweep` brings the paid video into the archive and pays nothing."""
    left = submitted(sheet)
    report = run("sweep")
    while any(each["after"] == State.SUBMITTED for each in report["items"]):
        report = run("sweep")
    assert len(fal.bill) == submits(fal) == 1
    (row,) = run("ledger", "list", "--state", "archived", "--tag", "film")["generations"]
    assert row["id"] == left.id
    assert Decimal(row["settled_usd"]) == PRICE
    assert run("plan", written(ltx_env, sheet))["requests"][0]["status"] == "archived"


def test_archive_commands_check_every_byte_and_build_the_page(
    fal: LocalFal, ltx_env: Path, sheet: dict[str, Any]
) -> None:
    """`verify` succeeds on an untouched archive and fails on one changed byte; `gallery` writes the page."""
    submitted(sheet)
    while run("ledger", "list", "--state", "ARCHIVED")["generations"] == []:
        run("sweep")
    checked = run("archive", "verify")
    assert (checked["ok"], checked["generations"]) == (True, 1)
    page = run("archive", "gallery")["gallery"]
    assert page.endswith("/index.html")
    assert (ltx_env / "archive" / "index.html").is_file()

    (video,) = (ltx_env / "archive").rglob("video.mp4")
    data = bytearray(video.read_bytes())
    data[len(data) // 2] ^= 1
    os.chmod(video, 0o644)
    video.write_bytes(data)
    altered = run("archive", "verify", exit_code=1)["altered"]
    assert [each["key"].rpartition("/")[2] for each in altered] == ["video.mp4"]


def test_verify_of_a_mistyped_folder_is_an_error(ltx_env: Path) -> None:
    """A folder that does not exist is not an archive in which all is well."""
    assert "there is no such archive folder" in complaint("archive", "verify", "--archive", "/no/such/place")


def test_ledger_show_tells_the_history_without_opening_a_door(ltx_env: Path, sheet: dict[str, Any]) -> None:
    """`show` finds a generation by the beginning of its id and tells each step; no nonce, no URL query."""
    left = submitted(sheet)
    shown = run("ledger", "show", left.id[:8])
    assert shown["generation"]["request_id"] == left.request_id
    assert "Accepted" in [each["event"] for each in shown["events"]]
    assert left.nonce not in json.dumps(shown)
    assert "?" not in shown["generation"]["body"]["image_url"]


@pytest.mark.parametrize("by", ["day", "tag", "endpoint", "state"])
def test_ledger_spend_adds_up_by_what_is_asked(ltx_env: Path, sheet: dict[str, Any], by: str) -> None:
    """`spend` sums what is reserved, and says what is left of the budget."""
    row = submitted(sheet)
    shown = run("ledger", "spend", "--by", by, "--budget-usd", "1")
    assert [Decimal(each["held_usd"]) for each in shown["totals"]] == [row.held_usd]
    (budget,) = shown["budgets"]
    assert Decimal(budget["left_usd"]) == 1 - row.held_usd


def test_a_person_decides_about_a_parked_generation(ltx_env: Path, sheet: dict[str, Any]) -> None:
    """--absent frees the key and the budget of a parked generation; decided once, it is decided."""
    row = parked(sheet)
    assert row.state is State.PARKED
    assert run("ledger", "resolve", row.id, "--absent")["generation"]["state"] == State.RELEASED
    assert Decimal(run("ledger", "spend")["totals"][0]["held_usd"]) == 0
    assert "stays RELEASED" in complaint("ledger", "resolve", row.id, "--absent")


def test_a_parked_generation_can_be_adopted_or_written_off(ltx_env: Path, sheet: dict[str, Any]) -> None:
    """--adopt names fal's request; --write-off counts the money as spent."""
    adopted = run("ledger", "resolve", parked(sheet).id, "--adopt", "11111111-2222-7333-8444-555555555555")
    assert adopted["generation"]["state"] == State.SUBMITTED
    off = run("ledger", "resolve", parked(sheet | {"seed": 8}).id, "--write-off")["generation"]
    assert (off["state"], Decimal(off["held_usd"]) > 0) == (State.WRITTEN_OFF, True)


def test_resolve_wants_exactly_one_decision(ltx_env: Path) -> None:
    """No decision, or two, is wrong usage and changes nothing."""
    complaint("ledger", "resolve", "abc", exit_code=2)
    complaint("ledger", "resolve", "abc", "--absent", "--write-off", exit_code=2)


def test_unknown_generation_is_one_line(ltx_env: Path) -> None:
    """A generation that is not there is an error, and no traceback."""
    (line,) = complaint("ledger", "show", "no-such-id").splitlines()
    assert "no-such-id" in line


def test_ledger_that_cannot_be_opened_is_one_line(ltx_env: Path) -> None:
    """A wrong ledger URL stops every ledger command, with one line."""
    (line,) = complaint("ledger", "list", "--ledger", "nonsense").splitlines()
    assert line.startswith("Error: ")


def test_commands_that_only_look_make_no_ledger(
    sheet: dict[str, Any], ltx_env: Path, monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    """A ledger that nobody has written reads as an empty one, also where writing is refused."""
    for url in (
        f"sqlite:///{ltx_env / 'ledger.db'}",
        f"{postgres_url}%20-cdefault_transaction_read_only%3Don",
    ):
        monkeypatch.setenv("PREFECT_LTX_LEDGER", url)
        assert run("ledger", "list")["generations"] == []
        assert run("ledger", "spend")["reuses"] == 0
        assert run("plan", written(ltx_env, sheet))["total"]["to_send"] == 1
        assert "no generation called" in complaint("ledger", "show", "abcdef")
    assert not (ltx_env / "ledger.db").exists()
    monkeypatch.setenv("PREFECT_LTX_LEDGER", postgres_url)
    engine = create_engine(make_url(postgres_url).set(drivername="postgresql+psycopg"))
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_ledger_verify_compares_what_budgets_count_with_the_rows(
    ltx_env: Path, sheet: dict[str, Any]
) -> None:
    """Sums that somebody has changed are named, end with 1, and are made again from the rows where a person says so."""
    submitted(sheet)
    assert run("ledger", "verify")["ok"] is True
    with sqlite3.connect(ltx_env / "ledger.db") as database:
        database.execute("UPDATE ltx_sum SET held_nano = 0 WHERE period = 'day' AND name = ''")
    wrong = run("ledger", "verify", exit_code=1)["wrong"]
    assert [(each["period"], each["tag"], each["counted_usd"]) for each in wrong] == [
        ("day", None, "0.000000000")
    ]
    assert Decimal(wrong[0]["rows_usd"]) >= PRICE
    assert run("ledger", "verify", "--recount")["recounted"] is True
    assert run("ledger", "verify") == {**run("ledger", "verify"), "ok": True, "wrong": []}
