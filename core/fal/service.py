"""Which fal this is: fal itself, one embedded server, or some other URL (a gateway, a test server).

Only a server that identifies itself as the embedded fal, at the very port that was called, is ever believed
like one. A proxy in front of it is a custom URL, and a custom URL gets nothing believed.
"""

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

import httpx

from prefect_ltx.fal.hosts import FalHosts, port_of

WHO_PATH: Final = "/.well-known/prefect-ltx-local-fal"
"""Answered by the embedded fal only, without a key: its id, its port, and how its listing behaves."""

_DAY: Final = 86_400
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True)
class Service:
    """The service that requests go to.

    `id`: "fal.ai", "embedded:<id>" or "custom:<host>:<port>". `listing_lag` (seconds) and `lists_unfinished`
    are what an embedded server says of its own listing; None for everything else.
    """

    kind: Literal["fal", "embedded", "custom"]
    id: str
    listing_lag: float | None = None
    lists_unfinished: bool | None = None


FAL: Final = Service("fal", "fal.ai")


def custom_service(hosts: FalHosts) -> Service:
    """The service of a URL that nothing is known about."""
    return Service("custom", f"custom:{httpx.URL(hosts.queue).host.lower()}:{port_of(hosts.queue)}")


def service_from(said: object, hosts: FalHosts) -> Service:
    """The service at `hosts`, given what it says of itself as JSON; a custom one unless that holds together."""
    if not isinstance(said, dict):
        return custom_service(hosts)
    server_id, port = said.get("prefect_ltx_local_fal"), said.get("port")
    named = isinstance(server_id, str) and _ID.fullmatch(server_id)
    if not named or type(port) is not int or port != port_of(hosts.queue):
        return custom_service(hosts)
    return Service("embedded", f"embedded:{server_id}", _lag(said), _lists_unfinished(said))


def _lag(said: dict[str, Any]) -> float | None:
    value = said.get("listing_lag_seconds")
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if 0 <= value <= _DAY else None


def _lists_unfinished(said: dict[str, Any]) -> bool | None:
    value = said.get("lists_unfinished")
    return value if isinstance(value, bool) else None
