"""fal: the key's shape, whether fal knows it, what it may read, the hosts, and the clock. Nothing is spent."""

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx

from prefect_ltx.doctor.findings import Finding, error, info, ok, warning
from prefect_ltx.fal import (
    REFERENCE_VIDEO,
    UNIT_PRICE_USD,
    FalAuthenticationError,
    FalClient,
    FalError,
    FalPermissionDenied,
    FalRequestInvalid,
    endpoint_models,
    plain,
)
from prefect_ltx.fal.environment import new_client, tls_context
from prefect_ltx.settings import Settings

_SHAPE = re.compile(r"^[^:\s]+:[^:\s]+$")
SKEW_WARNS, SKEW_ERROR = 30.0, 300.0
"""Seconds. fal's webhook signatures and our look for lost requests both allow for five minutes."""
SECONDS = 15.0


async def check_account(settings: Settings) -> list[Finding]:
    """The key, what it may read, the hosts and the clock."""
    found = _key(settings)
    if any(each.severity == "error" for each in found):
        return found
    try:
        client = FalClient(settings.fal_key, base_url=settings.fal_url, timeout=SECONDS, read_attempts=2)
    except FalError as problem:
        return [*found, error("key", problem.what, problem.next_step or "Correct FAL_KEY.")]
    async with client:
        hosts = client.hosts
        bases = sorted({hosts.queue, hosts.run, hosts.rest, hosts.cdn, hosts.api})
        found += await _hosts(bases)
        if any(each.severity == "error" for each in found):
            return found
        return found + await _reads(client)


def _key(settings: Settings) -> list[Finding]:
    if settings.fal_key is None:
        if not settings.fal_url:
            return [
                error(
                    "key",
                    "Neither FAL_KEY nor PREFECT_LTX_FAL_URL is set: there is no fal to send anything to",
                    "Set FAL_KEY to the key that fal shows once, id:secret; or start `prefect-ltx local-fal` and "
                    "set PREFECT_LTX_FAL_URL to what it prints.",
                )
            ]
        return [info("key", f"No FAL_KEY; requests go to {settings.fal_url} without one")]
    if not _SHAPE.match(settings.fal_key.get_secret_value()):
        return [
            error(
                "key",
                "FAL_KEY is not of the form id:secret",
                "Copy both parts of the key with the colon between them; fal answers 401 to anything else.",
            )
        ]
    where = settings.fal_url or "fal"
    found = [ok("key", f"FAL_KEY has the form id:secret and is used at {where}")]
    url = urlsplit(settings.fal_url or "")
    if url.scheme == "http" and url.hostname not in ("127.0.0.1", "localhost", "::1"):
        found.append(
            warning(
                "key",
                f"FAL_KEY goes to {settings.fal_url} unencrypted",
                "Use https, or a loopback address, in PREFECT_LTX_FAL_URL.",
            )
        )
    return found


async def _hosts(bases: list[str]) -> list[Finding]:
    try:
        client = new_client(tls_context(), httpx.Limits(), httpx.Timeout(SECONDS))
    except FalRequestInvalid as problem:
        return [error("hosts", problem.what, f"{problem.next_step}.")]
    async with client as http:
        answers = await asyncio.gather(*(_reached(http, base) for base in bases))
    found = [each for each, _ in answers]
    skews = [skew for _, skew in answers if skew is not None]
    if not skews:
        return found
    skew = min(skews, key=abs)
    if abs(skew) < SKEW_WARNS:
        return [*found, ok("clock", f"This machine's clock and fal's differ by {abs(skew):.0f} s")]
    say = error if abs(skew) >= SKEW_ERROR else warning
    late = "behind" if skew > 0 else "ahead of"
    return [
        *found,
        say(
            "clock",
            f"This machine's clock is {abs(skew):.0f} s {late} fal's: lost requests are looked for by time, and "
            "webhook signatures expire",
            "Switch time synchronisation on (timedatectl set-ntp true).",
        ),
    ]


async def _reached(http: httpx.AsyncClient, base: str) -> tuple[Finding, float | None]:
    before = time.time()
    try:
        answer = await http.get(base)
    except (httpx.HTTPError, OSError) as problem:
        what = f"{base} cannot be reached: {type(problem).__name__}"
        remedy = "Check the network, the proxy variables (HTTPS_PROXY, NO_PROXY) and PREFECT_LTX_FAL_URL."
        return error("hosts", what, remedy), None
    middle = (before + time.time()) / 2
    try:
        # The header is cut to the second, so on the average it is half a second late.
        skew = parsedate_to_datetime(answer.headers["date"]).timestamp() + 0.5 - middle
    except (KeyError, ValueError, TypeError):
        skew = None
    return ok("hosts", f"{base} answers"), skew


async def _reads(client: FalClient) -> list[Finding]:
    try:
        prices = await client.prices([model.ENDPOINT for model in endpoint_models()])
    except (FalAuthenticationError, FalPermissionDenied) as problem:
        return [error("key", f"fal refuses the key: {problem.what}", "Make a new key in fal's dashboard.")]
    except FalError as problem:
        return [warning("key", f"The price list cannot be read: {problem.what}", "Try again later.")]
    found = [ok("key", "fal knows the key: the price list was read with it")]
    for endpoint, price in sorted(prices.items()):
        if price.unit_price != UNIT_PRICE_USD:
            found.append(
                info(
                    "prices",
                    f"{endpoint}: {price.unit_price} {price.currency} a {price.unit} for this account",
                )
            )
    since = datetime.now(UTC) - timedelta(minutes=5)
    try:
        async for _ in client.list_requests(REFERENCE_VIDEO, start=since, end=None, expand_payloads=False):
            break
        found.append(ok("listing", "The key may list requests, which is how lost answers are found again"))
    except FalError as problem:
        found.append(
            warning(
                "listing",
                f"The key may not list requests: {plain(problem.what)}",
                "Give it a scope that may: without it, every submit whose answer is lost is parked for a person.",
            )
        )
    try:
        await client.billing_events(start=since)
        found.append(
            ok("billing", "The key may read billing events: prices are settled with what fal billed")
        )
    except FalError:
        found.append(
            info(
                "billing",
                "The key may not read billing events; prices are settled with the units in fal's answers",
                "A key with the ADMIN scope may read them.",
            )
        )
    return found
