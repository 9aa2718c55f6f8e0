"""Which account, ledger, archive and budget a run uses: blocks by name, the environment where no name is given."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar, cast

from prefect.blocks.core import Block
from pydantic import ValidationError

from prefect_ltx.archive import Archive
from prefect_ltx.blocks.archive import VideoArchive
from prefect_ltx.blocks.budget import SpendingBudget
from prefect_ltx.blocks.credentials import FalCredentials
from prefect_ltx.blocks.ledger import GenerationLedger
from prefect_ltx.blocks.machines import several_machines
from prefect_ltx.fal import FalClient, plain
from prefect_ltx.generation import (
    Services,
    budget_from,
    client_from,
    refuse_unshared,
    refuse_unusable_places,
)
from prefect_ltx.ledger import AsyncLedger, BudgetLimit, Ledger
from prefect_ltx.settings import Settings, SettingsError

B = TypeVar("B", bound=Block)


@dataclass(frozen=True)
class BlockNames:
    """Names of blocks; an empty name means what the environment says."""

    credentials: str = ""
    ledger: str = ""
    archive: str | None = ""
    """None: no archive is used, so it does not matter which one the environment names."""
    budget: str = ""


@dataclass
class _Shared:
    services: Services
    users: int
    may_be_used: str = ""
    """How much of it was found fit for the machines that share the work: nothing, the ledger, or all."""


_open: dict[tuple[int, BlockNames, int], _Shared] = {}


@asynccontextmanager
async def services_for(names: BlockNames, *, checked: bool = True) -> AsyncIterator[Services]:
    """The services of these blocks, opened once for all tasks of a flow that use them at the same time.

    A client alone costs 50 ms of CPU to make, so the tasks of a flow share what the flow holds open. With
    `checked` false they are given even where machines cannot share them: for what only ends something.

    Raises:
        SettingsError: no block is named and the environment does not say which fal to use; several machines share
            the work and the ledger or the archive is one machine's; or a place is relative, cannot be written or does
            not last. Nothing was sent or spent.
        LedgerError: the ledger cannot be opened. Nothing was sent or spent.
    """
    settings = Settings()
    # The settings with their secret hashed: two accounts must never share a client.
    same = replace(names, archive=names.archive or "")
    place = (id(asyncio.get_running_loop()), same, hash(repr(settings.model_dump()) + _secret(settings)))
    shared = _open.get(place)
    if shared is None:
        opened = await _opened(same, settings)
        # Another task may have opened the same while this one waited for its blocks.
        shared = _open.setdefault(place, _Shared(opened, 0))
        if shared.services is not opened:
            await opened.aclose()
    shared.users += 1
    try:
        if checked:
            await _check(shared, settings, "ledger" if names.archive is None else "all")
        alone = names.archive is None and bool(names.ledger)
        yield replace(shared.services, archive_is_the_ledgers=False) if alone else shared.services
    finally:
        shared.users -= 1
        if shared.users == 0:
            _open.pop(place, None)
            await shared.services.aclose()


async def _check(shared: _Shared, settings: Settings, what: str) -> None:
    if shared.may_be_used in (what, "all"):
        return
    services = shared.services
    archive = services.archive if what == "all" else None
    ledger, several = services.ledger, await several_machines()
    await ledger.run(refuse_unshared, ledger.ledger, archive, settings, several)
    await ledger.run(refuse_unusable_places, settings, ledger.ledger, archive)
    shared.may_be_used = what


def _secret(settings: Settings) -> str:
    return settings.fal_key.get_secret_value() if settings.fal_key else ""


async def _opened(names: BlockNames, settings: Settings) -> Services:
    client, settings = await _client(names.credentials, settings)
    ledger, settings = await _ledger(names.ledger, settings)
    services = Services.of(
        settings,
        client,
        ledger,
        await _archive(names.archive or "", settings),
        await _limits(names.budget, settings),
    )
    try:
        await services.begin()
    except BaseException:
        await services.aclose()
        raise
    return services


async def _client(name: str, settings: Settings) -> tuple[FalClient, Settings]:
    if not name:
        settings.require_fal()
        return client_from(settings), settings
    block = await _loaded(FalCredentials, name)
    own = {
        field: value
        for field in ("listing_lag_seconds", "absence_is_proof", "account")
        if (value := getattr(block, field)) is not None
    }
    return block.get_client(), settings.model_copy(update=own)


async def _ledger(name: str, settings: Settings) -> tuple[AsyncLedger, Settings]:
    if name:
        block = await _loaded(GenerationLedger, name)
        # A nonce means something to one ledger only, so its receiver belongs to it.
        own = {"webhook_url": block.webhook_url} if block.webhook_url else {}
        return AsyncLedger(await asyncio.to_thread(block.get_ledger)), settings.model_copy(update=own)
    opened = await asyncio.to_thread(Ledger, settings.ledger_url, lease_seconds=settings.lease_seconds)
    return AsyncLedger(opened), settings


async def _archive(name: str, settings: Settings) -> Archive:
    if name:
        return (await _loaded(VideoArchive, name)).get_archive()
    return Archive(settings.archive_location, web_url=settings.archive_url)


async def _limits(name: str, settings: Settings) -> tuple[BudgetLimit, ...]:
    return (await _loaded(SpendingBudget, name)).limits() if name else budget_from(settings)


async def _loaded(kind: type[B], name: str) -> B:
    """A stored block.

    Raises:
        SettingsError: a field of it cannot be used, by block and field. Nothing was sent or spent.
    """
    try:
        # Prefect's `aload` is typed as giving back anything.
        return cast(B, await kind.aload(name))
    except RuntimeError as error:
        # Prefect wraps it, with the advice to leave the check out.
        if not isinstance(cause := error.__cause__ or error.__context__, ValidationError):
            raise
        fields = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'the block'}: {plain(each['msg'])}"
            for each in cause.errors()
        )
        raise SettingsError(
            f"The block {kind.get_block_type_slug()}/{name} cannot be used: {fields}. Nothing was sent or spent. "
            "Edit it in the Prefect UI (Blocks)."
        ) from None
