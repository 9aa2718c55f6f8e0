"""What a person decides in a run: bound to what was shown, kept through a retry, and never taken for granted."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.states import Running
from support import answered, environment, form_text, paused_run, submits

from prefect_ltx.fal import IngredientRequest
from prefect_ltx.flows import best_of_takes, generate_batch, ingredient_to_video, storyboard_film
from prefect_ltx.flows.approval import NotApproved
from prefect_ltx.flows.take import NoTakePassed
from prefect_ltx.ledger import Ledger
from prefect_ltx.local import LocalFal

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(400),
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # Prefect's own client
]


def row(media_folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "prompt": "Reference sheet: a cup. Generated video: it <turns>.",
        "image_url": str(media_folder / "sheet.png"),
        "num_frames": 9,
        "resolution": {"width": 256, "height": 128},
        "video_write_mode": "fast",
        "seed": 7,
        **more,
    }


async def test_resuming_approves_what_is_shown_and_only_that(
    fal: LocalFal, ltx_env: Path, media_folder: Path, tmp_path: Path
) -> None:
    """The plan shows pictures, prompts, sizes and prices, these first. A file that changed meanwhile, or a dearer
    price, is asked about again; what was approved is kept with who, and not asked again."""
    file = tmp_path / "night.jsonl"
    file.write_text(json.dumps(row(media_folder)) + "\n")
    running = asyncio.ensure_future(generate_batch(str(file), recipe="none", approve=True))
    run = await paused_run()
    text = await form_text(run)
    assert text.index("**At most**") < text.index("| Price | Row |") < text.index("turns")
    for part in (
        "256x128",
        "9 frames",
        "seed 7",
        '<img width="120"',
        "press Resume",
        "approve spending at most $",
    ):
        assert part in text
    assert "None" not in text

    file.write_text("\n".join(json.dumps(row(media_folder, seed=seed)) for seed in (7, 8)))
    async with get_client() as client:
        empty = await client.resume_flow_run(run.id)
    assert (empty.status.value, "approve" in str(empty.details)) == ("REJECT", True)
    await answered(approve=True)
    async with asyncio.timeout(60):
        while (again := await paused_run()).id != run.id or "seed 8" not in await form_text(again):
            await asyncio.sleep(0.2)
    assert submits(fal) == 0
    await answered(approve=True, name="Ada Lovelace")
    assert (await running).ok
    assert len(fal.bill) == 2

    with Ledger(environment(fal.url, ltx_env)["PREFECT_LTX_LEDGER"]) as ledger:
        approvals = ledger.approvals()
    assert [each.approved_by for each in approvals] == ["Ada Lovelace", "a person in the Prefect UI"]
    assert approvals[0].at_most_usd > approvals[1].at_most_usd
    assert (
        await generate_batch(str(file), recipe="none", approve=True)
    ).ok  # nothing to buy, nobody is asked


async def test_no_answer_and_a_no_are_no_approval_however_often_the_run_begins(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """A refused film stays refused in the run's retry; a run that is set going without an answer buys nothing."""
    board = {
        "title": "A refused film",
        "resolution": {"width": 256, "height": 128},
        "defaults": {"frames": 9, "settings": {"video_write_mode": "fast"}},
        "cast": {"cup": {"look": "a white cup", "images": [str(media_folder / "sheet.png")]}},
        "shots": [{"id": "one", "text": "the cup turns"}],
    }
    running = asyncio.ensure_future(
        storyboard_film.with_options(retries=1)(board, recipe="none", approve=True)
    )
    await answered(approve=False)
    with pytest.raises(
        NotApproved, match=r"refused film was not approved by a person.*Nothing was sent or spent"
    ):
        await running

    request = IngredientRequest.model_validate(row(media_folder))
    lone = asyncio.ensure_future(ingredient_to_video(request, recipe="none", approve=True))
    run = await paused_run()
    async with get_client() as client:
        await client.set_flow_run_state(run.id, Running(), force=True)
    with pytest.raises(NotApproved, match="set going without an answer"):
        await lone
    assert submits(fal) == 0

    lone = asyncio.ensure_future(ingredient_to_video(request, recipe="none", approve=True))
    await answered(approve=True, name="Ada")
    made = await lone
    with Ledger(environment(fal.url, ltx_env)["PREFECT_LTX_LEDGER"]) as ledger:
        (approval,) = ledger.approvals()
        (bought,) = ledger.find(tag=f"approval:{approval.id}")
    assert (bought.id, approval.approved_by) == (made.generation_id, "Ada")


async def test_an_answer_survives_a_retry(fal: LocalFal, ltx_env: Path, media_folder: Path) -> None:
    """A run that fails after it was answered is approved, and its take chosen, without asking again."""
    request = IngredientRequest.model_validate(row(media_folder, num_frames=17))
    again = best_of_takes.with_options(retries=1)
    running = asyncio.ensure_future(again(request, n=2, choose="person", recipe="none", approve=True))
    text = await answered(approve=True)
    assert "2 takes" in text
    async with asyncio.timeout(120):
        while len(fal.bill) < 2:
            await asyncio.sleep(0.2)
    run = await paused_run()
    folders = ltx_env / "archive"
    hidden = ltx_env / "hidden"
    folders.rename(hidden)  # the archive is away when the choice is looked up again
    async with get_client() as client:
        await client.resume_flow_run(run.id, run_input={"take": 2})
        async with asyncio.timeout(60):
            while (
                now := await client.read_flow_run(run.id)
            ).run_count < 2 and now.state_name != "AwaitingRetry":
                await asyncio.sleep(0.05)
    if folders.exists():
        folders.rename(ltx_env / "made-meanwhile")
    hidden.rename(folders)
    assert (await running).chosen.number == 2
    assert len(fal.bill) == 2


async def test_a_person_may_take_what_has_a_finding_or_none(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """Where every take has a finding they are shown, marked; one of them can be chosen, and so can none."""
    request = IngredientRequest.model_validate(row(media_folder, num_frames=17))
    fal.faults.add("sheet_lead_in", times=2, value=17)
    running = asyncio.ensure_future(best_of_takes(request, n=2, choose="person", recipe="none"))
    text = await answered(take=1, none_of_them=True, note="both wrong")
    assert text.count("rejected:") == 2
    with pytest.raises(NoTakePassed, match=r"none of the 2 takes.*paid for and archived.*This run spent \$"):
        await running
    with Ledger(environment(fal.url, ltx_env)["PREFECT_LTX_LEDGER"]) as ledger:
        words = {(each.word, each.source, each.reason) for each in ledger.verdicts().values()}
        assert (len(ledger.verdicts()), words) == (2, {("rejected", "person", "both wrong")})
        running = asyncio.ensure_future(best_of_takes(request, n=2, choose="person", recipe="none"))
        await answered(take=2, note="after all")
        chosen = (await running).chosen
        said = ledger.verdicts()[chosen.generation.generation_id]
    assert (chosen.number, said.word, said.source, said.reason) == (2, "chosen", "person", "after all")
    assert len(fal.bill) == 2
