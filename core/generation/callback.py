"""The URL that fal calls when a request is done: the public base and the generation's nonce.

The nonce names the row before fal's request id is known, so that a submit whose reply was lost is found again. It
is no secret that could cost money: fal's signature is what is believed, and what is believed only ever records.
It is not part of the request's body, so the generation's key does not depend on it.
"""

import re
from typing import Final
from urllib.parse import urlsplit

from prefect_ltx.fal.safe_text import strip_url
from prefect_ltx.ledger import Generation
from prefect_ltx.settings import SettingsError

PATH: Final = "/fal/"
"""What stands between the public base URL and the nonce."""
NONCE: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")


def public_base(url: str) -> str:
    """The public base URL of the receiver, checked and without a slash at its end.

    Raises:
        SettingsError: it is not a plain http or https URL; nothing was sent or spent.
    """
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise _unusable("it cannot be read") from None
    if not usable:
        raise _unusable(f"{strip_url(url)} is not an http or https URL with a host")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise _unusable("it may have a path, and no query, fragment, user or password")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def callback_url(base: str | None, generation: Generation) -> str | None:
    """Where fal tells that this generation is done; None where no receiver is configured."""
    return None if base is None else f"{base}{PATH}{generation.nonce}"


def _unusable(why: str) -> SettingsError:
    return SettingsError(
        f"The webhook URL cannot be used: {why}. Nothing was sent or spent: set PREFECT_LTX_WEBHOOK_URL to the "
        "public base URL of `prefect-ltx webhook`, such as https://hooks.example.org."
    )
