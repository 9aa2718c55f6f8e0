"""Whatever stands between a client and fal: gateways and proxies that answer in fal's place, hold an answer
back, or cut it; and fal's own front that says 429.

Everything here acts around the app, on any route, before fal saw the question or after it acted on it.
"""

import asyncio
import contextlib
import json

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prefect_ltx.local.connection import CutReply, ResetReply, read_to_its_end
from prefect_ltx.local.fault_table import ReplyKind, Route
from prefect_ltx.local.faults import Fault
from prefect_ltx.local.oddities import odd
from prefect_ltx.local.replies import json_reply, nginx_page, phrase_of
from prefect_ltx.local.rows import to_json
from prefect_ltx.local.site import Site

_PLATFORM: tuple[Route, ...] = ("listing", "prices", "billing", "models")


class EdgeMiddleware:
    """Does to an HTTP request what the knobs `edge_error`, `rate_limited`, `slow_answer` and `odd_answer` say."""

    def __init__(self, app: ASGIApp) -> None:
        """`app` is fal."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        route = route_of(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if route is None:
            await self.app(scope, receive, send)
            return
        site: Site = scope["app"].state.site
        faults, path = site.faults, scope["path"]
        if slow := faults.take("slow_answer", path=path, route=route):
            send = await _held_back(site, send, slow.value or 0, after=slow.after is not False)
        if limit := faults.take("rate_limited", path=path, route=route):
            await read_to_its_end(receive)
            await _too_many(route, limit.value or 1)(scope, receive, send)
            return
        if change := faults.take("odd_answer", path=path, route=route):
            answer = _Kept()
            await self.app(scope, receive, answer)
            await answer.changed(change)(scope, receive, send)
            return
        fault = faults.take("edge_error", path=path, route=route)
        if fault is None:
            await self.app(scope, receive, send)
            return
        kind = fault.reply or "html"
        answer = _Kept()
        if fault.after or kind == "cut":
            await self.app(scope, receive, answer)
        else:
            await read_to_its_end(receive)
        reply = (
            CutReply(answer.body, answer.status, answer.headers)
            if kind == "cut"
            else _instead(site, Request(scope), route, kind, int(fault.value or 502))
        )
        await reply(scope, receive, send)


async def _held_back(site: Site, send: Send, seconds: float, *, after: bool) -> Send:
    """`send`, but nothing of the answer leaves before `seconds` from now; or wait here, before fal acts."""
    clock = asyncio.get_running_loop().time
    until = clock() + seconds

    async def wait() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(site.closing.wait(), max(until - clock(), 0))

    async def send_later(message: Message) -> None:
        await wait()
        await send(message)

    if after:
        return send_later
    await wait()
    return send


class _Kept:
    """An answer of the app that does not leave."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b""
        self.headers: dict[str, str] = {}

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")

    def changed(self, fault: Fault) -> Response:
        """The same answer with a field that is odd; as it was, where it is not JSON."""
        with contextlib.suppress(ValueError):
            self.body = to_json(odd(json.loads(self.body), [fault])).encode()
            self.headers["content-length"] = str(len(self.body))
        return Response(self.body, self.status, self.headers)


def route_of(method: str, path: str) -> Route | None:
    """What a question in the flat layout is about; None for the page and for `/_local`."""
    if path == "/" or path.startswith("/_local"):
        return None
    if path.startswith("/.well-known/"):
        return "jwks" if path.endswith("/jwks.json") else "identity"
    if path.startswith("/v1/"):
        return _platform_route(path)
    if path.startswith("/files/") and method in ("GET", "HEAD"):
        return "files"
    if path.startswith(("/files/", "/storage/", "/signed-upload/", "/tokens")):
        return "storage"
    if path.startswith("/run/"):
        return "run"
    _, found, tail = path.partition("/requests/")
    if not found:
        return "submit" if method == "POST" else None
    _, _, what = tail.partition("/")
    if what == "cancel":
        return "cancel"
    return "status" if what.startswith("status") else "result"


def _platform_route(path: str) -> Route:
    if path.startswith("/v1/models/requests/"):
        return "listing"
    if path.startswith("/v1/models/pricing"):
        return "prices"
    if path.startswith(("/v1/models/billing-events", "/v1/models/usage", "/v1/account/")):
        return "billing"
    return "models"


def _instead(site: Site, request: Request, route: Route, kind: ReplyKind, status: int) -> Response:
    if kind == "reset":
        return ResetReply()
    if kind == "fal":
        return _fals_own(site, route, status)
    if kind == "html":
        return nginx_page(request, status)
    request.scope["fal_hide_id"] = True
    if kind == "json":
        return json_reply({"message": "no Route matched with those values"}, status)
    if kind == "text":
        return Response("upstream connect error or disconnect/reset before headers", status)
    return Response(status_code=status)


def _fals_own(site: Site, route: Route, status: int) -> Response:
    phrase = phrase_of(status)
    if route in _PLATFORM:
        kind = {401: "authorization_error", 403: "authorization_error", 404: "not_found"}.get(status)
        kind = kind or ("server_error" if status >= 500 else "validation_error")
        return json_reply({"error": {"type": kind, "message": phrase}}, status)
    return json_reply({"detail": phrase}, status, request_id=site.new_request_id())


def _too_many(route: Route, seconds: float) -> Response:
    headers = {"retry-after": f"{seconds:g}"}
    if route in _PLATFORM:
        limited = {"error": {"type": "rate_limited", "message": "Rate limit exceeded"}}
        return json_reply(limited, 429, headers=headers)
    headers |= {"x-fal-needs-retry": "1", "x-fal-error-type": "concurrent_requests_limit"}
    body = {"detail": "Too many requests", "error_type": "concurrent_requests_limit"}
    return json_reply(body, 429, headers=headers)
