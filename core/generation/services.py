"""What a generation is made with: fal's client, the ledger, the archive, the budget, and the waiting rules."""

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, ParamSpec, Self, TypeVar

from prefect_ltx.archive import Archive
from prefect_ltx.fal import FalClient, FalHosts
from prefect_ltx.generation.callback import public_base
from prefect_ltx.generation.learned import Learned, read_learned
from prefect_ltx.generation.pricing import UnitPrice, unit_price
from prefect_ltx.generation.sharing import refuse_unshared
from prefect_ltx.generation.usable import refuse_unusable_places
from prefect_ltx.ledger import STOP_FACTOR, BudgetLimit, Ledger
from prefect_ltx.provenance import Signer, SigningFailed
from prefect_ltx.settings import Settings, SettingsError

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """How long to wait and how much to believe; times in seconds."""

    work_dir: Path
    """Where unfinished downloads and renditions live, one folder a generation."""
    listing_lag: float
    """How far fal's request listing may be behind."""
    absence_is_proof: bool
    """Whether a request that the listing does not show after the lag never ran."""
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
    def from_settings(cls, settings: Settings, hosts: FalHosts, account: str | None = None) -> Self:
        """Fill in what depends on the host: what is set, else what was learned of the account, else that fal's
        listing is unmeasured and absence proves nothing there.

        Raises:
            SettingsError: the webhook URL is none. Nothing was sent.
            SigningFailed: a C2PA certificate is set that cannot be used. Nothing was sent.
        """
        learned = read_learned(settings.home, account)
        lag = settings.listing_lag_seconds
        signer = signer_from(settings)
        proof = settings.absence_is_proof
        if learned is not None:
            lag = learned.wait_for_listing(is_fal=hosts.is_fal) if lag is None else lag
            proof = learned.absence_is_proof if proof is None else proof
        return cls(
            work_dir=settings.home / "work",
            listing_lag=(600.0 if hosts.is_fal else 0.0) if lag is None else lag,
            absence_is_proof=(not hosts.is_fal) if proof is None else proof,
            queue_timeout=settings.queue_timeout_seconds,
            run_timeout=settings.run_timeout_seconds,
            webhook_url=public_base(settings.webhook_url) if settings.webhook_url else None,
            signer=signer,
            learned=learned,
            stated_price=settings.unit_price_usd,
            stop_factor=settings.stop_factor,
        )


@dataclass
class Services:
    """The parts one generation needs, opened together and closed together."""

    client: FalClient
    ledger: Ledger
    archive: Archive
    options: Options
    limits: tuple[BudgetLimit, ...] = ()
    has_account: bool = True
    """False where neither a key nor a URL is set: only prices can be said then, and nothing of what is paid for."""
    unit_prices: dict[str, UnitPrice] = field(default_factory=dict, repr=False)
    """What `unit_price` found out, by endpoint."""

    def __post_init__(self) -> None:
        """Refuse what cannot hold together, however it was opened.

        Raises:
            SettingsError: the lease is too short. Nothing was sent.
        """
        self.ledger.stop_factor = self.options.stop_factor
        refuse_short_lease(self.ledger.lease_seconds)

    @classmethod
    def from_settings(cls, settings: Settings, *, to_spend: bool = True) -> Self:
        """The services that the environment names. With `to_spend` false an account may be missing: see `has_account`.

        Raises:
            SettingsError: neither a key nor a URL for fal; several machines share the work, and the ledger or the
                archive is one machine's; or what is bought could not be kept. Nothing was sent.
            SigningFailed: a C2PA certificate is set that cannot be used. Nothing was sent.
            LedgerError: the ledger cannot be opened. Nothing was sent.
        """
        if to_spend:
            settings.require_fal()
        refuse_short_lease(settings.lease_seconds)
        client = FalClient(settings.fal_key, base_url=settings.fal_url)
        archive = Archive(settings.archive_location)
        # Who only looks at prices and plans writes nothing.
        ledger = Ledger(settings.ledger_url, lease_seconds=settings.lease_seconds, read_only=not to_spend)
        try:
            if to_spend:
                refuse_unshared(ledger, archive, settings)
                refuse_unusable_places(settings, ledger, archive)
        except BaseException:
            ledger.close()
            raise
        return cls(
            client=client,
            ledger=ledger,
            archive=archive,
            options=Options.from_settings(settings, client.hosts, client.account),
            limits=budget_from(settings),
            has_account=settings.fal_key is not None or bool(settings.fal_url),
        )

    def calling_back(self, url: str) -> Self:
        """The same services, with another receiver for fal's webhooks.

        Raises:
            SettingsError: `url` is not the base of one. Nothing was sent.
        """
        return replace(self, options=replace(self.options, webhook_url=public_base(url)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close connections; the ledger's rows and the archive's files stay."""
        await self.client.aclose()
        await self.archive.aclose()
        await in_thread(self.ledger.close)

    async def unit_price(self, endpoint: str) -> UnitPrice:
        """Dollars per megapixel for this account, and whose word it is (`pricing`)."""
        return await unit_price(self, endpoint)

    def work_dir(self, generation_id: str) -> Path:
        """The folder of one generation's unfinished files, made when missing."""
        folder = self.options.work_dir / generation_id
        folder.mkdir(parents=True, exist_ok=True)
        return folder


LEAST_LEASE_SECONDS: Final = 60.0
"""A lease is renewed each quarter of it, and a renewal may wait 30 s for its turn in a busy ledger: twice that long
nobody else may take the row, or it is looked for while its POST is still under way."""


def refuse_short_lease(seconds: float) -> None:
    """Refuse a lease that a submit can outlast while its renewals do not get through.

    Raises:
        SettingsError: it is shorter than `LEAST_LEASE_SECONDS`. Nothing was sent or spent.
    """
    if seconds < LEAST_LEASE_SECONDS:
        raise SettingsError(
            f"A lease of {seconds:g} s (PREFECT_LTX_LEASE_SECONDS, or the ledger block's) is shorter than a submit may "
            "take while the ledger is busy: another worker would take the generation over and might send it a second "
            f"time. Nothing was sent or spent. Leave it at 120, or set {LEAST_LEASE_SECONDS:g} or more."
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


def budget_from(settings: Settings) -> tuple[BudgetLimit, ...]:
    """`PREFECT_LTX_BUDGET_USD` as a limit on each UTC day."""
    if settings.budget_usd is None:
        return ()
    return (BudgetLimit(usd=settings.budget_usd, period="day", tag=None, name="PREFECT_LTX_BUDGET_USD"),)


async def in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a ledger call off the event loop and let it finish even when the caller is cancelled.

    A transaction that is cut off from its caller would leave nobody knowing what was written. All calls of a
    process, from all of its event loops, go through one thread, in their order: SQLite makes writers that meet sleep,
    for longer than they write.
    """
    call = partial(contextvars.copy_context().run, function, *args, **kwargs)
    work = asyncio.get_running_loop().run_in_executor(_ledger_thread(), call)
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError as error:
            cancelled = error  # a second one must not cut it off either
    if cancelled is not None:
        work.exception()  # so that it counts as seen
        raise cancelled
    return work.result()


_thread: ThreadPoolExecutor | None = None
_thread_lock = threading.Lock()


def _ledger_thread() -> ThreadPoolExecutor:
    global _thread
    with _thread_lock:
        if _thread is None:
            _thread = ThreadPoolExecutor(1, thread_name_prefix="prefect-ltx-ledger")
        return _thread


def _in_a_child() -> None:
    # A thread does not survive a fork, and the lock may have been held.
    global _thread, _thread_lock
    _thread, _thread_lock = None, threading.Lock()


os.register_at_fork(after_in_child=_in_a_child)
