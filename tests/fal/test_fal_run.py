import pytest
from fal_wire import Answer, Wire, answer

from prefect_ltx.fal import (
    INGREDIENT,
    FalClient,
    FalError,
    IngredientRequest,
)

ID = "01a083d0-1d3c-7000-8000-00000000000a"
BODY = IngredientRequest(prompt="a fox", image_url="https://files.example/sheet.png", seed=7).body()


async def test_the_synchronous_run_is_one_post_too(client: FalClient, wire: Wire) -> None:
    """A run gives the result, its id and its units from one POST below /run."""
    output = {"video": {"url": "data:video/mp4;base64,AAAA"}, "seed": 7, "prompt": "a fox"}
    wire.on(f"/run/{INGREDIENT}", answer(output, x_fal_request_id=ID, x_fal_billable_units="167"))
    result = await client.run(INGREDIENT, BODY)
    assert (result.request_id, result.billable_units, result.video.seed) == (ID, 167, 7)
    assert len(wire.seen) == 1


@pytest.mark.parametrize(
    ("what", "billed"),
    [
        (answer({"detail": [{"loc": ["body", "seed"], "msg": "no", "type": "x"}]}, 422), "maybe"),
        (answer({"detail": "slow down"}, 429), "no"),
        (answer({"detail": "boom"}, 500, x_fal_retryable="true"), "no"),
        (answer({"detail": "boom"}, 500), "maybe"),
        (Answer(502, b"<html/>"), "maybe"),
        (Answer(end="silent"), "maybe"),
        (answer({"video": 1}), "maybe"),
    ],
)
async def test_a_failed_run_says_what_it_may_have_cost(
    client: FalClient, wire: Wire, what: Answer, billed: str
) -> None:
    """A run is never repeated, and only what fal says about it makes it free."""
    wire.on(f"/run/{INGREDIENT}", what)
    with pytest.raises(FalError) as caught:
        await client.run(INGREDIENT, BODY)
    assert caught.value.billed == billed
    assert len(wire.seen) == 1
