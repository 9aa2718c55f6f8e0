"""The stand-in's own HTTP client: a proxy from the environment is used, but never for this machine itself."""

from typing import Any, Final

import httpx

LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")


def outbound_client(**options: Any) -> httpx.AsyncClient:
    """An httpx client for fetching media and delivering webhooks."""
    return httpx.AsyncClient(mounts={f"all://{host}": None for host in LOOPBACK}, **options)
