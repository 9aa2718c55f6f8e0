"""The stand-in's own HTTP client, for media that a request names and for webhooks: not for this machine.

Whoever may send the embedded fal a request could otherwise have it call whatever listens on this machine, and be shown
what it answers. So an address of this machine is called only where the one who started the server said so. Judged is
what is really connected to: the address that a name resolves to is the one that is used, at every redirect anew.
A proxy from the environment is used, but never for this machine itself.
"""

import asyncio
import ipaddress
import os
import socket
import urllib.request
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_PORTS: Final = {"http": 80, "https": 443}
_WEBHOOK_URL: Final = "PREFECT_LTX_WEBHOOK_URL"
_PINNED: Final = "prefect_ltx_pinned"


class LocalAddressRefused(httpx.ConnectError):
    """The address is one of this machine's, and the server was not told that it may call it."""

    def __init__(self) -> None:
        super().__init__(
            "an address of this machine, which the embedded fal calls with --allow-loopback only"
        )


class Reach:
    """Which addresses the server may call: all but this machine's, unless it was told otherwise.

    Where PREFECT_LTX_WEBHOOK_URL in its environment says that webhooks arrive here, that server may be called.
    """

    def __init__(self, *, allow_loopback: bool = False) -> None:
        """Whether this machine's own addresses may be called, all of them."""
        self._allow_loopback = allow_loopback

    async def pin(self, request: httpx.Request) -> None:
        """Let a request go to an address that was looked at, whatever its name resolves to a moment later.

        A hook of httpx: called before each request, those after a redirect too.

        Raises:
            LocalAddressRefused: it would go to this machine.
            httpx.ConnectError: the name does not resolve.
        """
        ip, name = request.extensions.get(_PINNED, ("", ""))
        if ip and request.url.host == ip:  # a redirect to a path of the same server
            request.url = request.url.copy_with(host=name)
        url = request.url
        if self._allow_loopback or _place(str(url)) == _place(os.environ.get(_WEBHOOK_URL, "")) is not None:
            return
        behind_proxy = bool({url.scheme, "all"} & set(urllib.request.getproxies()))
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                url.host, url.port or _PORTS.get(url.scheme, 0), type=socket.SOCK_STREAM
            )
        except (OSError, UnicodeError) as error:
            if behind_proxy:
                return  # names are the proxy's to resolve
            raise httpx.ConnectError(type(error).__name__) from None
        addresses = [str(each[4][0]) for each in found]
        if not addresses or any(map(_is_here, addresses)):
            raise LocalAddressRefused
        if not behind_proxy:
            request.headers["Host"] = url.netloc.decode("ascii")
            request.url = url.copy_with(host=addresses[0])
            pinned = {_PINNED: (request.url.host, url.host), "sni_hostname": url.host}
            request.extensions = {**request.extensions, **pinned}


def outbound_client(reach: Reach | None = None, **options: Any) -> httpx.AsyncClient:
    """An httpx client for fetching media and delivering webhooks; without `reach` not for this machine."""
    return httpx.AsyncClient(
        mounts={f"all://{host}": None for host in LOOPBACK},
        event_hooks={"request": [(reach or Reach()).pin]},
        **options,
    )


def _place(url: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname and port else None


def _is_here(text: str) -> bool:
    """Whether an address reaches this machine: loopback, "any", or one that a network card of its own has."""
    address = ipaddress.ip_address(text.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as own:
            own.bind((str(address), 0))  # only a machine's own addresses can be bound
    except OSError:
        return False
    return not address.is_multicast
