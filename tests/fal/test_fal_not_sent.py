import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator

import pytest
from fal_wire import Answer, Wire, answer

from prefect_ltx.fal import (
    INGREDIENT,
    FalClient,
    FalError,
    FalNotSent,
    FalRequestInvalid,
    FalSubmitUnknown,
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


async def test_a_machine_that_stands_still_while_connecting_means_not_sent(
    full_backlog: int, key: str
) -> None:
    """Whichever time-out is noticed first on a busy machine, the connection says that nothing left."""
    async with FalClient(key, base_url=f"http://127.0.0.1:{full_backlog}", submit_timeout=0.3) as client:
        submit = asyncio.create_task(client.submit(INGREDIENT, BODY))
        await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.sleep(0.02)
            time.sleep(0.3)
        with pytest.raises(FalNotSent):
            await submit


async def test_a_machine_that_stands_still_after_the_post_decides_nothing(wire: Wire, key: str) -> None:
    """The same stand-still once the head of the request was written is an unknown fate."""
    wire.on(PATH, Answer(end="hang"))
    async with FalClient(key, base_url=wire.url, submit_timeout=3) as client:
        submit = asyncio.create_task(client.submit(INGREDIENT, BODY))
        await asyncio.to_thread(wire.wait_for_a_request)
        time.sleep(3.2)
        with pytest.raises(FalSubmitUnknown):
            await submit


@pytest.mark.parametrize("status", [400, 403, 407, 429, 500, 502, 503])
async def test_whatever_refuses_the_tunnel_was_not_sent_the_request(
    wire: Wire, key: str, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Only an open tunnel carries the POST, so any other answer to CONNECT means not sent."""
    monkeypatch.setenv("HTTPS_PROXY", wire.url)
    wire.on("", Answer(status, b"<html>no</html>"))
    wire.on("queue.fal.run:443", Answer(status, b"<html>no</html>"))
    async with FalClient(key) as client:
        with pytest.raises(FalNotSent):
            await client.submit(INGREDIENT, BODY)


@pytest.mark.parametrize("end", ["silent", "reset", "hang"])
async def test_a_proxy_that_breaks_before_the_tunnel_was_not_sent_the_request(
    wire: Wire, key: str, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """A broken or silent proxy has CONNECT and nothing else."""
    monkeypatch.setenv("HTTPS_PROXY", wire.url)
    wire.on("", Answer(end=end))
    wire.on("queue.fal.run:443", Answer(end=end))
    async with FalClient(key, submit_timeout=1) as client:
        with pytest.raises(FalNotSent):
            await client.submit(INGREDIENT, BODY)
    assert all(one.method == "CONNECT" for one in wire.seen)


async def test_a_proxy_that_forwards_may_have_forwarded(
    wire: Wire, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without TLS the proxy gets the request itself: its 407 does not prove what became of it."""
    monkeypatch.setenv("HTTP_PROXY", wire.url)
    wire.on("", Answer(407, b"<html>no</html>"))
    wire.on(PATH, Answer(407, b"<html>no</html>"))
    async with FalClient(key, base_url="http://fal.example") as client:
        with pytest.raises(FalSubmitUnknown):
            await client.submit(INGREDIENT, BODY)


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1080", "socks"),
        ("HTTPS_PROXY", "socks5h://user:p4ss@proxy.example:1080", "socks"),
        ("NO_PROXY", "localhost,[fe80::1]", "NO_PROXY"),
        ("ALL_PROXY", "quic://proxy.example", "ALL_PROXY"),
        ("HTTP_PROXY", "http://user:p4ss@proxy.example:port", "HTTP_PROXY"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "SSL_CERT_FILE"),
        ("SSL_CERT_FILE", __file__, "SSL_CERT_FILE"),
    ],
)
async def test_an_environment_that_cannot_work_is_one_line_with_the_remedy(
    key: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str, remedy: str
) -> None:
    """A proxy or certificate setting that httpx cannot use is no raw error, and sends nothing."""
    monkeypatch.setenv(name, value)
    async with FalClient(key) as client:
        for call, kind in (
            (client.submit(INGREDIENT, BODY), FalNotSent),
            (client.prices([INGREDIENT]), FalRequestInvalid),
            (client.download("https://fal.example/v", "/nowhere/v"), FalError),
        ):
            with pytest.raises(kind, match=remedy) as caught:
                await call
            assert len(str(caught.value).splitlines()) == 1
            assert "p4ss" not in str(caught.value)


NAMED = "01a083d0-1d3c-7000-8000-00000000000a"


@pytest.mark.parametrize(
    ("what", "told"),
    [
        (answer({"request_id": NAMED, "queue_position": 0}), [NAMED]),
        (answer({"a": 1}, 500, x_fal_request_id=NAMED), [NAMED]),
        (answer({"a": 1}, cut=0, end="reset", x_fal_request_id=NAMED), [NAMED]),
        (answer({"request_id": NAMED, "x": "y" * 90}, cut=70, end="reset"), [NAMED]),
        (answer({"request_id": NAMED, "queue_position": 0}, x_fal_request_id="gw-1"), ["gw-1", NAMED]),
        (Answer(502, b"<html/>"), []),
        (Answer(end="silent"), []),
    ],
)
async def test_an_id_is_told_the_moment_it_arrives(
    wire: Wire, key: str, what: Answer, told: list[str]
) -> None:
    """The id of an accepted request is handed out before anything else can go wrong, from cut replies too."""
    wire.on(PATH, what)
    ids: list[str] = []
    async with FalClient(key, base_url=wire.url) as client:
        with contextlib.suppress(FalSubmitUnknown):
            await client.submit(INGREDIENT, BODY, on_request_id=ids.append)
    assert ids == told


async def test_an_id_that_cannot_be_kept_does_not_lose_the_receipt(client: FalClient, wire: Wire) -> None:
    """A full disk at that moment changes nothing about the acceptance."""

    def full(_: str) -> None:
        raise OSError("No space left on device")

    wire.on(PATH, answer({"request_id": NAMED, "queue_position": 0}))
    assert (await client.submit(INGREDIENT, BODY, on_request_id=full)).request_id == NAMED


async def test_fal_may_not_fall_back_unless_told(client: FalClient, wire: Wire) -> None:
    """The price that was reserved is that of the endpoint that was asked for."""
    wire.on(PATH, answer({"request_id": NAMED, "queue_position": 0}))
    await client.submit(INGREDIENT, BODY)
    await client.submit(INGREDIENT, BODY, allow_fallback=True)
    assert [one.headers.get("x-app-fal-disable-fallback") for one in wire.seen] == ["true", None]
