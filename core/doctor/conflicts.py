"""Settings that cannot work, or that cannot work together."""

import asyncio
import os
from collections.abc import Mapping
from difflib import get_close_matches
from urllib.parse import urlsplit

from prefect_ltx.archive import Archive, ArchiveError
from prefect_ltx.doctor.findings import Finding, error, info, ok, warning
from prefect_ltx.fal import FalClient, FalError
from prefect_ltx.generation.learned import read_learned
from prefect_ltx.generation.options import signer_from
from prefect_ltx.generation.services import LEAST_LEASE_SECONDS
from prefect_ltx.generation.sharing import refuse_unshared
from prefect_ltx.ledger import Ledger, LedgerError
from prefect_ltx.places import DEPLOYED, flag_of
from prefect_ltx.provenance import SigningFailed
from prefect_ltx.settings import ENVIRONMENT, Settings, SettingsError

OWN = ("PREFECT_LTX_DEBUG", DEPLOYED)
"""Variables of this package's that are no settings of a run."""


async def check_settings(
    settings: Settings, *, machines: str | None = None, environ: Mapping[str, str] = os.environ
) -> list[Finding]:
    """Every combination that is known not to work. `machines`: how it is known that several share the work."""
    found = [
        *_unknown(environ),
        *await asyncio.to_thread(_sharing, settings, machines),
        *_money(settings),
        *_signing(settings),
        *_webhook(settings),
    ]
    return [*_origins(), *(found or [ok("settings", "Nothing in them contradicts another")])]


def _origins() -> list[Finding]:
    """Where each setting comes from that is set; its value is not shown."""
    by: dict[str, list[str]] = {}
    for variable, source in sorted(Settings.origins().items()):
        flag = flag_of(variable)
        name = f"the flag {flag}" if source == ENVIRONMENT and flag != variable else source
        by.setdefault(name, []).append(variable)
    return [ok("settings", f"from {source}: {', '.join(names)}") for source, names in by.items()]


def _unknown(environ: Mapping[str, str]) -> list[Finding]:
    names = {f"PREFECT_LTX_{name}".upper() for name in Settings.model_fields} | set(OWN)
    found = []
    for name in sorted(environ):
        if name.upper().startswith("PREFECT_LTX_") and name.upper() not in names:
            like = get_close_matches(name.upper(), names, 1)
            remedy = f"Did you mean {like[0]}?" if like else "Unset it, or look in the list of settings."
            found.append(warning("settings", f"{name} is set, and no setting is called so", remedy))
    return found


def _sharing(settings: Settings, machines: str | None) -> list[Finding]:
    try:
        with Ledger(settings.ledger_url) as ledger:
            refuse_unshared(ledger, Archive(settings.archive_location), settings, machines)
    except SettingsError as problem:
        what, _, remedy = str(problem).partition(". Nothing was sent or spent. ")
        return [error("settings", what, remedy)]
    except (LedgerError, ArchiveError):
        pass  # said by their own checks
    return []


def _money(settings: Settings) -> list[Finding]:
    try:
        client = FalClient(settings.fal_key, base_url=settings.fal_url)
    except FalError:
        return []
    found = []
    learned = read_learned(settings.home, client.account)
    if learned is not None:
        found.append(
            info("settings", f"doctor --live learned about this account on {learned.learned_at:%Y-%m-%d}")
        )
    if client.hosts.is_fal and settings.budget_usd is None:
        found.append(
            warning(
                "settings",
                "No budget: nothing stops a mistake in a batch file from spending",
                "Set PREFECT_LTX_BUDGET_USD, the most to spend per UTC day, or name a Spending Budget block.",
            )
        )
    if client.hosts.is_fal and settings.absence_is_proof and not (learned and learned.absence_is_proof):
        found.append(
            warning(
                "settings",
                "PREFECT_LTX_ABSENCE_IS_PROOF is on at fal, whose listing nobody has measured: a request that it "
                "does not show may have been accepted, and would be paid for twice",
                "Unset it, or run `prefect-ltx doctor --live` to learn what the listing shows.",
            )
        )
    if client.hosts.is_fal and (settings.listing_lag_seconds or 600) < 60:
        found.append(
            warning(
                "settings",
                f"PREFECT_LTX_LISTING_LAG_SECONDS is {settings.listing_lag_seconds:g} at fal",
                "Leave it unset: 600 s, or what doctor --live learned.",
            )
        )
    if settings.lease_seconds < LEAST_LEASE_SECONDS:
        found.append(
            error(
                "settings",
                f"PREFECT_LTX_LEASE_SECONDS is {settings.lease_seconds:g}: a machine that stands still that long "
                "loses its work to another, and may see it sent twice; no paid command starts with it",
                f"Leave it at 120, or set {LEAST_LEASE_SECONDS:g} and more.",
            )
        )
    return found


def _signing(settings: Settings) -> list[Finding]:
    remedy = "Set both PREFECT_LTX_C2PA_CERTIFICATE and PREFECT_LTX_C2PA_KEY to files that belong together, or neither."
    if settings.c2pa_certificate is None:
        if settings.c2pa_key is None and settings.c2pa_timestamp_url is None:
            return []
        what = "PREFECT_LTX_C2PA_KEY" if settings.c2pa_key else "PREFECT_LTX_C2PA_TIMESTAMP_URL"
        return [
            error(
                "settings", f"{what} is set without PREFECT_LTX_C2PA_CERTIFICATE: nothing is signed", remedy
            )
        ]
    try:
        signer_from(settings)
    except SigningFailed as problem:
        return [error("settings", str(problem), remedy)]
    return [ok("settings", "Renditions can be signed with the C2PA certificate")]


def _webhook(settings: Settings) -> list[Finding]:
    url: str | None = getattr(settings, "webhook_url", None)
    if not url:
        return []
    parts = urlsplit(url)
    if not settings.fal_url and parts.scheme != "https":
        return [
            error(
                "settings",
                "PREFECT_LTX_WEBHOOK_URL is not https: what fal tells the receiver can be read and changed on the way",
                "Put the receiver behind a TLS proxy and name that in PREFECT_LTX_WEBHOOK_URL.",
            )
        ]
    if not settings.fal_url and parts.hostname in ("localhost", "127.0.0.1", "::1"):
        return [
            error(
                "settings",
                "PREFECT_LTX_WEBHOOK_URL is on this machine, which fal cannot call and does not try",
                "Name an address that the internet reaches, or leave it out and deploy the poller.",
            )
        ]
    return []
