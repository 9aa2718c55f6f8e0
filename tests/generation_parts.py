"""Steps that several tests of a generation take."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from prefect_ltx.fal import IngredientRequest
from prefect_ltx.generation import (
    PlannedGeneration,
    Services,
    ledger_plan,
    prepare,
    submit_once,
    upload,
)
from prefect_ltx.ledger import Generation, Owner
from prefect_ltx.settings import Settings


async def planned(
    services: Services, request: IngredientRequest, owner: Owner
) -> tuple[PlannedGeneration, Any]:
    plan, settled, inputs = await prepare(services, request, owner=owner)
    urls = {field: (await upload(services, str(media.path))).url for field, media in inputs.items()}
    return plan, ledger_plan(plan, settled.with_media(urls).body(), flow_run_id=None, tags=())


async def submitted(services: Services, request: IngredientRequest, owner: Owner | None = None) -> Generation:
    owner = owner or Owner.here()
    _, plan = await planned(services, request, owner)
    found = await submit_once(services, plan, owner)
    return await services.ledger.get(found.id)


def cup_request(sheet: Path, **changes: Any) -> IngredientRequest:
    """A small request with a seed."""
    data = {
        "prompt": "Reference sheet: a cup. Generated video: it turns.",
        "image_url": str(sheet),
        "num_frames": 9,
        "resolution": {"width": 256, "height": 128},
        "video_write_mode": "fast",
        "seed": 7,
    }
    return IngredientRequest.model_validate(data | changes)


def rewrite_row(ledger: Path, generation_id: str, **columns: object) -> None:
    """Change a row as a restored backup, an older release or a person with a database tool may have left it."""
    with sqlite3.connect(ledger) as connection:
        changes = ", ".join(f"{name} = ?" for name in columns)
        connection.execute(
            f"UPDATE ltx_generation SET {changes} WHERE id = ?", (*columns.values(), generation_id)
        )
    connection.close()


@pytest.fixture
async def services(ltx_env: Path) -> AsyncIterator[Services]:
    async with Services.from_settings(Settings()) as found:
        yield found


@pytest.fixture
def make_request(media_folder: Path) -> Any:
    def made(**changes: Any) -> IngredientRequest:
        return cup_request(media_folder / "sheet.png", **changes)

    return made
