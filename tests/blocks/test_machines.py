"""A run that goes to several machines is known before it spends: by its work pool, or by its task runner."""

from pathlib import Path
from typing import Any

import pytest
from forked import run_forked
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.states import Pending
from prefect.task_runners import ThreadPoolTaskRunner
from prefect_dask import DaskTaskRunner
from support import submits

from prefect_ltx.blocks.machines import several_machines
from prefect_ltx.flows import ingredient_to_video
from prefect_ltx.local import LocalFal

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("prefect_server")]


@pytest.mark.parametrize(
    ("runner", "expected"),
    [
        (ThreadPoolTaskRunner(), None),
        (DaskTaskRunner(), None),
        (DaskTaskRunner(address="tcp://10.0.0.7:8786"), "the tasks of this run go to a Dask cluster"),
        (
            DaskTaskRunner(cluster_class="distributed.SSHCluster"),
            "the tasks of this run go to a Dask cluster",
        ),
    ],
    ids=["threads", "dask here", "dask by address", "dask over SSH"],
)
async def test_task_runner(runner: Any, expected: str | None) -> None:
    """A Dask cluster of this machine's own is one machine; one that is reached by an address is several."""
    from prefect.context import FlowRunContext

    context = FlowRunContext.model_construct(task_runner=runner, flow_run=None)
    with context:
        assert await several_machines() == expected


@pytest.mark.parametrize(("kind", "refused"), [("docker", True), ("kubernetes", True), ("process", False)])
async def test_work_pool(kind: str, refused: bool, fal: LocalFal, ltx_env: Path, media_folder: Path) -> None:
    """A run of a docker or kubernetes pool with a SQLite ledger fails before anything is sent; the same run of a
    process pool makes its video."""
    name = f"pool-{kind}"
    request = {
        "prompt": "A cup",
        "image_url": str(media_folder / "sheet.png"),
        "num_frames": 9,
        "resolution": {"width": 256, "height": 128},
        "seed": 1,
    }
    async with get_client() as client:
        await client.create_work_pool(WorkPoolCreate(name=name, type=kind))
        deployment = await client.create_deployment(
            flow_id=await client.create_flow(ingredient_to_video),
            name=f"to-{kind}",
            work_pool_name=name,
            entrypoint="prefect_ltx.flows:ingredient_to_video",
            pull_steps=[],
        )
        run = await client.create_flow_run_from_deployment(
            deployment, parameters={"request": request, "recipe": "none"}, state=Pending()
        )
        # What a container of the pool does: it executes the run that its environment names.
        done = run_forked(
            *("-m", "prefect.engine", str(run.id)), env={**_environ(), "PREFECT__FLOW_RUN_ID": str(run.id)}
        )
        state = (await client.read_flow_run(run.id)).state
    assert state is not None
    if refused:
        assert state.is_failed(), done.stderr[-3000:]
        assert f"the work pool {name} is of type {kind}".lower() in str(state.message).lower()
        assert "Nothing was sent or spent" in str(state.message)
        assert submits(fal) == len(fal.bill) == 0
    else:
        assert state.is_completed(), done.stderr[-3000:]
        assert len(fal.bill) == 1


def _environ() -> dict[str, str]:
    import os

    from prefect.settings import PREFECT_API_URL

    return {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())}


async def test_nothing_says_several(fal: LocalFal) -> None:
    """A flow that is run by hand, in a subflow or not, is one machine."""

    @flow
    async def inner() -> str | None:
        return await several_machines()

    @flow
    async def outer() -> str | None:
        return await inner()

    assert await outer() is None
    assert await several_machines() is None
