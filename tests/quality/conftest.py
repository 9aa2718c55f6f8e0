import asyncio
from pathlib import Path

import pytest
from quality_clips import Clips

from prefect_ltx.media import make_reference_sheet


@pytest.fixture(scope="session")
def sheet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference sheet of 12:7 with five panels."""
    path = tmp_path_factory.mktemp("sheet") / "sheet.png"
    asyncio.run(make_reference_sheet(path, width=768, height=448))
    return path


@pytest.fixture
def clips(tmp_path: Path) -> Clips:
    return Clips(tmp_path)
