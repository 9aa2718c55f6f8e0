"""Helpers that tests of several rooms share."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from prefect_ltx.local import LocalFal

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

SECRET = "keyid-for-tests:s3cr3t-value-for-tests"


def environment(url: str, folder: Path) -> dict[str, str]:
    """The settings of a user whose fal is at `url` and whose files are below `folder`."""
    return {
        "FAL_KEY": SECRET,
        "PREFECT_LTX_FAL_URL": url,
        "PREFECT_LTX_HOME": str(folder / "home"),
        "PREFECT_LTX_LEDGER": f"sqlite:///{folder / 'ledger.db'}",
        "PREFECT_LTX_ARCHIVE": str(folder / "archive"),
    }


def submits(fal: LocalFal) -> int:
    """How many POSTs to one of the two endpoints arrived at the server."""
    return sum(1 for method, path, _ in fal.log if method == "POST" and "/ltx-2.3-quality/" in path)


async def paused_run() -> "FlowRun":
    """Wait for the run that is paused now; asked by state, since one server holds the runs of all tests."""
    from prefect.client.orchestration import get_client  # Prefect is imported only where it is asked for.
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    paused = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED])))
    async with get_client() as client, asyncio.timeout(180):
        while True:
            runs = await client.read_flow_runs(
                flow_run_filter=paused, sort=FlowRunSort.START_TIME_DESC, limit=1
            )
            if runs:
                return runs[0]
            await asyncio.sleep(0.1)


async def form_text(run: "FlowRun") -> str:
    """What the form of a run that waits says above its fields; it is there a moment after the run is paused."""
    from prefect.client.orchestration import get_client

    assert run.state is not None
    keys: dict[str, Any] = run.state.state_details.run_input_keyset or {}
    async with get_client() as client, asyncio.timeout(60):
        while True:
            with contextlib.suppress(httpx.HTTPStatusError):
                return str(
                    json.loads((await client.read_flow_run_input(run.id, keys["description"])) or '""')
                )
            await asyncio.sleep(0.1)


async def answered(**answer: Any) -> str:
    """Answer the run that waits; what it showed."""
    from prefect.client.orchestration import get_client

    run = await paused_run()
    text = await form_text(run)
    async with get_client() as client:
        assert (await client.resume_flow_run(run.id, run_input=answer)).status.value == "ACCEPT"
    return text
