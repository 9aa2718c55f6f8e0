"""A deployment and its schedules on the server: made, or brought to what the file says, and else left alone.

Prefect's own `prefect deploy` writes everything each time, and gives triggers new ids. Here only what differs is
written. What people did on the server stays: schedules switched on or off, pauses, schedules, tags and default
parameters of their own.
"""

from typing import Any

from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.objects import ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.exceptions import ObjectNotFound

import prefect_ltx
from prefect_ltx.deployments.changes import Change, differing
from prefect_ltx.deployments.files import ConcurrencyLimit, Deployment, Schedule

_ANCHOR = "2020-01-01T00:00:00Z"
"""Where intervals are counted from: Prefect's default is the moment of the deployment, another one each time."""


async def read_deployed(
    client: PrefectClient, flow: "Flow[Any, Any]", name: str
) -> DeploymentResponse | None:
    """The deployment as the server has it; None where it has none."""
    try:
        return await client.read_deployment_by_name(f"{flow.name}/{name}")
    except ObjectNotFound:
        return None


async def deploy_one(
    client: PrefectClient,
    wanted: Deployment,
    flow: "Flow[Any, Any]",
    found: DeploymentResponse | None,
    desired: dict[str, Any],
    *,
    problem: str,
    dry_run: bool,
) -> tuple[str | None, list[Change]]:
    """Create or update one deployment and its schedules.

    A schedule that would run by itself is left out where there is a `problem`; one that is on the server already keeps
    its switch.

    Args:
        client: of the server in use.
        wanted: what the file says, with the work pool that is to be used.
        flow: the flow that its entrypoint names.
        found: what the server has.
        desired: what it is to be, as `desired_of` says.
        problem: why its runs would lose what they collect; empty where they would not.
        dry_run: write nothing.

    Returns:
        the deployment's id (None where it is only planned) and what was done.
    """
    if found is None:
        kept = [each for each in wanted.schedules if not (problem and each.active)]
        made = None if dry_run else str(await _create(client, wanted, kept, flow, desired))
        change = Change(kind="deployment", name=wanted.name, what="created", id=made)
        return made, [
            change,
            *(
                _schedule_change(wanted, each, "created", note=_switch(each))
                if each in kept
                else _schedule_change(wanted, each, "left out", note=problem)
                for each in wanted.schedules
            ),
        ]
    fields = differing(desired, _as_found(found))
    if fields and not dry_run:
        await client.update_deployment(found.id, DeploymentUpdate(**{name: desired[name] for name in fields}))
    changes = [
        Change(
            kind="deployment",
            name=wanted.name,
            what="updated" if fields else "unchanged",
            id=str(found.id),
            fields=fields,
            note="paused" if found.paused else "",
        )
    ]
    for schedule in wanted.schedules:
        changes.append(await _scheduled(client, wanted, schedule, found, problem=problem, dry_run=dry_run))
    return str(found.id), changes


def collects(desired: dict[str, Any]) -> bool:
    """Whether its runs put something into an archive: then they name one among their parameters."""
    return "archive" in desired["parameter_openapi_schema"]["properties"]


def desired_of(
    wanted: Deployment,
    flow: "Flow[Any, Any]",
    found: DeploymentResponse | None,
    parameters: dict[str, Any],
    environ: dict[str, str],
) -> dict[str, Any]:
    """What a deployment is to be on the server: the file, with what people added there.

    Args:
        wanted: what the file says.
        flow: the flow that its entrypoint names.
        found: what the server has.
        parameters: default parameters besides the file's, which win over those on the server.
        environ: environment variables for its job variables.
    """
    schema = flow.parameters.model_dump(exclude_unset=True)
    takes = schema["properties"]
    theirs = found.parameters if found else {}
    limit, options = _limit(wanted.concurrency_limit)
    return {
        "version": wanted.version or prefect_ltx.__version__,
        "description": wanted.description or flow.description,
        "tags": list(dict.fromkeys([*wanted.tags, *(found.tags if found else ())])),
        # What the flow takes no longer would fail every run.
        "parameters": {
            name: value
            for name, value in {**theirs, **wanted.parameters, **parameters}.items()
            if name in takes
        },
        "parameter_openapi_schema": schema,
        "enforce_parameter_schema": True,
        "entrypoint": wanted.entrypoint,
        "path": None,
        "pull_steps": [],
        "work_pool_name": wanted.work_pool.name,
        "work_queue_name": wanted.work_pool.work_queue_name or "default",
        "job_variables": _job_variables(found.job_variables if found else {}, wanted, environ),
        "concurrency_limit": limit,
        "concurrency_options": options,
    }


def _job_variables(
    theirs: dict[str, Any] | None, wanted: Deployment, environ: dict[str, str]
) -> dict[str, Any]:
    variables = {**(theirs or {}), **wanted.work_pool.job_variables}
    env = {
        **((theirs or {}).get("env") or {}),
        **(wanted.work_pool.job_variables.get("env") or {}),
        **environ,
    }
    return {**variables, "env": env} if env else variables


def _as_found(found: DeploymentResponse) -> dict[str, Any]:
    limit = found.global_concurrency_limit
    return {
        **found.model_dump(
            include={
                "version",
                "description",
                "tags",
                "parameters",
                "parameter_openapi_schema",
                "enforce_parameter_schema",
                "entrypoint",
                "path",
                "work_pool_name",
                "work_queue_name",
                "job_variables",
            }
        ),
        "pull_steps": found.pull_steps or [],
        "concurrency_limit": limit.limit if limit else None,
        "concurrency_options": found.concurrency_options,
    }


def _limit(wanted: int | ConcurrencyLimit | None) -> tuple[int | None, ConcurrencyOptions | None]:
    if wanted is None or isinstance(wanted, int):
        return wanted, None
    return wanted.limit, ConcurrencyOptions.model_validate({"collision_strategy": wanted.collision_strategy})


async def _create(
    client: PrefectClient,
    wanted: Deployment,
    kept: list[Schedule],
    flow: "Flow[Any, Any]",
    desired: dict[str, Any],
) -> object:
    schedules = [
        DeploymentScheduleCreate(
            schedule=_when(each), active=each.active, parameters=each.parameters, slug=each.slug
        )
        for each in kept
    ]
    return await client.create_deployment(
        flow_id=await client.create_flow_from_name(flow.name),
        name=wanted.name,
        schedules=schedules,
        **desired,
    )


async def _scheduled(
    client: PrefectClient,
    wanted: Deployment,
    schedule: Schedule,
    found: DeploymentResponse,
    *,
    problem: str,
    dry_run: bool,
) -> Change:
    there = {each.slug: each for each in found.schedules if each.slug}
    known = there.get(schedule.slug) or there.get(schedule.replaces or "")
    when = _when(schedule)
    if known is None and problem and schedule.active:
        return _schedule_change(wanted, schedule, "left out", note=problem)
    if known is None:
        if not dry_run:
            await client.create_deployment_schedules(
                found.id,
                [
                    DeploymentScheduleCreate(
                        schedule=when,
                        active=schedule.active,
                        parameters=schedule.parameters,
                        slug=schedule.slug,
                    )
                ],
            )
        return _schedule_change(wanted, schedule, "created", note=_switch(schedule))
    desired: dict[str, Any] = {"schedule": when, "parameters": schedule.parameters, "slug": schedule.slug}
    fields = differing(desired, {name: getattr(known, name) for name in desired})
    if fields and not dry_run:
        await client.update_deployment_schedule(
            found.id, known.id, **{name: desired[name] for name in fields}
        )
    return Change(
        kind="schedule",
        name=f"{wanted.name}/{schedule.slug}",
        what="updated" if fields else "unchanged",
        id=str(known.id),
        fields=fields,
        note="off" if not known.active else f"on, although {problem}" if problem else "on",
    )


def _schedule_change(wanted: Deployment, schedule: Schedule, what: Any, note: str) -> Change:
    return Change(kind="schedule", name=f"{wanted.name}/{schedule.slug}", what=what, note=note)


def _switch(schedule: Schedule) -> str:
    return "on" if schedule.active else "off until somebody switches it on"


def _when(schedule: Schedule) -> CronSchedule | IntervalSchedule | RRuleSchedule:
    if schedule.cron is not None:
        return CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
    if schedule.interval is not None:
        return IntervalSchedule.model_validate(
            {"interval": schedule.interval, "anchor_date": _ANCHOR, "timezone": schedule.timezone}
        )
    assert schedule.rrule is not None
    return RRuleSchedule(rrule=schedule.rrule, timezone=schedule.timezone)
