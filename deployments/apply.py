"""One run of `prefect-ltx deploy`: blocks, pools, deployments, triggers and automations, in this order.

Everything is read first and written only where it differs, so that a second run changes nothing.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from prefect import Flow, get_client
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import PrefectHTTPStatusError
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL

from prefect_ltx.blocks.machines import ONE_MACHINE_POOLS
from prefect_ltx.deployments import AUTOMATIONS_FILE, PREFECT_FILE
from prefect_ltx.deployments.automated import notification_block, sync_automations, sync_triggers
from prefect_ltx.deployments.block_store import existing_blocks, register_types, save_blocks
from prefect_ltx.deployments.changes import DeployError, DeployReport
from prefect_ltx.deployments.deployed import collects, deploy_one, desired_of, read_deployed
from prefect_ltx.deployments.files import Deployment, read_automations, read_deployments
from prefect_ltx.deployments.places import kept_by, pool_of, shell_places
from prefect_ltx.deployments.pools import ensure_pools
from prefect_ltx.settings import Settings


@dataclass(frozen=True)
class DeployOptions:
    """What a person asked for."""

    pool: str | None = None
    """Work pool of all deployments; None: the one that they have, or the file's."""
    blocks: str | None = None
    """Name of the blocks that the deployments are to use."""
    save_blocks: bool = False
    """Save those blocks from the environment first."""
    notify: str | None = None
    """Notification block for the automations, TYPE/NAME."""
    prefect_file: Path = PREFECT_FILE
    automations_file: Path = AUTOMATIONS_FILE
    dry_run: bool = False


async def deploy(options: DeployOptions) -> DeployReport:
    """Bring everything to the Prefect server in use.

    Raises:
        DeployError: a file or an option is wrong, or there is no server; what was written before stays, and running
            it again goes on.
    """
    wanted = read_deployments(options.prefect_file)
    flows = {each.name: _flow(each) for each in wanted}
    automations = read_automations(options.automations_file)
    async with _server() as (client, url):
        report = DeployReport(server=url, dry_run=options.dry_run)
        dry_run = options.dry_run
        notify = await notification_block(client, options.notify) if options.notify else None
        report.add(await register_types(client, dry_run=dry_run))
        names: dict[str, str] = {}
        if options.blocks and options.save_blocks:
            names, saved = await save_blocks(client, options.blocks, Settings(), dry_run=dry_run)
            report.add(saved)
        if options.blocks:
            names = {**await existing_blocks(client, options.blocks), **names}
            if not names:
                raise DeployError(
                    f"The server has no blocks named {options.blocks}; --save-blocks makes them from the environment."
                )
        found = {each.name: await read_deployed(client, flows[each.name], each.name) for each in wanted}
        for each in wanted:
            there = found[each.name]
            each.work_pool.name = options.pool or (there and there.work_pool_name) or each.work_pool.name
        queues = [(each.work_pool.name, each.work_pool.work_queue_name) for each in wanted]
        report.add(await ensure_pools(client, queues, dry_run=dry_run))
        settings = Settings()
        environ, report.not_written = shell_places(settings)
        pools = {name: await pool_of(client, name) for name in {pool for pool, _ in queues}}
        for each in wanted:
            pool = pools[each.work_pool.name]
            desired = desired_of(
                each,
                flows[each.name],
                found[each.name],
                names,
                environ if pool.type in ONE_MACHINE_POOLS else {},
            )
            problem = ""
            if collects(desired):
                kept = await kept_by(client, settings, pool, desired["parameters"], desired["job_variables"])
                problem = kept.problem
                report.places += [place for place in kept.places if place not in report.places]
            deployment_id, changes = await deploy_one(
                client, each, flows[each.name], found[each.name], desired, problem=problem, dry_run=dry_run
            )
            report.refused += [
                f"{change.name}: {problem}"
                for change in changes
                if change.kind == "schedule" and change.what == "left out"
            ]
            report.add(changes)
            report.add(await sync_triggers(client, each.name, deployment_id, each.triggers, dry_run=dry_run))
        report.add(await sync_automations(client, automations, notify=notify, dry_run=dry_run))
    return report


def _flow(deployment: Deployment) -> "Flow[Any, Any]":
    try:
        return load_flow_from_entrypoint(deployment.entrypoint)
    except Exception as error:
        raise DeployError(
            f"{deployment.name}: {deployment.entrypoint} is no flow here: {error}. Nothing was changed."
        ) from None


@asynccontextmanager
async def _server() -> AsyncIterator[tuple[PrefectClient, str]]:
    """A client of the server in use. Prefect's own temporary server does not count: it forgets everything."""
    url = PREFECT_API_URL.value()
    if not url:
        raise DeployError(
            "No Prefect server: start one with `prefect server start` and set PREFECT_API_URL, such as "
            "http://127.0.0.1:4200/api. Nothing was changed."
        )
    shown = httpx.URL(url).copy_with(username=None, password=None, query=None)
    try:
        async with get_client() as client:
            if (problem := await client.api_healthcheck()) is not None:
                raise _unreachable(str(shown), problem)
            yield client, str(shown)
    except httpx.TransportError as error:
        raise _unreachable(str(shown), error) from None
    except PrefectHTTPStatusError as error:
        raise _refused(str(shown), error) from None


def _unreachable(url: str, problem: Exception) -> DeployError:
    return DeployError(
        f"The Prefect server at {url} does not answer ({type(problem).__name__}): start it, or correct "
        "PREFECT_API_URL. What was deployed before stays; run the command again."
    )


def _refused(url: str, error: PrefectHTTPStatusError) -> DeployError:
    status = error.response.status_code
    if status in (401, 403):
        return DeployError(
            f"The Prefect server at {url} refuses this client ({status}): set PREFECT_API_KEY (Prefect Cloud) or "
            "PREFECT_API_AUTH_STRING."
        )
    detail = " ".join(error.response.text.split())[:300]
    return DeployError(
        f"The Prefect server at {url} refused {error.request.method} {error.request.url.path} ({status}): {detail}"
    )
