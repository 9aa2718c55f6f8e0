"""A download ends, whatever the other side sends, and says what that means for the money."""

from collections.abc import Callable
from pathlib import Path

import pytest
from generation_parts import submitted

from prefect_ltx.fal import FalDownloadError, IngredientRequest
from prefect_ltx.generation import Services, collect, wait_for
from prefect_ltx.ledger import State
from prefect_ltx.local import LocalFal

Make = Callable[..., IngredientRequest]


async def test_a_file_without_an_end_is_given_up_and_fetched_again(
    services: Services, fal: LocalFal, make_request: Make
) -> None:
    """More bytes than fal's result said, with slack: the download ends, nothing of it stays here or in the archive, the
    message says that the video is paid for, and the next run fetches it."""
    generation = await wait_for(services, await submitted(services, make_request()))
    fal.faults.add("endless_download", value=80_000_000)
    with pytest.raises(FalDownloadError, match="longer than") as caught:
        await collect(services, generation)
    assert "is paid for" in str(caught.value)
    for folder in (services.options.work_dir, Path(services.archive.location)):
        assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 1_000_000
    await collect(services, await services.ledger.get(generation.id))
    assert (await services.ledger.get(generation.id)).state is State.COLLECTED


@pytest.mark.parametrize(
    ("field", "to"), [("seed", None), ("prompt", None), ("video.file_size", -5), ("video.file_size", "big")]
)
async def test_what_is_odd_about_a_result_is_a_recorded_difference(
    field: str, to: object, services: Services, fal: LocalFal, make_request: Make
) -> None:
    """The video is collected, and the differences name what was odd in fal's answer."""
    fal.faults.add("odd_result", field=field, to=to)
    generation = await wait_for(services, await submitted(services, make_request()))
    video = await collect(services, generation)
    assert any(each.startswith("fal's answer: ") for each in video.differences)
