import socket
from collections.abc import Iterator

import pytest
from fal_wire import Answer, Wire

from prefect_ltx.fal import (
    INGREDIENT,
    FalClient,
    FalNotSent,
    IngredientRequest,
)

PATH = f"/{INGREDIENT}"
BODY = IngredientRequest(prompt="a fox", image_url="https://files.example/sheet.png", seed=7).body()


async def test_no_connection_means_not_sent(key: str) -> None:
    """Where nothing listens, nothing was sent, and the error says that it may be tried again."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    async with FalClient(key, base_url=f"http://127.0.0.1:{port}") as client:
        with pytest.raises(FalNotSent, match="try again") as caught:
            await client.submit(INGREDIENT, BODY)
    assert caught.value.billed == "no"


async def test_a_name_that_does_not_resolve_means_not_sent(key: str) -> None:
    """A wrong host name is not an unknown submit."""
    async with FalClient(key, base_url="http://nowhere.invalid") as client:
        with pytest.raises(FalNotSent):
            await client.submit(INGREDIENT, BODY)


async def test_a_server_without_tls_means_not_sent(wire: Wire, key: str) -> None:
    """A failed TLS handshake comes before the request, so nothing was sent."""
    async with FalClient(key, base_url=wire.url.replace("http:", "https:"), submit_timeout=0.9) as client:
        with pytest.raises(FalNotSent):
            await client.submit(INGREDIENT, BODY)


@pytest.fixture
def full_backlog() -> Iterator[int]:
    """A port that accepts no further connection: its queue of one is taken."""
    with socket.socket() as server, socket.socket() as first, socket.socket() as second:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for client in (first, second):
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1]


async def test_a_connection_that_is_never_accepted_means_not_sent(full_backlog: int, key: str) -> None:
    """A connect timeout is before the first byte."""
    async with FalClient(key, base_url=f"http://127.0.0.1:{full_backlog}", submit_timeout=0.3) as client:
        with pytest.raises(FalNotSent):
            await client.submit(INGREDIENT, BODY)


async def test_a_proxy_that_refuses_the_tunnel_means_not_sent(
    wire: Wire, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that does not open the tunnel has not seen the request, which would follow only afterwards."""
    monkeypatch.setenv("HTTPS_PROXY", wire.url)
    wire.on("queue.fal.run:443", Answer(407, b"no"))
    wire.on("", Answer(407, b"no"))
    async with FalClient(key) as client:
        with pytest.raises(FalNotSent) as caught:
            await client.submit(INGREDIENT, BODY)
    assert [one.method for one in wire.seen] == ["CONNECT"]
    assert not any("authorization" in one.headers for one in wire.seen)
    assert caught.value.billed == "no"
