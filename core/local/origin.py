"""One server, all of fal's hosts: which of them a request means, and how the URLs in its reply are written.

The flat layout serves everything at the root, with `run` (the one path that would collide with submit) under
`/run`. The prefixes `/queue`, `/run`, `/rest`, `/cdn`, `/api`, the Host header and `x-fal-target-url` say the
same thing in other ways. Reply URLs use the scheme, host and manner by which the request came.
"""

from dataclasses import asdict, dataclass
from email.utils import formatdate
from typing import Any, Final, Literal
from urllib.parse import SplitResult, urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prefect_ltx.local.site import Site

Area = Literal["queue", "run", "rest", "cdn", "api"]

_HOSTS: Final[dict[str, Area]] = {
    "queue.fal.run": "queue",
    "queue.falrun.com": "queue",
    "fal.run": "run",
    "falrun.com": "run",
    "rest.fal.ai": "rest",
    "rest.alpha.fal.ai": "rest",
    "v3.fal.media": "cdn",
    "v3b.fal.media": "cdn",
    "fal.media": "cdn",
    "api.fal.ai": "api",
}
_HOST_OF: Final[dict[Area, str]] = {
    "queue": "queue.fal.run",
    "run": "fal.run",
    "rest": "rest.fal.ai",
    "cdn": "v3.fal.media",
    "api": "api.fal.ai",
}


@dataclass(frozen=True)
class Origin:
    """The way by which a request came: its scheme, its host with port, and which of the layouts it used."""

    scheme: str
    host: str
    layout: Literal["flat", "prefix", "hosts"] = "flat"

    def url(self, area: Area, path: str) -> str:
        """An absolute URL into one of fal's hosts, in the manner of this origin. `path` starts with a
        slash."""
        if self.layout == "hosts":
            return f"{self.scheme}://{_HOST_OF[area]}{path}"
        prefix = f"/{area}" if self.layout == "prefix" or area == "run" else ""
        return f"{self.scheme}://{self.host}{prefix}{path}"

    def as_dict(self) -> dict[str, Any]:
        """For the database: `Origin(**origin.as_dict())` is the same origin."""
        return asdict(self)


def origin_of(connection: HTTPConnection) -> Origin:
    """The origin that the middleware found for this request."""
    origin: Origin = connection.scope["fal_origin"]
    return origin


def area_of_host(host: str) -> Area | None:
    """Which of fal's hosts this name is, if any."""
    return _HOSTS.get(host.lower())


class OriginMiddleware:
    """Rewrites every request to the flat layout, logs it, and puts `x-fal-request-id` and `Date` on every
    reply."""

    def __init__(self, app: ASGIApp) -> None:
        """The log of the app's site gets every request."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope = _to_flat_layout(dict(scope))
        site: Site = scope["app"].state.site
        entry = site.log.begin(scope["method"], scope["path"])

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
                headers = message.setdefault("headers", [])
                if not scope.get("fal_hide_id") and not any(
                    name == b"x-fal-request-id" for name, _ in headers
                ):
                    headers.append((b"x-fal-request-id", site.new_request_id().encode()))
                # What stands between has a clock of its own, and no id of fal's.
                between = scope.get("fal_hide_id")
                if between or not site.fault("date_missing", Request(scope)):
                    now = site.runtime.time() if between else site.now()
                    headers.append((b"date", formatdate(now, usegmt=True).encode()))
            await send(message)

        await self.app(scope, receive, send_with_id)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _to_flat_layout(scope: Scope) -> Scope:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    scheme = headers.get(b"x-forwarded-proto") or str(scope["scheme"])
    host = headers.get(b"host", "127.0.0.1")
    path: str = scope["path"]
    layout: Literal["flat", "prefix", "hosts"] = "flat"
    area: Area | None = None

    target = _split(headers.get(b"x-fal-target-url", ""))
    if target.hostname and (area := area_of_host(target.hostname)):
        path = target.path or "/"
        scope["query_string"] = target.query.encode("latin-1")
    elif area := area_of_host(host.rsplit(":", 1)[0]):
        layout = "hosts"
    else:
        first, _, rest = path.lstrip("/").partition("/")
        if first in _HOST_OF:
            area = first
            path = "/" + rest
            layout = "flat" if area == "run" else "prefix"

    if area == "run":
        path = "/run" + path
    if len(path) > 1:
        path = path.rstrip("/") or "/"
    scope["path"] = path
    scope["raw_path"] = path.encode("utf-8")
    scope["fal_origin"] = Origin(scheme=scheme, host=host, layout=layout)
    return scope
