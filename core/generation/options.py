"""How long to wait and how much to believe: what is set, what was learned, and what a service says of itself."""

import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from prefect_ltx.fal import Service, strip_url
from prefect_ltx.generation.learned import Learned, read_learned
from prefect_ltx.ledger import STOP_FACTOR, Generation
from prefect_ltx.provenance import Signer, SigningFailed
from prefect_ltx.settings import Settings, SettingsError

FAL_LISTING_LAG: Final = 600.0
"""Seconds that fal's listing is given to show a request, as long as nobody has measured it."""

PATH: Final = "/fal/"
"""What stands between the public base URL and the nonce."""
NONCE: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")
"""What names a generation in its webhook's URL before fal's request id is known, so that a submit whose reply was lost
is found again. It is no secret that could cost money: fal's signature is what is believed."""


@dataclass(frozen=True)
class Options:
    """How long to wait and how much to believe; times in seconds."""

    work_dir: Path
    """Where unfinished downloads and renditions live, one folder a generation."""
    listing_lag: float
    """How far fal's request listing may be behind."""
    absence_is_proof: bool
    """Whether a request that the listing does not show after the lag never ran."""
    lists_unfinished: bool
    """Whether the listing shows requests that are queued or running."""
    gone_apart: float = 180.0
    """Between the first time that fal says that a result is gone, and the time when it is believed."""
    queue_timeout: float = 6 * 3600
    run_timeout: float = 3600
    poll_most: float = 5.0
    webhook_url: str | None = None
    """Public base URL of the webhook receiver of this ledger, without a slash at its end."""
    signer: Signer | None = None
    """Signs renditions with Content Credentials (C2PA)."""
    learned: Learned | None = None
    """What `doctor --live` found out about the account."""
    stated_price: Decimal | None = None
    """Dollars per megapixel by `PREFECT_LTX_UNIT_PRICE_USD`, for when fal does not say."""
    stop_factor: Decimal = STOP_FACTOR
    """How many times its bound fal may bill one request before nothing more is bought."""

    @classmethod
    def from_settings(cls, settings: Settings, service: Service, account: str | None = None) -> Self:
        """Fill in what depends on the service: what is set, else what was learned of the account, else what an
        embedded fal says of itself, else the careful assumption that absence from an unmeasured listing proves
        nothing. A URL that is neither fal's nor an embedded fal's is believed no more than fal.

        Raises:
            SettingsError: the webhook URL is not a valid URL. Nothing was sent.
            SigningFailed: a C2PA certificate is set that cannot be used. Nothing was sent.
        """
        learned = read_learned(settings.home, account)
        lag = settings.listing_lag_seconds
        signer = signer_from(settings)
        proof = settings.absence_is_proof
        embedded = service.kind == "embedded"
        if learned is not None:
            lag = learned.wait_for_listing(is_fal=not embedded) if lag is None else lag
            proof = learned.absence_is_proof if proof is None else proof
        said_lag = service.listing_lag if embedded else None
        # What was seen outweighs the word of whoever set the variable: it says how to judge, not what is listed.
        shows = learned.listing_shows_queued if learned else service.lists_unfinished if embedded else None
        return cls(
            work_dir=settings.home / "work",
            listing_lag=lag if lag is not None else FAL_LISTING_LAG if said_lag is None else said_lag,
            absence_is_proof=embedded if proof is None else proof,
            lists_unfinished=bool(settings.absence_is_proof) if shows is None else shows,
            gone_apart=1.0 if embedded else 180.0,
            queue_timeout=settings.queue_timeout_seconds,
            run_timeout=settings.run_timeout_seconds,
            webhook_url=public_base(settings.webhook_url) if settings.webhook_url else None,
            signer=signer,
            learned=learned,
            stated_price=settings.unit_price_usd,
            stop_factor=settings.stop_factor,
        )


def signer_from(settings: Settings) -> Signer | None:
    """Who signs renditions: nobody unless `PREFECT_LTX_C2PA_CERTIFICATE` names a certificate.

    Raises:
        SigningFailed: it cannot work; found out here, before anything is sent or spent.
    """
    if settings.c2pa_certificate is None:
        return None
    if settings.c2pa_key is None:
        raise SigningFailed(
            "PREFECT_LTX_C2PA_CERTIFICATE is set without PREFECT_LTX_C2PA_KEY. Nothing was sent or spent: "
            "name the file with the certificate's private key."
        )
    signer = Signer(settings.c2pa_certificate, settings.c2pa_key, settings.c2pa_timestamp_url)
    signer.check()
    return signer


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
