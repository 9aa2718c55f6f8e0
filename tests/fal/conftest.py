from collections.abc import AsyncIterator, Iterator

import pytest
from fal_wire import Wire

from prefect_ltx.fal import FalClient

KEY = "3c1b9e3a-0000-4000-8000-7f6a1c5f0d11:0123456789abcdef0123456789abcdef"


@pytest.fixture
def key() -> str:
    return KEY


@pytest.fixture
def wire() -> Iterator[Wire]:
    server = Wire()
    yield server
    server.close()


@pytest.fixture
async def client(wire: Wire) -> AsyncIterator[FalClient]:
    async with FalClient(KEY, base_url=wire.url, timeout=5, submit_timeout=5, read_backoff=0.001) as fal:
        yield fal
