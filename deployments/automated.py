"""Automations on the server: the triggers of deployments, and those of `automations.yaml`.

Both are matched by name, written only where they differ, and keep the switch that a person set.
"""

import copy
from collections.abc import Iterable
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.events.schemas.automations import Automation, AutomationCore
from prefect.events.schemas.deployment_triggers import DeploymentTriggerTypes
from prefect.exceptions import ObjectNotFound
from pydantic import TypeAdapter, ValidationError

from prefect_ltx.deployments.changes import Change, DeployError, Kind, differing

NOTIFY = "{{ notify }}"
"""In automations.yaml: the notification block that `--notify` names."""
NEEDS_A_BLOCK = "needs a notification block: --notify TYPE/NAME"

PREFIX = "ltx: "
"""How the names of this package's automations begin."""

_TRIGGER: TypeAdapter[Any] = TypeAdapter(DeploymentTriggerTypes)
_NO_ID = "00000000-0000-0000-0000-000000000000"


async def sync_triggers(
    client: PrefectClient,
    deployment: str,
    deployment_id: str | None,
    triggers: Iterable[dict[str, Any]],
    *,
    dry_run: bool,
) -> list[Change]:
    """Bring the triggers of one deployment to what the file says.

    One that an earlier deployment made and the file has no more is removed, as `prefect deploy` does: an event must
    not start two runs. The server does not say who owns an automation, so these are told by their names; what
    somebody made in the UI has another name, and stays.
    """
    related: list[Automation] = []
    if deployment_id is not None:
        related = await client.read_resource_related_automations(f"prefect.deployment.{deployment_id}")
    ours = [each for each in related if each.name.startswith((PREFIX, f"{deployment}__automation_"))]
    changes = []
    for number, spec in enumerate(triggers, start=1):
        wanted = _trigger(deployment, number, spec, deployment_id)
        found = _named(related, wanted.name) or _same(ours, wanted)
        if found in ours:
            ours.remove(found)
        changes.append(await _applied(client, "trigger", wanted, found, dry_run=dry_run))
    for left in ours:
        if not dry_run:
            await client.delete_automation(left.id)
        changes.append(Change(kind="trigger", name=left.name, what="removed", id=str(left.id)))
    return changes


async def sync_automations(
    client: PrefectClient, specs: Iterable[dict[str, Any]], *, notify: str | None, dry_run: bool
) -> list[Change]:
    """Bring the automations of automations.yaml to the server.

    One that needs a notification block is left out where `notify` (its id) is None and none was given earlier.

    Raises:
        DeployError: an automation of the file is not valid to Prefect.
    """
    changes = []
    for spec in specs:
        named = await client.read_automations_by_name(str(spec.get("name")))
        found = named[0] if named else None
        block = notify or _block_of(found)
        if _needs_block(spec) and block is None:
            changes.append(
                Change(
                    kind="automation",
                    name=str(spec.get("name")),
                    what="left out",
                    note=NEEDS_A_BLOCK,
                )
            )
            continue
        wanted = _automation(spec, block)
        changes.append(await _applied(client, "automation", wanted, found, dry_run=dry_run))
    return changes


async def notification_block(client: PrefectClient, reference: str) -> str:
    """The id of a notification block named TYPE/NAME, such as slack-webhook/studio.

    Raises:
        DeployError: it does not exist.
    """
    slug, _, name = reference.partition("/")
    if not name:
        raise DeployError(f"--notify {reference}: give TYPE/NAME, such as slack-webhook/studio.")
    try:
        found = await client.read_block_document_by_name(
            name=name, block_type_slug=slug, include_secrets=False
        )
    except ObjectNotFound:
        raise DeployError(
            f"The server has no block {reference}: make it in the UI under Blocks, or see `prefect block ls`."
        ) from None
    return str(found.id)


async def _applied(
    client: PrefectClient, kind: Kind, wanted: AutomationCore, found: Automation | None, *, dry_run: bool
) -> Change:
    if found is None:
        made = None if dry_run else str(await client.create_automation(wanted))
        return Change(kind=kind, name=wanted.name, what="created", id=made, note=_switch(wanted))
    wanted = wanted.model_copy(update={"enabled": found.enabled})
    fields = differing(_comparable(wanted), _comparable(found))
    if fields and not dry_run:
        # The server takes no owner here, and keeps the one that it has.
        unowned = AutomationCore.model_validate(wanted.model_dump(mode="json", exclude={"owner_resource"}))
        await client.update_automation(found.id, unowned)
    return Change(
        kind=kind,
        name=wanted.name,
        what="updated" if fields else "unchanged",
        id=str(found.id),
        fields=fields,
        note=_switch(found),
    )


def _trigger(deployment: str, number: int, spec: dict[str, Any], deployment_id: str | None) -> AutomationCore:
    events = ", ".join(map(str, spec.get("expect") or ["an event of its trigger"]))
    spec = {
        "name": f"{deployment}__automation_{number}",
        "description": f"Starts a run of the deployment {deployment} for each event {events}.",
        **spec,
    }
    try:
        trigger = _TRIGGER.validate_python(spec)
    except ValidationError as error:
        raise _invalid(f"trigger {spec['name']} of {deployment}", error) from None
    trigger.set_deployment_id(deployment_id or _NO_ID)
    automation: AutomationCore = trigger.as_automation()
    # Once more from plain data, so that ids are of the types that the server's answer has.
    return AutomationCore.model_validate(automation.model_dump(mode="json"))


def _automation(spec: dict[str, Any], block: str | None) -> AutomationCore:
    try:
        return AutomationCore.model_validate(_with_block(copy.deepcopy(spec), block))
    except ValidationError as error:
        raise _invalid(f"automation {spec.get('name')}", error) from None


def _invalid(what: str, error: ValidationError) -> DeployError:
    problems = "; ".join(
        f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors()
    )
    return DeployError(f"Prefect takes no such {what}: {problems}.")


def _with_block(value: Any, block: str | None) -> Any:
    if isinstance(value, dict):
        return {name: _with_block(each, block) for name, each in value.items()}
    if isinstance(value, list):
        return [_with_block(each, block) for each in value]
    return block if value == NOTIFY else value


def _needs_block(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_needs_block(each) for each in value.values())
    if isinstance(value, list):
        return any(_needs_block(each) for each in value)
    return bool(value == NOTIFY)


def _block_of(found: Automation | None) -> str | None:
    blocks = [getattr(each, "block_document_id", None) for each in (found.actions if found else ())]
    return next((str(each) for each in blocks if each is not None), None)


def _named(found: Iterable[Automation], name: str) -> Automation | None:
    return next((each for each in found if each.name == name), None)


def _same(found: Iterable[Automation], wanted: AutomationCore) -> Automation | None:
    """One under another name that does the same: an earlier deployment's, whose switch is to be kept."""
    what = ("trigger", "actions")
    mine = _comparable(wanted)
    return next((each for each in found if all(_comparable(each)[name] == mine[name] for name in what)), None)


def _comparable(automation: AutomationCore) -> dict[str, object]:
    """What an automation says, in plain data that two equal ones share: sets have no order."""
    data = automation.model_dump(mode="json", exclude={"id", "owner_resource", "enabled"})
    return {name: _sorted_sets(value) for name, value in data.items() if name in AutomationCore.model_fields}


def _sorted_sets(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: sorted(each) if name in ("after", "expect", "for_each") else _sorted_sets(each)
            for name, each in value.items()
        }
    return [_sorted_sets(each) for each in value] if isinstance(value, list) else value


def _switch(automation: AutomationCore) -> str:
    return "on" if automation.enabled else "off"
