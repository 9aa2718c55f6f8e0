"""A ledger that is empty or older than the archive beside it: noticed before money is spent, and made again."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from generation_parts import cup_request, submitted
from s3_servers import S3Server
from support import submits
from typer.testing import CliRunner

from prefect_ltx.cli import app
from prefect_ltx.doctor import check_all
from prefect_ltx.fal import IngredientRequest
from prefect_ltx.generation import Services, collect, store, wait_for
from prefect_ltx.ledger import BudgetLimit, Generation, LedgerBehindArchive, Owner, State
from prefect_ltx.local import LocalFal
from prefect_ltx.settings import Settings

Make = Callable[..., IngredientRequest]


@pytest.fixture
def make_request(media_folder: Path) -> Make:
    return lambda **changes: cup_request(media_folder / "sheet.png", **changes)


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, ltx_env: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment, with the archive in a folder or in a bucket."""
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("moto")
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PREFECT_LTX_ARCHIVE", f"s3://{server.new_bucket()}/videos")
    return ltx_env


async def made(request: IngredientRequest) -> Generation:
    """One run of a process of its own: the request's video in the archive, bought or given out again."""
    async with Services.from_settings(Settings()) as services:
        row = await submitted(services, request, Owner.here(announces_posts=True))
        if row.state is not State.ARCHIVED:
            row = await wait_for(services, row)
            await store(services, row, await collect(services, row))
        return await services.ledger.get(row.id)


async def rebuild(exit_code: int = 0) -> Any:
    done = await asyncio.to_thread(CliRunner().invoke, app, ["ledger", "rebuild", "--json"])
    assert done.exit_code == exit_code, done.output
    return json.loads(done.stdout)


def backup(place: Path) -> Path:
    """A copy of the ledger as backup tools make it."""
    copy = place / "backup.db"
    with sqlite3.connect(place / "ledger.db") as ledger, sqlite3.connect(copy) as target:
        ledger.backup(target)
    return copy


def forget(place: Path) -> None:
    for path in place.glob("ledger.db*"):
        path.unlink()


async def test_an_empty_ledger_beside_a_filled_archive_buys_nothing(
    place: Path, fal: LocalFal, make_request: Make
) -> None:
    """Neither what is there nor anything else, until its rows are made again; then what is there is given out."""
    first = await made(make_request(seed=1))
    forget(place)

    for seed in (1, 2):
        with pytest.raises(LedgerBehindArchive) as refused:
            await made(make_request(seed=seed))
        assert "prefect-ltx ledger rebuild" in str(refused.value)
        assert "Nothing was sent or spent" in str(refused.value)
    assert submits(fal) == 1
    (finding,) = [each for each in await check_all(Settings()) if each.severity == "error"]
    assert "ledger rebuild" in finding.remedy

    assert (await rebuild())["restored"] == 1
    again = await made(make_request(seed=1))
    assert submits(fal) == 1
    for name in (
        *("id", "key", "account", "endpoint", "seed", "request_id", "sha256", "size", "folder", "location"),
        *("manifest_sha256", "price_expected_usd", "settled_usd", "held_usd", "delivered_seed", "state"),
    ):
        assert getattr(again, name) == getattr(first, name), name
    assert again.created_at.date() == first.created_at.date()
    assert (await made(make_request(seed=2))).state is State.ARCHIVED
    assert submits(fal) == 2


async def test_a_ledger_from_an_older_backup_buys_nothing(
    place: Path, fal: LocalFal, make_request: Make
) -> None:
    """It knows some of the videos, and neither the newest ones nor what they cost."""
    await made(make_request(seed=1))
    copy = backup(place)
    for seed in (2, 3):
        await made(make_request(seed=seed))
    forget(place)
    shutil.copy(copy, place / "ledger.db")

    for seed in (3, 4):
        with pytest.raises(LedgerBehindArchive, match="older than the archive"):
            await made(make_request(seed=seed))
    assert (await made(make_request(seed=1))).state is State.ARCHIVED  # reused: it costs nothing
    assert submits(fal) == 3

    report = await rebuild()
    assert (report["known"], report["restored"]) == (1, 2)
    for seed in (1, 2, 3):
        assert (await made(make_request(seed=seed))).state is State.ARCHIVED
    assert submits(fal) == 3
    async with Services.from_settings(Settings()) as services:
        limit = BudgetLimit(Decimal(10), "day", name="test")
        (status,) = await services.ledger.spending([limit])
        assert status.held_usd + status.settled_usd == fal.bill.total_usd


async def test_a_row_that_was_unfinished_in_the_backup_is_closed(
    place: Path, fal: LocalFal, make_request: Make
) -> None:
    """Its video came into the archive after the backup was made."""
    async with Services.from_settings(Settings()) as services:
        row = await submitted(services, make_request(seed=1))
        copy = backup(place)
        row = await wait_for(services, row)
        await store(services, row, await collect(services, row))
    forget(place)
    shutil.copy(copy, place / "ledger.db")

    assert (await rebuild())["closed"] == 1

    assert (await made(make_request(seed=1))).id == row.id
    assert submits(fal) == 1


async def test_rebuilding_twice_changes_nothing(place: Path, fal: LocalFal, make_request: Make) -> None:
    """What is known stays as it is, with its history."""
    row = await made(make_request(seed=1))
    async with Services.from_settings(Settings()) as services:
        before = await services.ledger.events(row.id)
    again = await rebuild()
    assert (again["known"], again["restored"]) == (1, 0)
    async with Services.from_settings(Settings()) as services:
        assert await services.ledger.events(row.id) == before
        assert await services.ledger.get(row.id) == row


async def test_a_bad_manifest_is_named_and_ends_nothing(
    ltx_env: Path, fal: LocalFal, make_request: Make
) -> None:
    """Whatever is wrong with one: the others make their rows, and the command says that it is not whole."""
    rows = [await made(make_request(seed=seed)) for seed in range(6)]
    manifests = [ltx_env / "archive" / str(row.folder) / "manifest.json" for row in rows]
    wrong: list[Callable[[dict[str, Any]], Any]] = [
        lambda manifest: "{not json",
        lambda manifest: json.dumps(manifest | {"seed": 2**70}),
        lambda manifest: json.dumps(manifest | {"price_expected_usd": "1E+99999999"}),
        lambda manifest: json.dumps(manifest | {"generation_id": "x" * 4000}),
        lambda manifest: json.dumps(manifest | {"prompt_expanded": "\ud800", "tags": ["a\ud800"]}),
    ]
    for path, change in zip(manifests, wrong, strict=False):
        path.chmod(0o644)
        path.write_text(change(json.loads(path.read_text())))
    forget(ltx_env)

    report = await rebuild(exit_code=1)

    assert report["restored"] >= 1
    named = {each["folder"] for each in report["unreadable"]}
    assert named <= {str(row.folder) for row in rows[:5]}
    assert {str(rows[0].folder), str(rows[1].folder), str(rows[2].folder)} <= named
    assert (await made(make_request(seed=5))).id == rows[5].id
    assert submits(fal) == 6


async def test_a_new_ledger_beside_a_new_archive_is_fine(place: Path, make_request: Make) -> None:
    """Nothing is to be rebuilt where nothing is."""
    assert (await made(make_request(seed=1))).state is State.ARCHIVED
    assert (await rebuild())["unreadable"] == []


async def test_an_archive_that_moved_is_known(
    ltx_env: Path, fal: LocalFal, make_request: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same ledger beside a copy of its archive under another name, with the marks in it or without."""
    await made(make_request(seed=1))
    for name, hidden in (("whole", True), ("bare", False)):
        copy = ltx_env / name
        shutil.copytree(ltx_env / "archive", copy)
        if not hidden:
            shutil.rmtree(copy / ".ledgers")
        monkeypatch.setenv("PREFECT_LTX_ARCHIVE", str(copy))
        assert (await made(make_request(seed=2 + hidden))).state is State.ARCHIVED
    assert submits(fal) == 3


async def test_an_archive_from_before_the_marks_is_noticed(
    ltx_env: Path, fal: LocalFal, make_request: Make
) -> None:
    """An empty ledger beside what an earlier release archived."""
    await made(make_request(seed=1))
    shutil.rmtree(ltx_env / "archive" / ".ledgers")
    forget(ltx_env)
    with pytest.raises(LedgerBehindArchive, match="knows none of the videos"):
        await made(make_request(seed=1))
    assert submits(fal) == 1


async def test_two_ledgers_may_share_an_archive_once_the_second_has_joined(
    ltx_env: Path, fal: LocalFal, make_request: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After that each archives there, and neither is taken for behind because of the other."""
    await made(make_request(seed=1))
    monkeypatch.setenv("PREFECT_LTX_LEDGER", f"sqlite:///{ltx_env / 'second.db'}")
    with pytest.raises(LedgerBehindArchive):
        await made(make_request(seed=2))
    await rebuild()
    await made(make_request(seed=2))
    monkeypatch.setenv("PREFECT_LTX_LEDGER", f"sqlite:///{ltx_env / 'ledger.db'}")
    assert (await made(make_request(seed=3))).state is State.ARCHIVED
    assert submits(fal) == 3


async def test_marks_are_no_part_of_the_archive_that_readers_see(place: Path, make_request: Make) -> None:
    """Not a file too many for `verify`, not a folder for the gallery."""
    await made(make_request(seed=1))
    async with Services.from_settings(Settings()) as services:
        report = await services.archive.verify()
        assert (report.ok, report.unlisted, report.generations) == (True, [], 1)
        assert not [key for key in await services.archive.list() if key.startswith(".")]
