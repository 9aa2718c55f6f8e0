"""Who may speak to the embedded fal: programs of this machine, and pages that this machine itself serves.

Any page in a browser can send requests to loopback, and a page whose name is made to resolve to 127.0.0.1 (DNS
rebinding) may read the answers as its own. What it cannot choose is what the browser says of it: the name in `Host`,
and where the page is from in `Origin`. So both have to be loopback or one of fal's own names, in every request.
"""

import ipaddress
import re
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from prefect_ltx.local.origin import area_of_host
from prefect_ltx.local.replies import json_reply

_HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{0,5})?")
_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_FALS_PAGES: Final = frozenset({"fal.ai", "www.fal.ai", "fal.run"})


def name_of(host: str) -> str | None:
    """The name in a Host header, in lower case, without port, brackets and a dot at its end; None where it has none."""
    found = _HOST.fullmatch(host)
    if found is None:
        return None
    name = found["name"].strip("[]").lower()
    return name.removesuffix(".") or None


def is_loopback(name: str) -> bool:
    """Whether a name or address, as `name_of` gives it, means this machine alone, by itself and not by a resolver.

    Only addresses in their usual form: `0x7f.1` or `2130706433` no browser sends, and no client has to.
    """
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 §6.3
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or bool(mapped and mapped.is_loopback)


class CallersMiddleware:
    """Answers 403 to everybody else, before anything is read, logged as a request of fal's, or done."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] = ()) -> None:
        """`hosts` are further names that the one who started the server gave it."""
        self._app = app
        self._hosts = frozenset(name for each in hosts if (name := name_of(each)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            scope = dict(scope)
            if why := self._stranger(scope):
                await json_reply({"detail": why}, 403, headers={"connection": "close"})(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _stranger(self, scope: Scope) -> str:
        headers = [(name.lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        hosts = [value for name, value in headers if name == b"host"]
        if _ABSOLUTE.match(scope["path"]):
            hosts.append(_absolute_form(scope))
        for host in hosts:
            if not self._known(name_of(host), scope):
                return (
                    "The embedded fal answers only on loopback and under fal's own names, not under the name in this "
                    "request's Host. Start it with --allow-host NAME where that name is meant."
                )
        origins = [value for name, value in headers if name == b"origin"]
        if not all(self._may_read(origin, scope) for origin in origins):
            return (
                "The embedded fal answers pages of this machine only, and this page is from elsewhere (Origin). "
                "Start it with --allow-host NAME where that page is meant."
            )
        return ""

    def _known(self, name: str | None, scope: Scope) -> bool:
        if name is None:
            return False
        if is_loopback(name) or area_of_host(name) is not None or name in self._hosts:
            return True
        # The very address that was connected to, where the server was started for more than loopback: no name, so
        # nobody can have it resolve otherwise.
        server = scope.get("server")
        return server is not None and name == server[0]

    def _may_read(self, origin: str, scope: Scope) -> bool:
        """`null` is the origin of pages that hide theirs; any page can hold one in a frame."""
        try:
            parts = urlsplit(origin)
            name = name_of(parts.netloc)
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and (self._known(name, scope) or name in _FALS_PAGES)


def _absolute_form(scope: Scope) -> str:
    """The authority of `GET http://host/path`, which counts more than Host (RFC 9112 §3.2.2); leaves the usual path."""
    try:
        parts = urlsplit(scope["path"])
    except ValueError:
        return ""
    scope["path"] = parts.path or "/"
    scope["raw_path"] = scope["path"].encode("utf-8", "surrogatepass")
    # What is answered names the host that was asked.
    scope["headers"] = [
        (b"host", parts.netloc.encode("latin-1", "replace")),
        *((name, value) for name, value in scope["headers"] if name.lower() != b"host"),
    ]
    return parts.netloc
