"""The network of a history: every message between a worker and fal, or fal and the receiver, passes through here.

An httpx transport on the one side, an ASGI application on the other, and chance in between. It speaks the truth about
what left: httpcore's `trace` events come as they would, so that what "not sent" means is what it means on a real wire.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import httpx
from loop import Process, SimulatedLoop, current
from material import EPOCH

from prefect_ltx.local.edges import route_of

STATUSES = (200, 302, 400, 401, 403, 404, 408, 409, 410, 413, 422, 429, 499, 500, 502, 503, 504)
"""What gateways were seen to answer, whatever the question."""
_PIECE = 4500
KINDS = ("refused", "lost before", "lost after", "delayed", "doubled", "gateway", "cut")
"""What can happen to a message."""
_PAGE = b"<html>\r\n<head><title>Oops</title></head>\r\n<body><center><h1>Oops</h1></center></body>\r\n</html>\r\n"
_OTHER_PAGES = (
    ("text/html", _PAGE),
    ("text/html", _PAGE),
    ("application/json", b'{"message":"no Route matched with those values"}'),
    ("text/plain", b"upstream connect error or disconnect/reset before headers"),
    ("text/html", b""),
)


@dataclass
class Server:
    """An ASGI application at an address, in a process of its own."""

    app: Any
    process: Process
    name: str
    port: int


@dataclass
class Answer:
    """What the application sent."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)
    whole: bool = False
    ended: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def begun(self) -> None:
        """Wait for its head, or for an end without one."""
        while not self.status and not self.ended:
            await self.change()

    async def change(self) -> None:
        """Wait until there is more of it."""
        self.changed.clear()
        await self.changed.wait()


@dataclass
class Weather:
    """How likely each kind of trouble is for a message, and of which routes it is kept away."""

    chances: dict[str, float] = field(default_factory=dict)
    slow_submits: float = 0.0
    slow_listings: float = 0.0

    @property
    def calm(self) -> bool:
        return not any((*self.chances.values(), self.slow_submits, self.slow_listings))


class _Watched:
    """What httpcore's trace shows of a request."""

    def __init__(self, method: str) -> None:
        self.method = method.encode()


class Network:
    """All servers, and what becomes of each message."""

    def __init__(self, loop: SimulatedLoop, chance: Any, say: Callable[[str, str], None]) -> None:
        self.loop, self.chance, self.say = loop, chance, say
        self.servers: dict[str, Server] = {}
        self.weather = Weather()
        self.calm_seconds: random.Random = chance.stream("latency")
        self.seen: list[tuple[str, str, bytes]] = []
        """Every submit that reached fal: who sent it, what became of it, its body."""
        self.answered: list[tuple[str, bytes]] = []
        """Every submit whose acceptance came back whole: who sent it, its body."""
        self.on_message: Callable[[str, Process | None], None] | None = None

    def wire(self) -> "Wire":
        """The transport of a client."""
        return Wire(self)

    def client(self, **options: Any) -> httpx.AsyncClient:
        """An httpx client on this network, for the embedded fal."""
        options.pop("timeout", None)
        return httpx.AsyncClient(transport=self.wire(), timeout=30, **options)

    async def carry(self, request: httpx.Request) -> httpx.Response:
        """One request and its answer, with what happens to them."""
        body = await request.aread()
        process = current()
        who = process.name if process else "nobody"
        route = _route(request)
        trace = request.extensions.get("trace") or _untraced
        patience = request.extensions.get("timeout", {}).get("read") or 120.0
        name = self.chance.numbered(f"{who}/{route}")
        fate = self._fate(name, route)
        await trace("connection.connect_tcp.started", {})
        server = self.servers.get(request.url.host)
        if server is None or server.process.dead or fate == "refused":
            await asyncio.sleep(0.01)
            await trace("connection.connect_tcp.failed", {})
            self.say(who, f"cannot reach {request.url.host} for {route}")
            raise httpx.ConnectError("Connection refused")
        await trace("connection.connect_tcp.complete", {})
        await trace("http11.send_request_headers.started", {"request": _Watched(request.method)})
        await asyncio.sleep(0.002 + self.calm_seconds.random() * 0.03)
        if fate == "delayed":
            # A submit may be on its way for longer than a lease, and arrive all the same.
            draw = self.chance.between if route == "submit" else self.chance.skewed
            await asyncio.sleep(draw(f"{name}/late", 1.0, 178.0))
        if fate == "lost before":
            self.say(who, f"asks {server.name} for {route}: lost on the way there")
            raise await self._broken(name, patience)
        if fate == "gateway" and self.chance.fraction(f"{name}/first") < 0.5:
            return self._page(who, server, name, route, "before it arrived")
        if self.on_message is not None:
            self.on_message(route, process)
        if route == "submit":
            self.seen.append((who, fate or "", body))
        answer = self._answered_by(server, request, body)
        if fate == "doubled":
            self.say(who, f"asks {server.name} for {route}: the message arrives twice")
            if route == "submit":
                self.seen.append((who, "doubled", body))
            self._answered_by(server, request, body)
        try:
            async with asyncio.timeout(patience):
                await answer.begun()
        except TimeoutError:
            self.say(who, f"asks {server.name} for {route}: no answer in {patience:.0f} s")
            raise httpx.ReadTimeout("timed out") from None
        await asyncio.sleep(0.002 + self.calm_seconds.random() * 0.03)
        if fate == "delayed" and self.chance.fraction(f"{name}/back") < 0.5:
            await asyncio.sleep(self.chance.skewed(f"{name}/later", 1.0, 200.0))
        if route == "listing" and self.chance.fault(
            "message slow listing", f"{name}/slow", self.weather.slow_listings
        ):
            await asyncio.sleep(self.chance.skewed(f"{name}/slow/by", 2.0, 110.0))
        if fate == "lost after":
            self.say(who, f"asks {server.name} for {route}: {answer.status}, lost on the way back")
            raise await self._broken(name, patience)
        if fate == "gateway":
            return self._page(who, server, name, route, f"over {answer.status}")
        if not answer.status:
            self.say(who, f"asks {server.name} for {route}: the connection ends without an answer")
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        cut = fate == "cut"
        if route == "submit" and answer.status == 200 and not cut:
            self.answered.append((who, body))
        self.say(who, f"asks {server.name} for {route}: {answer.status}{', cut' if cut else ''}")
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer, cut, patience))

    def _fate(self, name: str, route: str) -> str:
        if self.weather.calm:
            return ""
        if route == "submit" and self.chance.fault(
            "message slow submit", f"{name}/slow", self.weather.slow_submits
        ):
            return "delayed"
        for kind in KINDS:
            # What happens to the one message that costs money matters most.
            probability = self.weather.chances.get(kind, 0.0) * (4 if route == "submit" else 1)
            if probability and self.chance.fault(f"message {kind}", f"{name}/{kind}", probability):
                return kind
        return ""

    async def _broken(self, name: str, patience: float) -> httpx.HTTPError:
        """How a lost message looks: a reset soon, or silence until patience ends."""
        if self.chance.fraction(f"{name}/silent") < 0.3:
            await asyncio.sleep(patience)
            return httpx.ReadTimeout("timed out")
        await asyncio.sleep(0.05)
        return httpx.ReadError("Connection reset by peer")

    def _page(self, who: str, server: Server, name: str, route: str, when: str) -> httpx.Response:
        status = self.chance.pick(f"{name}/status", STATUSES)
        kind, page = self.chance.pick(f"{name}/page", _OTHER_PAGES)
        self.say(who, f"asks {server.name} for {route}: a gateway answers {status} {when}")
        answer = Answer(status=status, pieces=[page] if page else [], whole=True, ended=True)
        headers = {"content-type": kind}
        if self.chance.fraction(f"{name}/dated") < 0.5:
            headers["date"] = formatdate(EPOCH + self.loop.time(), usegmt=True)
        return httpx.Response(status, headers=headers, stream=_Body(answer, False, 1.0))

    def _answered_by(self, server: Server, request: httpx.Request, body: bytes) -> Answer:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": request.url.raw_path.partition(b"?")[0],
            "query_string": request.url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "server": (request.url.host, server.port),
            "client": ("10.0.0.1", 40000),
            "state": {},
        }
        answer = Answer()
        self.loop.start(server.process, _call(server.app, scope, body, answer))
        return answer


class Wire(httpx.AsyncBaseTransport):
    """A client's end of the network."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """httpx."""
        return await self._network.carry(request)


class _Body(httpx.AsyncByteStream):
    """An answer's body as it arrives; a cut one ends half-way."""

    def __init__(self, answer: Answer, cut: bool, patience: float) -> None:
        self._answer, self._cut, self._patience = answer, cut, patience

    async def __aiter__(self) -> AsyncIterator[bytes]:
        answer, at = self._answer, 0
        while True:
            while at < len(answer.pieces):
                piece = answer.pieces[at]
                at += 1
                if self._cut:
                    yield piece[: len(piece) // 2]
                    raise _ended_early()
                for piece_at in range(0, len(piece), _PIECE):
                    if piece_at:
                        await asyncio.sleep(0.01)
                    yield piece[piece_at : piece_at + _PIECE]
            if answer.ended:
                if not answer.whole or self._cut:
                    raise _ended_early()
                return
            try:
                async with asyncio.timeout(self._patience):
                    await answer.change()
            except TimeoutError:
                raise httpx.ReadTimeout("timed out") from None


def _ended_early() -> httpx.RemoteProtocolError:
    return httpx.RemoteProtocolError("peer closed connection without sending complete message body")


async def _call(app: Any, scope: dict[str, Any], body: bytes, answer: Answer) -> None:
    given = False

    async def receive() -> dict[str, Any]:
        nonlocal given
        if given:
            await asyncio.sleep(86_400)
            return {"type": "http.disconnect"}
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status, answer.headers = message["status"], list(message.get("headers", []))
        elif message["type"] == "http.response.body":
            if message.get("body"):
                answer.pieces.append(message["body"])
            answer.whole = not message.get("more_body", False)
        answer.changed.set()

    try:
        await app(scope, receive, send)
    finally:
        answer.ended = True
        answer.changed.set()


async def _untraced(_: str, __: dict[str, Any]) -> None:
    """Nobody watches."""


def _route(request: httpx.Request) -> str:
    path = request.url.path
    if path.startswith("/fal/"):
        return "webhook"
    if path.startswith("/run/"):
        return "run"
    return str(route_of(request.method, path) or "page")
