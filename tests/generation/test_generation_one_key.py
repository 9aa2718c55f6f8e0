"""One request, one purchase: however it is written, and whichever release wrote it down."""

import unicodedata
from dataclasses import replace
from typing import Any

import pytest
from generation_parts import planned, submitted
from support import submits

from prefect_ltx.generation import Services, plan_request, submit_once
from prefect_ltx.ledger import Owner
from prefect_ltx.local import LocalFal

NFD = unicodedata.normalize("NFD", "Reference sheet: a café. Generated video: it opens.")


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ({"resolution": "square"}, {"resolution": {"width": 512, "height": 512}}),
        ({"prompt": NFD}, {"prompt": unicodedata.normalize("NFC", NFD)}),
        ({"extra_arguments": {"style": None}}, {}),
    ],
)
async def test_the_same_request_is_bought_once(
    services: Services, fal: LocalFal, make_request: Any, first: dict[str, Any], again: dict[str, Any]
) -> None:
    """A preset and its size, one text in two Unicode forms, a null and nothing: one row and one POST."""
    one = await submitted(services, make_request(**first))
    other = await submitted(services, make_request(**again))
    assert one.id == other.id
    assert submits(fal) == 1


async def test_the_text_is_sent_as_it_was_written(services: Services, make_request: Any) -> None:
    """What decides identity is normalised; what the model reads is the user's."""
    row = await submitted(services, make_request(prompt=NFD))
    assert row.body["prompt"] == NFD != unicodedata.normalize("NFC", NFD)


@pytest.mark.parametrize("older", ["square", {"width": 512, "height": 512}])
@pytest.mark.parametrize("asked", ["square", {"width": 512, "height": 512}])
async def test_what_an_earlier_release_bought_is_found(
    services: Services, fal: LocalFal, make_request: Any, older: Any, asked: Any
) -> None:
    """A row under a key of the first release is this request's row: by the plan, and by the claim itself."""
    owner = Owner.here()
    _, plan = await planned(services, make_request(resolution=older), owner)
    of_before = (plan.key, *plan.older_keys)[0 if older != "square" else 1]
    bought = await submit_once(services, replace(plan, key=of_before, older_keys=()), owner)

    report = await plan_request(services, make_request(resolution=asked))
    assert report.status == "in_flight"
    found = await submitted(services, make_request(resolution=asked))
    assert (found.id, found.key) == (bought.id, of_before)
    assert submits(fal) == 1
    assert len(await services.ledger.find()) == 1
