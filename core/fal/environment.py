"""httpx clients as this machine's environment wants them: its proxies and certificates, or one line with the remedy."""

import ssl

import httpx

from prefect_ltx.fal.errors import FalRequestInvalid


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
    direct: dict[str, httpx.AsyncBaseTransport | None] = {
        f"all://{host}": None for host in ("localhost", "127.0.0.1", "[::1]")
    }
    try:
        return httpx.AsyncClient(
            verify=tls, limits=limits, timeout=timeout, mounts=direct, follow_redirects=False
        )
    except ImportError as error:
        raise FalRequestInvalid(
            "The environment names a SOCKS proxy (ALL_PROXY, HTTP_PROXY or HTTPS_PROXY), which needs the package "
            "socksio",
            next_step="pip install 'httpx[socks]', or name an HTTP proxy",
        ) from error
    except (ValueError, OSError, httpx.InvalidURL) as error:
        raise FalRequestInvalid(
            f"The proxy settings of the environment cannot be used ({type(error).__name__})",
            next_step="Correct HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY (an IPv6 address without brackets)",
        ) from error
