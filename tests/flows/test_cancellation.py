"""A person's cancel cancels the paid job; a stopped worker does not."""

import asyncio
import os
import signal
import subprocess
import uuid
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from forked import programs
from prefect import Flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling
from support import environment, submits

from prefect_ltx.flows import generate_batch, ingredient_to_video
from prefect_ltx.generation import Services
from prefect_ltx.ledger import Ledger, Owner, State
from prefect_ltx.local import LocalFal
from prefect_ltx.recovery import sweep_all
from prefect_ltx.settings import Settings

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # Prefect's own client
    pytest.mark.timeout(240),
]


TYPED = "the cup, second try"


@pytest.fixture
async def client() -> AsyncIterator[PrefectClient]:
    async with get_client() as found:
        yield found


@pytest.fixture
async def worker(
    fal: LocalFal, ltx_env: Path, client: PrefectClient
) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A process worker of a pool of its own, in the environment of the test's user."""
    pool = f"pool-{uuid.uuid4().hex[:8]}"
    await client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    environ = (
        os.environ
        | environment(fal.url, ltx_env)
        | {
            "PREFECT_API_URL": str(PREFECT_API_URL.value()),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }
    )
    with (ltx_env / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [programs() / "prefect", "worker", "start", "--pool", pool],
            env=environ,
            cwd=ltx_env,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    process.pool = pool  # type: ignore[attr-defined]
    yield process
    if process.poll() is None:
        process.terminate()
    process.wait(60)


def request(sheet: Path) -> dict[str, Any]:
    return {
        "prompt": "Reference sheet: a cup. Generated video: it turns.",
        "image_url": str(sheet),
        "num_frames": 9,
        "resolution": {"width": 256, "height": 128},
    }


async def start(client: PrefectClient, pool: str, sheet: Path) -> UUID:
    """Start a run of the ingredient flow on the pool; gives its id."""
    where = "prefect_ltx.flows.generate:ingredient_to_video"
    return await start_flow(client, pool, ingredient_to_video, where, request=request(sheet))


async def start_flow(
    client: PrefectClient, pool: str, flow: Flow[..., Any], entrypoint: str, **parameters: Any
) -> UUID:
    """Start a run of a flow on the pool; gives its id."""
    deployment = await client.create_deployment(
        flow_id=await client.create_flow(flow),
        name=f"test-{uuid.uuid4().hex[:8]}",
        entrypoint=entrypoint,
        work_pool_name=pool,
        pull_steps=[],
    )
    run = await client.create_flow_run_from_deployment(deployment, parameters=parameters, name=TYPED)
    return run.id


async def until(condition: object, seconds: float = 90) -> None:
    async with asyncio.timeout(seconds):
        while not (await found if asyncio.iscoroutine(found := condition()) else found):  # type: ignore[operator]
            await asyncio.sleep(0.2)


async def contains(text: Awaitable[str], part: str) -> bool:
    return part in await text


def polled(fal: LocalFal) -> bool:
    return sum(path.endswith("/status") for _, path, _ in fal.log) >= 2


async def test_cancelling_the_run_cancels_the_paid_job(
    fal: LocalFal, ltx_env: Path, client: PrefectClient, worker: subprocess.Popen[bytes], media_folder: Path
) -> None:
    """Cancelling the flow run by the API cancels the queued job at fal; the ledger and the run's own log say what
    it cost. The run keeps the name that a person typed.
    """
    fal.faults.add("stuck_queue")
    run_id = await start(client, worker.pool, media_folder / "sheet.png")  # type: ignore[attr-defined]
    await until(lambda: polled(fal))
    await client.set_flow_run_state(run_id, Cancelling())

    async def cancelled() -> bool:
        state = (await client.read_flow_run(run_id)).state
        return state is not None and state.is_cancelled()

    await until(cancelled)
    ledger = Ledger(environment(fal.url, ltx_env)["PREFECT_LTX_LEDGER"])
    await until(lambda: [row.state for row in ledger.find()] == [State.CANCELLED])
    (row,) = ledger.find()
    assert row.flow_run_id == str(run_id)
    assert (row.held_usd, len(fal.bill)) == (0, 0)
    run = await client.read_flow_run(run_id)
    assert run.name == TYPED

    async def told() -> str:
        chosen = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id]))
        return "\n".join(log.message for log in await client.read_logs(log_filter=chosen))

    await until(lambda: contains(told(), "it costs nothing"))


async def test_cancelling_a_batch_cancels_every_row_at_fal(
    fal: LocalFal, ltx_env: Path, client: PrefectClient, worker: subprocess.Popen[bytes], media_folder: Path
) -> None:
    """A batch cancelled under a worker: what is at fal is cancelled, the other rows never begin, nothing is owed."""
    fal.faults.add("stuck_queue", times=-1)
    rows = [request(media_folder / "sheet.png") | {"seed": seed} for seed in range(6)]
    run_id = await start_flow(
        client,
        worker.pool,  # type: ignore[attr-defined]
        generate_batch,
        "prefect_ltx.flows.batch:generate_batch",
        source=rows,
        name="stopped",
        concurrency=3,
        recipe="none",
    )
    ledger = Ledger(environment(fal.url, ltx_env)["PREFECT_LTX_LEDGER"])
    await until(lambda: len(ledger.find(states=[State.SUBMITTED])) == 3)
    await client.set_flow_run_state(run_id, Cancelling())

    async def cancelled() -> bool:
        state = (await client.read_flow_run(run_id)).state
        return state is not None and state.is_cancelled()

    await until(cancelled)
    await until(lambda: {row.state for row in ledger.find()} == {State.CANCELLED})
    assert (submits(fal), len(fal.bill), sum(row.held_usd for row in ledger.find())) == (3, 0, 0)
    assert {row.flow_run_id for row in ledger.find()} == {str(run_id)}


async def test_stopping_the_worker_keeps_the_paid_job(
    fal: LocalFal, ltx_env: Path, client: PrefectClient, worker: subprocess.Popen[bytes], media_folder: Path
) -> None:
    """SIGTERM to the worker, as a deploy or a scale-down sends it, leaves the job running; the sweep collects it."""
    fal.faults.add("stuck_queue")
    await start(client, worker.pool, media_folder / "sheet.png")  # type: ignore[attr-defined]
    await until(lambda: polled(fal))
    worker.send_signal(signal.SIGTERM)
    await asyncio.to_thread(worker.wait, 90)
    fal.faults.clear()
    await until(lambda: len(fal.bill) == 1)
    async with Services.from_settings(Settings()) as services:
        ledger = services.ledger.ledger
        (row,) = ledger.find()
        assert (row.state, row.cancel) == (State.SUBMITTED, "none")
        await sweep_all(services, Owner.here(announces_posts=True))
        assert [each.state for each in ledger.find()] == [State.ARCHIVED]
    assert len(fal.bill) == 1
