"""httpx clients as this machine's environment wants them: its proxies and certificates, or one line with the remedy."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx

from prefect_ltx.fal.errors import FalRequestInvalid

_OWN_MACHINE: Final = ("all://localhost", "all://127.0.0.1", "all://[::1]")


def tls_context() -> ssl.SSLContext:
    """The certificates to trust; 45 ms.

    Raises:
        FalRequestInvalid: SSL_CERT_FILE or SSL_CERT_DIR cannot be read.
    """
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        raise FalRequestInvalid(
            f"The TLS certificates of the environment cannot be read ({type(error).__name__})",
            next_step="Correct SSL_CERT_FILE and SSL_CERT_DIR, or unset them",
        ) from error


def new_client(tls: ssl.SSLContext, limits: httpx.Limits, timeout: httpx.Timeout) -> httpx.AsyncClient:
    """A client that repeats nothing and follows no redirect: its own transport is made with retries=0.

    A proxy from the environment is honoured, as by the official client, but never for this machine's own addresses.

    Raises:
        FalRequestInvalid: the environment's proxy settings cannot be used. No part of them is repeated.
    """
    direct: dict[str, httpx.AsyncBaseTransport | None] = dict.fromkeys(_OWN_MACHINE)
    with _usable_proxies():
        return httpx.AsyncClient(
            verify=tls, limits=limits, timeout=timeout, mounts=direct, follow_redirects=False
        )


def new_sync_client(timeout: httpx.Timeout) -> httpx.Client:
    """A client for reading an address that a person named, under the same rules.

    Raises:
        FalRequestInvalid: as above.
    """
    direct: dict[str, httpx.BaseTransport | None] = dict.fromkeys(_OWN_MACHINE)
    tls = tls_context()
    with _usable_proxies():
        return httpx.Client(verify=tls, timeout=timeout, mounts=direct, follow_redirects=False)


def why_unusable(error: Exception) -> FalRequestInvalid | None:
    """What a client's error says about the environment's proxies, with the remedy; None where it is of another kind.

    For errors of a library that makes its own httpx client, such as Prefect's.
    """
    if isinstance(error, ImportError) and "socks" in str(error).lower():
        return FalRequestInvalid(
            "The environment names a SOCKS proxy (ALL_PROXY, HTTP_PROXY or HTTPS_PROXY), which needs the package "
            "socksio",
            next_step="pip install 'httpx[socks]', or name an HTTP proxy",
        )
    if isinstance(error, (ValueError, OSError, httpx.InvalidURL)):
        return FalRequestInvalid(
            f"The proxy settings of the environment cannot be used ({type(error).__name__})",
            next_step="Correct HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY (an IPv6 address without brackets)",
        )
    return None


@contextmanager
def _usable_proxies() -> Iterator[None]:
    try:
        yield
    except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
        found = why_unusable(error)
        if found is None:
            raise
        raise found from error
