"""What a server says of itself without a key: fal's webhook keys, and which service it is."""

import asyncio
from dataclasses import replace
from typing import Any, Final

from prefect_ltx.fal.reply import Reply
from prefect_ltx.fal.service import FAL, WHO_PATH, Service, custom_service, service_from
from prefect_ltx.fal.transport import Transport
from prefect_ltx.fal.verdicts import refusal

_KEYS_SECONDS: Final = 24 * 3600
"""How long fal's keys may be kept (fal-protocol §4)."""
_MOST_BYTES: Final = 1 << 20
"""A key set has a few hundred bytes."""
_ASK_AGAIN: Final = (0.1, 0.1, 0.0)
"""Seconds after each answer that is an error or not JSON, when a service is asked who it is."""


class WellKnown:
    """Asked once, and remembered."""

    def __init__(self, transport: Transport) -> None:
        """Shares the connections of `transport`."""
        self._http = transport
        self._service: Service | None = None
        self._keys: tuple[float, list[dict[str, Any]]] | None = None

    async def webhook_keys(self, *, refresh: bool) -> list[dict[str, Any]]:
        """fal's public keys; `refresh` asks again before they are a day old."""
        now = asyncio.get_running_loop().time
        if refresh or self._keys is None or now() - self._keys[0] > _KEYS_SECONDS:
            url = f"{self._http.hosts.rest}/.well-known/jwks.json"
            self._keys = (now(), await self._http.free("GET", url, _read_keys, most=_MOST_BYTES))
        return self._keys[1]

    async def service(self) -> Service:
        """Which service this is; see `FalClient.identify`."""
        if self._service is None:
            hosts = self._http.hosts
            if hosts.is_gateway:
                self._service = replace(custom_service(hosts), id=FAL.id)
            else:
                self._service = FAL if hosts.is_fal else await self._ask_who()
        return self._service

    async def _ask_who(self) -> Service:
        url = f"{self._http.hosts.queue}{WHO_PATH}"
        for pause in _ASK_AGAIN:
            said = await self._http.free("GET", url, _read_who, most=_MOST_BYTES)
            if said is not None:
                return service_from(said, self._http.hosts)
            await asyncio.sleep(pause)
        return custom_service(self._http.hosts)


def _read_keys(reply: Reply) -> list[dict[str, Any]]:
    if not reply.ok:
        raise refusal(reply, "the webhook keys")
    keys = reply.any_object().get("keys")
    if not isinstance(keys, list):
        raise reply.unreadable("is not a key set")
    return [key for key in keys if isinstance(key, dict)]


def _read_who(reply: Reply) -> object | None:
    """What a server says of itself; None for an error, a page or nothing, which may have come from in between."""
    if reply.status >= 500 or reply.status in (408, 425, 429):
        raise reply.gateway("asked which service it is")
    return reply.data if reply.ok else None
