"""What picks up what others left, against an embedded fal, without Prefect."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from generation_parts import cup_request

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
        return cup_request(media_folder / "sheet.png", **changes)

    return made
