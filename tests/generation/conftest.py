"""The steps of a generation against an embedded fal, without Prefect."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from prefect_ltx.fal import IngredientRequest
from prefect_ltx.generation import Services
from prefect_ltx.settings import Settings


@pytest.fixture
async def services(ltx_env: Path) -> AsyncIterator[Services]:
    async with Services.from_settings(Settings()) as found:
        yield found


@pytest.fixture
def make_request(media_folder: Path) -> Any:
    def made(**changes: Any) -> IngredientRequest:
        data = {
            "prompt": "Reference sheet: a cup. Generated video: it turns.",
            "image_url": str(media_folder / "sheet.png"),
            "num_frames": 9,
            "resolution": {"width": 256, "height": 128},
            "video_write_mode": "fast",
            "seed": 7,
        }
        return IngredientRequest.model_validate(data | changes)

    return made
