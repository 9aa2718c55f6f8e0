"""Several takes of one request: seeds, defects, ranking, and a person's choice."""

import asyncio
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from support import environment, paused_run, submits

from prefect_ltx.fal import FalValidationError, IngredientRequest
from prefect_ltx.film import take_seeds
from prefect_ltx.flows import best_of_takes
from prefect_ltx.flows.choice import NobodyChose
from prefect_ltx.flows.judge import JudgedTake, JudgeError
from prefect_ltx.flows.take import NoTakePassed
from prefect_ltx.ledger import Ledger
from prefect_ltx.local import LocalFal

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # Prefect's own client
]

seen: list[list[JudgedTake]] = []


def loudest_seed(takes: Sequence[JudgedTake]) -> list[float]:
    """A judge that likes large seeds."""
    seen.append(list(takes))
    return [take.seed for take in takes]


async def fails(takes: Sequence[JudgedTake]) -> list[float]:
    raise RuntimeError("no opinion")


def too_few(takes: Sequence[JudgedTake]) -> list[float]:
    return [1.0]


@pytest.fixture(autouse=True)
def judges() -> Iterator[None]:
    """These judges as a module of the user's own."""
    module = types.ModuleType("my_judges")
    module.__dict__.update(loudest_seed=loudest_seed, fails=fails, too_few=too_few, number=5)
    sys.modules["my_judges"] = module
    seen.clear()
    yield
    del sys.modules["my_judges"]


@pytest.fixture
def request_(media_folder: Path) -> IngredientRequest:
    return IngredientRequest.model_validate(
        {
            "prompt": "Reference sheet: a cup. Generated video: it <turns>.",
            "image_url": str(media_folder / "sheet.png"),
            "num_frames": 17,
            "resolution": {"width": 256, "height": 128},
            "video_write_mode": "fast",
            "seed": 7,
        }
    )


async def test_stops_at_the_first_take_without_a_defect(
    request_: IngredientRequest, fal: LocalFal, ltx_env: Path
) -> None:
    """A take that never leaves its sheet is rejected, the next seed passes, and a third is not made."""
    fal.faults.add("sheet_lead_in", times=1, value=17)
    result = await best_of_takes(request_, n=3, recipe="none")
    assert [take.seed for take in result.takes] == take_seeds(7, 3)[:2]
    assert (result.chosen.number, result.chosen.defects, len(result.takes[0].defects) > 0) == (2, (), True)
    assert len(fal.bill) == 2
    again = await best_of_takes(request_, n=3, recipe="none")
    assert (again.chosen.seed, len(fal.bill)) == (result.chosen.seed, 2)


async def test_judge_ranks_all_takes_that_passed(
    request_: IngredientRequest, fal: LocalFal, ltx_env: Path
) -> None:
    """A judge of one's own sees local files and facts of the sound takes only, and the highest score wins."""
    fal.faults.add("sheet_lead_in", times=1, value=17)
    result = await best_of_takes(request_, n=3, judge="my_judges:loudest_seed", recipe="none")
    (judged,) = seen
    passed = [take for take in result.takes if not take.defects]
    assert (len(result.takes), len(passed), len(fal.bill)) == (3, 2, 3)
    assert [take.number for take in judged] == [take.number for take in passed]
    assert all(take.video.is_file() and take.poster.is_file() for take in judged)
    assert result.chosen.seed == max(take.seed for take in passed) == result.chosen.score

    page = Path(result.page.removeprefix("file://")).read_text()
    assert page.count('src="data:image/jpeg;base64,') == 3
    assert "it &lt;turns&gt;." in page
    assert "<script" not in page
    assert page.count('class="chosen"') == page.count('class="rejected"') == 1
    async with get_client() as client:
        found = await client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(like_="ltx-takes-%"))
        )
    assert any(f"Take {result.chosen.number} (chosen)" in str(each.data) for each in found)


async def test_a_judge_that_cannot_be_used_costs_nothing_or_loses_nothing(
    request_: IngredientRequest, fal: LocalFal, ltx_env: Path
) -> None:
    """A mistyped judge stops before anything is sent; one that fails leaves its takes archived for the next run."""
    for spec in ("my_judges:nobody", "no.such_module:judge", "my_judges:number"):
        with pytest.raises(JudgeError, match="Nothing was sent"):
            await best_of_takes(request_, n=2, judge=spec)
    assert submits(fal) == 0
    for spec in ("my_judges:fails", "my_judges:too_few"):
        with pytest.raises(JudgeError, match="archived"):
            await best_of_takes(request_, n=2, judge=spec, recipe="none")
    assert (await best_of_takes(request_, n=2, stop="all", recipe="none")).chosen.number == 1
    assert len(fal.bill) == 2


async def test_no_take_without_a_defect_is_an_error_that_names_them(
    request_: IngredientRequest, fal: LocalFal, ltx_env: Path
) -> None:
    """Where every take has a defect the run fails, tells each, and the takes stay in the archive."""
    fal.faults.add("sheet_lead_in", times=2, value=17)
    with pytest.raises(NoTakePassed, match=r"All 2 takes have defects \(take 1: .*; take 2: .*archived"):
        await best_of_takes(request_, n=2, recipe="none")
    assert len(fal.bill) == 2


async def test_a_refused_request_is_not_tried_with_every_seed(
    request_: IngredientRequest, fal: LocalFal, ltx_env: Path
) -> None:
    """What fal refuses for one seed it refuses for all: one POST, one error."""
    fal.faults.add("job_422")
    with pytest.raises(FalValidationError):
        await best_of_takes(request_, n=3, recipe="none")
    assert submits(fal) == 1


async def test_seeds_follow_from_the_flow_run(
    request_: IngredientRequest, fal: LocalFal, ltx_env: Path
) -> None:
    """Without a seed two runs make different takes."""
    unseeded = request_.model_copy(update={"seed": None})
    one = await best_of_takes(unseeded, n=1, recipe="none")
    two = await best_of_takes(unseeded, n=1, recipe="none")
    assert one.chosen.seed != two.chosen.seed


async def test_a_person_chooses_in_the_ui(request_: IngredientRequest, fal: LocalFal, ltx_env: Path) -> None:
    """The run pauses with a typed form and the posters; a wrong answer is refused, a right one is gone on with."""
    running = asyncio.create_task(best_of_takes(request_, n=2, choose="person", recipe="none"))
    run = await paused_run()
    assert run.state is not None
    keys: dict[str, Any] = run.state.state_details.run_input_keyset or {}
    async with get_client() as client:
        schema = (await client.read_flow_run_input(run.id, keys["schema"])) or ""
        description = (await client.read_flow_run_input(run.id, keys["description"])) or ""
        refused = await client.resume_flow_run(run.id, run_input={"take": 3})
        accepted = await client.resume_flow_run(run.id, run_input={"take": 2, "note": "better light"})
    assert '"enum"' in schema
    assert description.count("data:image/jpeg;base64,") == 2
    assert (refused.status.value, accepted.status.value) == ("REJECT", "ACCEPT")
    result = await running
    assert (result.chosen.number, [take.chosen for take in result.takes]) == (2, [False, True])
    assert len(fal.bill) == 2
    with Ledger(environment(fal.url, ltx_env)["PREFECT_LTX_LEDGER"]) as ledger:
        word = ledger.verdicts()[result.chosen.generation.generation_id]
        (cost,) = ledger.usable()
    assert (word.word, word.source) == ("chosen", "person")
    # The choice is the verdict: the other take is paid for and not used.
    assert (cost.usable, cost.fates["passed over"]) == (1, 1)
    assert cost.usd_per_clip == sum(take.generation.price_usd for take in result.takes)


async def test_nobody_chooses(request_: IngredientRequest, fal: LocalFal, ltx_env: Path) -> None:
    """When the time is over the run fails in one line; the takes are there for the next run."""
    with pytest.raises(NobodyChose, match="run again"):
        await best_of_takes(request_, n=2, choose="person", choice_timeout_seconds=1, recipe="none")
    assert (await best_of_takes(request_, n=2, recipe="none")).chosen.generation.reused
    assert len(fal.bill) == 2
