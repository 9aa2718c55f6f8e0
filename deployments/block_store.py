"""Block types on the server, and the four blocks of an installation from what the environment says.

A secret goes into its block and nowhere else: neither a report nor an error has a value of a block.
"""

from collections.abc import Mapping
from typing import Any

from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound

from prefect_ltx import blocks
from prefect_ltx.blocks import FalCredentials, GenerationLedger, SpendingBudget, VideoArchive
from prefect_ltx.deployments.changes import Change, What
from prefect_ltx.settings import Settings

ROLES: Mapping[str, type[Block]] = {
    "credentials": FalCredentials,
    "ledger": GenerationLedger,
    "archive": VideoArchive,
    "budget": SpendingBudget,
}
"""The flows' parameter that names a block, and the block's type."""

_VARIABLES = {
    "credentials": "FAL_KEY, PREFECT_LTX_FAL_URL",
    "ledger": "PREFECT_LTX_LEDGER",
    "archive": "PREFECT_LTX_ARCHIVE",
    "budget": "PREFECT_LTX_BUDGET_USD",
}


def block_types() -> list[type[Block]]:
    """Every block type of this package, in the order of its exports."""
    found = [getattr(blocks, name) for name in blocks.__all__]
    return [each for each in found if isinstance(each, type) and issubclass(each, Block)]


async def register_types(client: PrefectClient, *, dry_run: bool) -> list[Change]:
    """Bring every block type and its schema to the server; what is there as it is here stays untouched."""
    changes = []
    for kind in block_types():
        slug = kind.get_block_type_slug()
        what, fields, known = await _type_change(client, kind)
        if what != "unchanged" and not dry_run:
            await kind.aregister_type_and_schema(client=client)
            known = str((await client.read_block_type_by_slug(slug)).id)
        changes.append(Change(kind="block type", name=slug, what=what, id=known, fields=fields))
    return changes


async def _type_change(client: PrefectClient, kind: type[Block]) -> tuple[What, list[str], str | None]:
    try:
        found = await client.read_block_type_by_slug(kind.get_block_type_slug())
    except ObjectNotFound:
        return "created", [], None
    fields = [
        name
        for name, here, there in (
            ("description", kind.get_description(), found.description),
            ("code_example", kind.get_code_example(), found.code_example),
        )
        if here != there
    ]
    try:
        await client.read_block_schema_by_checksum(kind._calculate_schema_checksum())
    except ObjectNotFound:
        fields.append("schema")
    return ("updated" if fields else "unchanged"), fields, str(found.id)


async def save_blocks(
    client: PrefectClient, name: str, settings: Settings, *, dry_run: bool
) -> tuple[dict[str, str], list[Change]]:
    """Save what the environment says as blocks of this name. What it does not say stays as a block has it.

    Returns:
        the name for each parameter of the flows that now has such a block, and what was done.
    """
    names: dict[str, str] = {}
    changes = []
    for role, data in _from_environment(settings).items():
        kind = ROLES[role]
        label = f"{kind.get_block_type_slug()}/{name}"
        if data is None:
            changes.append(
                Change(kind="block", name=label, what="left out", note=f"not set: {_VARIABLES[role]}")
            )
            continue
        names[role] = name
        changes.append(await _saved(client, kind, name, data, label, dry_run=dry_run))
    return names, changes


async def existing_blocks(client: PrefectClient, name: str) -> dict[str, str]:
    """The name for each parameter of the flows for which the server has a block of this name."""
    found = {}
    for role, kind in ROLES.items():
        try:
            await client.read_block_document_by_name(
                name=name, block_type_slug=kind.get_block_type_slug(), include_secrets=False
            )
        except ObjectNotFound:
            continue
        found[role] = name
    return found


async def _saved(
    client: PrefectClient, kind: type[Block], name: str, data: dict[str, Any], label: str, *, dry_run: bool
) -> Change:
    try:
        document = await client.read_block_document_by_name(
            name=name, block_type_slug=kind.get_block_type_slug(), include_secrets=True
        )
    except ObjectNotFound:
        made = None if dry_run else str(await kind(**data).asave(name, client=client))
        return Change(kind="block", name=label, what="created", id=made, fields=list(data))
    found = kind(**document.data)
    wanted = kind(**{**document.data, **data})
    fields = [each for each in data if getattr(found, each) != getattr(wanted, each)]
    if fields and not dry_run:
        await wanted.asave(name, overwrite=True, client=client)
    return Change(
        kind="block",
        name=label,
        what="updated" if fields else "unchanged",
        id=str(document.id),
        fields=fields,
    )


def _from_environment(settings: Settings) -> dict[str, dict[str, Any] | None]:
    """The fields of each block that the environment names; None where it names none.

    A default is no setting: a ledger below this machine's home is nobody else's ledger.
    """
    account = {
        name: value
        for name, value in (("api_key", settings.fal_key), ("base_url", settings.fal_url))
        if value is not None
    }
    return {
        "credentials": account or None,
        "ledger": {"url": settings.ledger} if settings.ledger else None,
        "archive": {"location": settings.archive} if settings.archive else None,
        "budget": {"per_day_usd": settings.budget_usd} if settings.budget_usd is not None else None,
    }
