"""A preset of a house style: stored in Prefect, triggered through the ledger, paid for once."""

import asyncio
from pathlib import Path

import pytest
from prefect import flow
from support import submits

from prefect_ltx.blocks import GenerationPreset
from prefect_ltx.fal import FalRequestInvalid, IngredientRequest
from prefect_ltx.ledger import GenerationNotFound
from prefect_ltx.local import LocalFal

SMALL = {"num_frames": 9, "resolution": {"width": 256, "height": 128}, "video_write_mode": "fast"}


def house(**changes: object) -> GenerationPreset:
    return GenerationPreset.model_validate(
        {"defaults": SMALL, "style": "Warm light, 35 mm film.", "recipe": "none", "tags": ["house"]} | changes
    )


def test_overrides_come_before_defaults_and_the_style_after_the_prompt() -> None:
    """A request has the preset's defaults, what the trigger says instead, and the style at the end of its prompt."""
    request = house().request(prompt="A cup turns. ", image_url="sheet.png", num_frames=17, seed=None)
    assert isinstance(request, IngredientRequest)
    assert request.prompt == "A cup turns. Warm light, 35 mm film."
    assert (request.num_frames, request.video_write_mode, request.seed) == (17, "fast", None)


def test_a_field_that_the_endpoint_does_not_have_is_refused_by_name() -> None:
    """A default or an override of another endpoint, or with a typing error, is named and nothing is sent."""
    with pytest.raises(FalRequestInvalid) as caught:
        house(defaults={"num_frame": 9}).request(prompt="A cup", image_url="sheet.png")
    assert "num_frame" in str(caught.value)


def test_an_unknown_recipe_is_refused_when_the_preset_is_made() -> None:
    """A recipe that does not exist is refused before anything can be paid for."""
    with pytest.raises(ValueError, match="webb"):
        house(recipe="webb")


@pytest.mark.e2e
@pytest.mark.usefixtures("prefect_server")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # Prefect's own client
class TestTriggered:
    async def test_a_stored_preset_makes_one_paid_video(
        self, fal: LocalFal, ltx_env: Path, media_folder: Path
    ) -> None:
        """Saved, loaded by name in a flow and triggered: one charge; triggered again, the same video for nothing."""
        await house().asave("house", overwrite=True)

        @flow
        async def make() -> tuple[str, bool]:
            preset = await GenerationPreset.aload("house")
            run = await preset.trigger(
                prompt="A cup turns.", image_url=str(media_folder / "sheet.png"), seed=7
            )
            await run.wait_for_completion()
            found = await run.fetch_result()
            return found.video, found.reused

        video, reused = await make()
        assert (Path(video).is_file(), reused) == (True, False)
        assert await make() == (video, True)
        assert (submits(fal), len(fal.bill)) == (1, 1)

    async def test_another_process_attaches_by_the_request_id(
        self, fal: LocalFal, ltx_env: Path, media_folder: Path
    ) -> None:
        """A run that was triggered elsewhere is fetched by fal's id or the ledger's; an unknown id is an error."""
        sheet = str(media_folder / "sheet.png")
        first = await house().trigger(prompt="A cup turns.", image_url=sheet, seed=8)
        assert first.request_id is not None
        second = await house().attach(first.request_id)
        assert second.generation_id == first.generation_id
        result = await second.fetch_result()
        assert (await (await house().attach(first.generation_id)).fetch_result()).video == result.video
        assert len(fal.bill) == 1
        with pytest.raises(GenerationNotFound):
            await house().attach("00000000-no-such-request")

    async def test_two_triggers_at_once_make_one_payment(
        self, fal: LocalFal, ltx_env: Path, media_folder: Path
    ) -> None:
        """The same request triggered twice at the same time is one generation."""
        sheet = str(media_folder / "sheet.png")
        runs = await asyncio.gather(
            *(house().trigger(prompt="A cup turns.", image_url=sheet, seed=9) for _ in range(2))
        )
        results = await asyncio.gather(*(each.fetch_result() for each in runs))
        assert len({each.generation_id for each in results}) == 1
        assert len(fal.bill) == 1

    async def test_a_cancelled_run_in_the_queue_costs_nothing(
        self, fal: LocalFal, ltx_env: Path, media_folder: Path
    ) -> None:
        """Cancelled while in the queue, a run ends as cancelled and is not billed; cancelling again changes nothing."""
        fal.faults.add("stuck_queue")
        run = await house().trigger(prompt="A cup", image_url=str(media_folder / "sheet.png"), seed=10)
        assert await run.cancel() == "CANCELLED"
        assert await run.cancel() == "CANCELLED"
        assert len(fal.bill) == 0
