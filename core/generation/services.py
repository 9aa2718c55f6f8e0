"""What a generation is made with: fal's client, the ledger, the archive, the budget, and the waiting rules."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from prefect_ltx.archive import Archive
from prefect_ltx.fal import FAL, FalClient, FalError, FalHosts, Service, custom_service
from prefect_ltx.generation.accounts import Account, decide, nobody_answered
from prefect_ltx.generation.options import Options, public_base
from prefect_ltx.generation.pricing import UnitPrice, unit_price
from prefect_ltx.generation.process import Process, this_process
from prefect_ltx.generation.sharing import refuse_unshared
from prefect_ltx.generation.usable import refuse_unusable_places
from prefect_ltx.ledger import AsyncLedger, BudgetLimit, KnownAccount, Ledger
from prefect_ltx.runtime import THIS_MACHINE, Runtime
from prefect_ltx.settings import Settings, SettingsError


@dataclass
class Services:
    """The parts one generation needs, opened together and closed together."""

    client: FalClient
    ledger: AsyncLedger
    archive: Archive
    settings: Settings
    options: Options
    service: Service
    """What answers at the URL in use."""
    identity: Account
    """In whose name everything is done."""
    known_accounts: tuple[KnownAccount, ...] = ()
    limits: tuple[BudgetLimit, ...] = ()
    has_account: bool = True
    """False where neither a key nor a URL is set: only prices can be said then, and nothing of what is paid for."""
    archive_is_the_ledgers: bool = True
    """False where a ledger was named and its archive was not: then the two say nothing about each other."""
    process: Process = field(default_factory=this_process, repr=False)
    """What this process shares: leases, lookers, kept ids."""
    runtime: Runtime = field(default=THIS_MACHINE, repr=False)
    unit_prices: dict[str, UnitPrice] = field(default_factory=dict, repr=False)
    """What `unit_price` found out, by endpoint."""

    def __post_init__(self) -> None:
        """Refuse what cannot hold together, however it was opened.

        Raises:
            SettingsError: the lease is too short. Nothing was sent.
        """
        self.ledger.ledger.stop_factor = self.options.stop_factor
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
        client = client_from(settings)
        archive = Archive(settings.archive_location, web_url=settings.archive_url)
        # Who only looks at prices and plans writes nothing.
        ledger = Ledger(settings.ledger_url, lease_seconds=settings.lease_seconds, read_only=not to_spend)
        try:
            if to_spend:
                refuse_unshared(ledger, archive, settings)
                refuse_unusable_places(settings, ledger, archive)
        except BaseException:
            ledger.close()
            raise
        has_account = settings.fal_key is not None or bool(settings.fal_url)
        return cls.of(
            settings, client, AsyncLedger(ledger), archive, budget_from(settings), has_account=has_account
        )

    @classmethod
    def of(
        cls,
        settings: Settings,
        client: FalClient,
        ledger: AsyncLedger,
        archive: Archive,
        limits: tuple[BudgetLimit, ...],
        *,
        has_account: bool = True,
        process: Process | None = None,
        runtime: Runtime = THIS_MACHINE,
    ) -> Self:
        """The services of these parts. Whose account it is, and what to believe, is known once they have begun."""
        service = FAL if client.hosts.is_fal else custom_service(client.hosts)
        return cls(
            client=client,
            ledger=ledger,
            archive=archive,
            settings=settings,
            options=Options.from_settings(settings, service, client.account),
            service=service,
            identity=Account(client.account, client.account, service.id),
            limits=limits,
            has_account=has_account,
            process=process or this_process(),
            runtime=runtime,
        )

    @property
    def account(self) -> str:
        """The account's id in rows and in the keys of generations; it survives a rotated key."""
        return self.identity.id

    def calling_back(self, url: str) -> Self:
        """The same services, with another receiver for fal's webhooks.

        Raises:
            SettingsError: `url` is not the base of one. Nothing was sent.
        """
        return replace(self, options=replace(self.options, webhook_url=public_base(url)))

    async def __aenter__(self) -> Self:
        await self.begin()
        return self

    async def begin(self) -> None:
        """Find out what answers and whose account it is. From here on the ledger lets only its rows be touched.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        if not self.has_account:
            return
        ledger, client = self.ledger, self.client
        self.service, is_sure = await self._answering()
        known = self.known_accounts = tuple(await ledger.accounts())
        name = self.settings.account or ""
        here = [each for each in known if each.service == self.service.id]
        is_known = any(each.key_id == client.account for each in here)
        is_named = any((each.named_by, each.name) == ("user", name) for each in here)
        rows: list[str] = []
        if not (is_named if name else is_known):
            # Only for a key or a name that is new here: this reads every row of the ledger.
            rows = await ledger.accounts_of_rows(self.service.id)
        if self.service.kind == "embedded":
            # The first release's rows name no service, and those of fal say nothing about a stand-in's.
            rows = [account for account in rows if account == client.account]
        self.identity = decide(
            known,
            key_id=client.account,
            service=self.service.id,
            user_name=name,
            fal_name="" if name or is_known else await self._told_by_fal(),
            row_accounts=rows,
        )
        if not is_sure:
            self.identity = replace(self.identity, unclear=nobody_answered(client.hosts.queue))
        if not self.identity.unclear and not ledger.read_only:
            await ledger.note_account(
                client.account,
                self.service.id,
                self.identity.id,
                name=self.identity.name or None,
                named_by=self.identity.named_by,
            )
        self.options = Options.from_settings(self.settings, self.service, self.account)
        ledger.ledger.acting_for(self.account, self.service.id)

    async def _answering(self) -> tuple[Service, bool]:
        """What answers at the client's URL, and whether that is known. Where it cannot be asked now: the one that this
        key was used with last.

        What is archived is given back without fal, so a server that is down must not make its videos unknown;
        nothing is believed of it before it says itself what it is.
        """
        try:
            return await self.client.identify(), True
        except FalError:
            last = await self.ledger.accounts(key_id=self.client.account)
            service = custom_service(self.client.hosts)
            return (replace(service, id=last[0].service), True) if last else (service, False)

    async def _told_by_fal(self) -> str:
        try:
            return await self.client.whoami() or ""
        except FalError:
            return ""  # it cannot be asked now: then nothing names the account

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close connections; the ledger's rows and the archive's files stay."""
        await self.client.aclose()
        await self.archive.aclose()
        await self.ledger.close()

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


def client_from(settings: Settings) -> FalClient:
    """fal's client for the key and the URL that the settings name."""
    if not settings.fal_url:
        return FalClient(settings.fal_key)
    hosts = FalHosts.from_base_url(settings.fal_url, is_gateway=settings.fal_url_is_gateway)
    return FalClient(settings.fal_key, hosts=hosts)


def budget_from(settings: Settings) -> tuple[BudgetLimit, ...]:
    """`PREFECT_LTX_BUDGET_USD` as a limit on each UTC day."""
    if settings.budget_usd is None:
        return ()
    return (BudgetLimit(usd=settings.budget_usd, period="day", tag=None, name="PREFECT_LTX_BUDGET_USD"),)
