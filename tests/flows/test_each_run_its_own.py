"""What a run has is its own, what is archived is given back, and an end counts everything that came before it."""

import asyncio
import re
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from generation_parts import cup_request
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from support import paused_run, submits

from prefect_ltx.archive import ArchiveNotFound
from prefect_ltx.fal import FalRateLimited, IngredientRequest
from prefect_ltx.flows import best_of_takes, decide_generation, ingredient_to_video, submit_only
from prefect_ltx.flows.decide import DecisionRefused
from prefect_ltx.flows.take import NoTakePassed
from prefect_ltx.generation import GenerationEnded, TakeNotMade
from prefect_ltx.ledger import Ledger, State
from prefect_ltx.ledger.life.budget import dollars
from prefect_ltx.local import LocalFal
from prefect_ltx.tasks import archive_video, await_generation, download_video, submit_generation

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(400),
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # Prefect's own client
]


@pytest.fixture
def sheet(media_folder: Path) -> Path:
    return media_folder / "sheet.png"


@flow
async def composed(request: IngredientRequest) -> tuple[str, bool]:
    """What the docs show of the tasks."""
    handle = await await_generation(await submit_generation(request))
    archived = await archive_video(handle, await download_video(handle))
    return archived.folder, archived.reused


async def test_each_run_without_a_seed_has_a_generation_of_its_own(
    fal: LocalFal, ltx_env: Path, sheet: Path
) -> None:
    """Submitted three times, one after the other and then side by side: six generations, none of them twice, and each
    run's name has the seed that was drawn.
    """
    request = cup_request(sheet, seed=None)
    handles = [await submit_only(request) for _ in range(3)]
    handles += await asyncio.gather(*(submit_only(request) for _ in range(3)))
    assert len({each.generation_id for each in handles}) == 6
    assert (submits(fal), len({each.seed for each in handles})) == (6, 6)
    with Ledger(f"sqlite:///{ltx_env / 'ledger.db'}") as ledger:
        rows = ledger.find()
    async with get_client() as client:
        names = [(await client.read_flow_run(UUID(str(row.flow_run_id)))).name for row in rows]
    assert all(name.endswith(f", seed {row.seed})") for name, row in zip(names, rows, strict=True)), names


async def test_a_composed_flow_that_is_repeated_reads_the_archive(
    fal: LocalFal, ltx_env: Path, sheet: Path
) -> None:
    """Once archived, submit, await, download and archive give back what is there, and fal is asked for nothing."""
    folder, reused = await composed(cup_request(sheet))
    assert not reused
    fal.faults.add("expired_file", times=-1)
    fal.faults.add("result_purged", times=-1)
    before = len(fal.log)
    assert await composed(cup_request(sheet)) == (folder, True)
    assert [path for method, path, _ in list(fal.log)[before:] if "/files/" in path and method == "GET"] == []
    assert (submits(fal), len(fal.bill)) == (1, 1)
    assert not any((ltx_env / "home" / "work").glob("*-*-*"))


async def test_a_cached_handle_of_a_row_that_is_gone_is_only_a_hint(
    fal: LocalFal, ltx_env: Path, sheet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a ledger from before the run, Prefect's cache names a generation that nobody knows: it is planned anew."""
    ledger, backup = ltx_env / "ledger.db", ltx_env / "backup.db"
    Ledger(f"sqlite:///{ledger}").close()
    shutil.copy(ledger, backup)
    first = await ingredient_to_video(cup_request(sheet), recipe="none", quality="off")
    for leftover in ltx_env.glob("ledger.db*"):
        leftover.unlink()
    shutil.copy(backup, ledger)
    monkeypatch.setenv("PREFECT_LTX_ARCHIVE", str(ltx_env / "other-archive"))
    again = await ingredient_to_video(cup_request(sheet), recipe="none", quality="off")
    assert again.generation_id != first.generation_id
    assert Path(again.video.removeprefix("file://")).is_file()


async def test_a_wait_that_fal_asks_for_is_bounded(fal: LocalFal, ltx_env: Path, sheet: Path) -> None:
    """Whoever is told to come back in an hour ends at once, with nothing sent; the run may be repeated later."""
    fal.faults.add("reject_429", value=3600)
    with pytest.raises(FalRateLimited):
        await asyncio.wait_for(ingredient_to_video(cup_request(sheet), recipe="none"), 60)
    assert (submits(fal), len(fal.bill)) == (1, 0)


async def test_a_budget_that_ends_a_row_of_seeds_does_not_hide_what_was_paid(
    fal: LocalFal, ltx_env: Path, sheet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Takes that were paid for and refused are named with their price where the budget ends before the next one."""
    request = cup_request(sheet)
    probe = await ingredient_to_video(request, recipe="none", quality="off")
    price = probe.price_expected_usd
    monkeypatch.setenv("PREFECT_LTX_BUDGET_USD", str(price * 4 + price / 2))
    fal.faults.add("sheet_lead_in", times=9, value=9)
    with pytest.raises(TakeNotMade) as caught:
        await ingredient_to_video(
            cup_request(sheet, prompt="Reference sheet: a cup. Generated video: it falls."),
            recipe="none",
            quality="next_seed",
            max_seeds=8,
        )
    said = str(caught.value)
    assert len(caught.value.refused) == 3
    assert all(each.generation_id in said for each in caught.value.refused)
    assert "Budget" in said
    assert f"spent {dollars(price * 3)}" in said
    assert "othing was sent or spent" not in said
    assert len(fal.bill) == 4


async def test_a_parked_take_is_counted_with_what_it_may_have_cost(
    fal: LocalFal, ltx_env: Path, sheet: Path
) -> None:
    """One take has a defect, of the other nobody knows whether fal took it: both are named, with their money."""
    fal.faults.add("lost_reply")
    fal.faults.add("listing_forbidden")
    fal.faults.add("sheet_lead_in", times=9, value=9)
    with pytest.raises(NoTakePassed) as caught:
        await best_of_takes(cup_request(sheet), n=2, stop="all", recipe="none", concurrency=1)
    with Ledger(f"sqlite:///{ltx_env / 'ledger.db'}") as ledger:
        (parked,) = ledger.find(states=[State.PARKED])
    said = str(caught.value)
    assert "1 of 2 takes have defects" in said
    assert parked.id in said
    assert f"up to {dollars(parked.held_usd)} more may have been billed" in said
    assert "nothing more was sent" not in said

    async with get_client() as client:
        found = await client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["ltx-needs-a-person"]))
        )
    (shown,) = [str(each.data) for each in found if parked.id in str(each.data)]
    assert "decide-generation" in shown
    assert f"May have cost | {dollars(parked.held_usd)}" in shown
    with pytest.raises(DecisionRefused, match="adopt needs fal's request id"):
        await decide_generation(parked.id, "adopt")
    decided = await decide_generation(parked.id, "write_off", name="Ada")
    assert (decided.before, decided.after) == ("PARKED", "WRITTEN_OFF")
    with pytest.raises(DecisionRefused, match="stays WRITTEN_OFF"):
        await decide_generation(parked.id, "absent")
    with Ledger(f"sqlite:///{ltx_env / 'ledger.db'}") as ledger:
        assert "Ada" in {line.actor for line in ledger.events(parked.id)}


async def test_takes_that_failed_are_in_the_result_of_those_that_passed(
    fal: LocalFal, ltx_env: Path, sheet: Path
) -> None:
    """A row of takes with a good one ends well, and its result and page say what became of the others."""
    fal.faults.add("lost_reply")
    fal.faults.add("listing_forbidden")
    found = await best_of_takes(cup_request(sheet), n=2, stop="all", recipe="none", concurrency=1)
    (failed,) = found.failed
    assert failed.state == "PARKED"
    assert failed.may_have_cost_usd == found.may_have_cost_usd > 0
    assert failed.generation_id is not None
    assert failed.generation_id in Path(found.page.removeprefix("file://")).read_text()


async def test_what_a_person_chose_is_looked_for_again(fal: LocalFal, ltx_env: Path, sheet: Path) -> None:
    """A take whose folder went during the pause is not given out as if it were there."""
    running = asyncio.create_task(best_of_takes(cup_request(sheet), n=2, choose="person", recipe="none"))
    run = await paused_run()
    with Ledger(f"sqlite:///{ltx_env / 'ledger.db'}") as ledger:
        rows = ledger.find(states=[State.ARCHIVED])
    for row in rows:
        shutil.rmtree(ltx_env / "archive" / str(row.folder))
    async with get_client() as client:
        await client.resume_flow_run(run.id, run_input={"take": 2})
    with pytest.raises(ArchiveNotFound, match=re.compile(r"Take 2 .*no longer.*paid for", re.DOTALL)):
        await running


@pytest.mark.parametrize("what", ["flow", "takes"])
async def test_a_refusal_that_cannot_change_is_paid_once_a_flow_run(
    fal: LocalFal, ltx_env: Path, sheet: Path, what: str
) -> None:
    """A run with retries sends what fal refused, and billed, no second time; a new run may."""
    fal.faults.add("job_422", times=-1)
    fal.faults.add("bill_422", times=-1)
    request: Any = cup_request(sheet)
    retrying: Any = {"flow": ingredient_to_video, "takes": best_of_takes}[what].with_options(retries=3)
    with pytest.raises(GenerationEnded, match="billed"):
        await retrying(request, recipe="none")
    assert (submits(fal), len(fal.bill)) == (1, 1)
