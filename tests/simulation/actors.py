"""What the processes of a history do: runs of flows, batches, sweeps, pollers, cancels, the webhook receiver.

Each is the composition that the product ships, with its services handed in.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from loop import current
from material import FRAMES, SIZE, material
from world import EXPLAINED, Want, World

from prefect_ltx.batch import Batch, BatchInvalid, BatchRun, plan_rows
from prefect_ltx.batch.rows import Row
from prefect_ltx.fal import IngredientRequest
from prefect_ltx.generation import Services, prepare
from prefect_ltx.generation.cancel import cancel
from prefect_ltx.generation.lease import hold
from prefect_ltx.generation.life import Order, begin, finish, generate
from prefect_ltx.generation.options import Options
from prefect_ltx.generation.steps import Run, plain_steps
from prefect_ltx.ledger import UNFINISHED, Generation, State
from prefect_ltx.recovery import ask_in_flight, sweep_all


def request_of(want: Want) -> IngredientRequest:
    """What is asked of fal."""
    return IngredientRequest(
        prompt=want.prompt,
        image_url=str(material().sheet),
        num_frames=FRAMES,
        resolution={"width": SIZE[0], "height": SIZE[1]},
        video_write_mode="fast",
        seed=want.seed,
    )


async def opened(world: World, services: Services) -> None:
    """Find out what answers, and wait less often than by day."""
    await services.begin()
    fields = dict(vars(services.options)) | {"poll_most": 45.0}
    services.options = Options(**fields)


async def run_flow(world: World, want: Want, *, retries: int = 0, key: str = "first") -> None:
    """One run of a flow, tried again as a flow with retries is."""
    async with _Opened(world, key=key) as services:
        for attempt in range(retries + 1):
            if attempt:
                await asyncio.sleep(20)
            if await _tried(world, want, lambda: _generated(world, services, want)):
                return


async def run_twice(world: World, want: Want) -> None:
    """One run that asks for the same video twice at once, as a composed flow may: one owner, one purchase."""
    async with _Opened(world) as services:
        owner = world.owner()

        async def once() -> None:
            ready = await prepare(services, request_of(want), owner=owner, seed_scope=want.run_id)
            await generate(plain_steps(services), ready, Order(owner, want.run_id, recipe="none"))

        await asyncio.gather(*(_tried(world, want, once) for _ in range(2)))


async def run_batch(world: World, wants: list[Want]) -> None:
    """A batch of these, as the command line runs one."""
    async with _Opened(world) as services:
        await _batch(world, services, wants)


async def _batch(world: World, services: Services, wants: list[Want]) -> None:
    run = Run.begin(services, at_fal=2)
    world.chance.happened[f"batch/{_me(world)}"] = "batch"
    for want in wants:
        want.tries += 1
        if want.seed is None:
            world.chance.happened[f"batch/{want.run_id}"] = "row without a seed in a batch"
    try:
        rows = [Row(place, want.run_id, request_of(want)) for place, want in enumerate(wants, 1)]
        batch = Batch("batch", tuple(rows))
        planned = await plan_rows(run, batch, flow_run_id="batch")
        work = BatchRun(run, batch.name, planned, 2, "none", flow_run_id="batch", new_owner=world.owner)
        ends = await asyncio.gather(*(work.do(each) for each in planned))
    except (BatchInvalid, *EXPLAINED) as error:
        ends = []
        for want in wants:
            want.ends.append(f"{type(error).__name__}: {error}")
        world.words.say(f"{type(error).__name__}: {error}")
    finally:
        await run.aclose()
    for want, result in zip(wants, ends, strict=False):
        had = result.status in ("archived", "reused")
        end = "archived" if had else f"row {result.status}: {result.reason}"
        want.ends.append(end)
        want.archived = want.archived or had
        if "unexpected " in result.reason:
            world.failures.append(f"a batch met {result.reason}")
        world.words.say(end)
        world.tell(_me(world), f"{want.run_id} is {end}")


async def submit_only(world: World, want: Want) -> None:
    """Only the first half; somebody else collects."""
    async with _Opened(world) as services:

        async def begun() -> None:
            owner = world.owner()
            ready = await prepare(services, request_of(want), owner=owner, seed_scope=want.run_id)
            async with AsyncExitStack() as stay:
                await begin(plain_steps(services), ready, Order(owner, want.run_id, recipe="none"), stay)

        await _tried(world, want, begun, archived=False)


async def finish_runs(world: World) -> None:
    """Collect what is submitted and nobody works on, as the deployment that an announcement triggers does."""
    async with _Opened(world) as services:
        for row in await services.ledger.unheld([State.SUBMITTED, State.COMPLETED, State.COLLECTED]):
            if services.ledger.is_ours(row):
                await _explained(world, lambda row=row: _finished(world, services, row))


async def end(world: World) -> None:
    """In a world that is well: sweeps, with time between them where something is left, and what was wanted, and not
    had, once more."""
    async with _Opened(world) as services:
        for pause in (0.0, 3000.0, 9000.0):
            await asyncio.sleep(pause)
            await _swept(world, services)
            if not await _is_left(services):
                break
        lacking = [want for want in world.wants if not want.archived]
        if not lacking and world.chance.fraction("what is had is asked for again") < 0.3:
            lacking = world.wants[:1]
        if any(want.in_batch for want in lacking):
            await _batch(world, services, [want for want in world.wants if want.in_batch])
        for want in (each for each in lacking if not each.in_batch):
            await _tried(world, want, lambda want=want: _generated(world, services, want))
        if await _is_left(services):
            await asyncio.sleep(400)
            await _swept(world, services)


async def _is_left(services: Services) -> bool:
    """Whether there is anything that a sweep could still do."""
    rows = await services.ledger.unfinished()
    return any(row.state not in (State.PARKED, State.LOST) for row in rows) or bool(
        await services.ledger.unsettled(by_billing=True)
    )


async def sweep(world: World, *, other: bool = False) -> None:
    """One sweep; of another account several, as a schedule makes them."""
    async with _Opened(world, other=other) as services:
        for pause in (0, 15, 30, 45) if other else (0,):
            await asyncio.sleep(pause)
            await _explained(world, lambda: _swept(world, services))


async def _swept(world: World, services: Services) -> None:
    report = await sweep_all(services, world.owner(), recipe="none", quality="off")
    world.reports.append(report)
    for line in (*report.notes, *report.broken, *(item.note for item in report.items)):
        world.words.say(line)
    world.failures += [f"a sweep met {line}" for line in report.broken if "Unexpected" in line]
    world.tell(_me(world), f"has swept: {report.model_dump_json(exclude_defaults=True)}")


async def poll(world: World) -> None:
    """One round of the in-flight poller."""
    async with _Opened(world) as services:

        async def asked() -> None:
            report = await ask_in_flight(services)
            for line in (*report.notes, *report.broken):
                world.words.say(line)
            world.failures += [f"the poller met {line}" for line in report.broken]

        await _explained(world, asked)


async def cancel_something(world: World) -> None:
    """A person waits until something is under way, and cancels it."""
    async with _Opened(world) as services:
        rows: list[Generation] = []
        for _ in range(20):
            rows = [row for row in await services.ledger.find(live=True, states=UNFINISHED) if row.is_live]
            if rows:
                break
            await asyncio.sleep(3)
        await asyncio.sleep(world.chance.skewed(f"{_me(world)}/thinks", 0.01, 30))
        for row in rows[:1]:
            world.tell(_me(world), f"cancels {row.id[:8]}")
            world.chance.happened[world.chance.numbered("cancel")] = "person cancels"

            async def cancelled(row: Generation = row) -> None:
                await cancel(services, row.id, world.owner(), by="a person")

            await _explained(world, cancelled)


async def _generated(world: World, services: Services, want: Want) -> None:
    owner = world.owner()
    ready = await prepare(services, request_of(want), owner=owner, seed_scope=want.run_id)
    await generate(plain_steps(services), ready, Order(owner, want.run_id, recipe="none"))


async def _finished(world: World, services: Services, row: Generation) -> None:
    owner = world.owner()
    async with hold(services, row.id, owner) as generation:
        await finish(plain_steps(services), generation, Order(owner, recipe="none"))


async def _tried(
    world: World, want: Want, work: Callable[[], Awaitable[None]], *, archived: bool = True
) -> bool:
    """Whether it went well; how it ended is remembered."""
    want.tries += 1
    me = _me(world)
    world.tell(me, f"begins {want.run_id} ({want.prompt}, seed {want.seed})")
    try:
        await work()
    except EXPLAINED as error:
        text = f"{type(error).__name__}: {error}"
        want.ends.append(text)
        world.words.say(text)
        world.tell(me, f"{want.run_id} ends without a video: {text}")
        return False
    want.ends.append("archived" if archived else "submitted")
    want.archived = want.archived or archived
    world.tell(me, f"{want.run_id} is {want.ends[-1]}")
    return True


async def _explained(world: World, work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except EXPLAINED as error:
        world.words.say(f"{type(error).__name__}: {error}")
        world.tell(_me(world), f"{type(error).__name__}: {error}")


class _Opened:
    """The services of the running process; an end that explains itself is no failure."""

    def __init__(self, world: World, *, other: bool = False, key: str = "first") -> None:
        self._world, self._other, self._key = world, other, key
        self._services: Services | None = None

    async def __aenter__(self) -> Services:
        self._services = self._world.services(other=self._other, key=self._key)
        await opened(self._world, self._services)
        return self._services

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        if self._services is not None:
            await self._services.aclose()


def _me(world: World) -> str:
    process = current()
    return process.name if process else "somebody"
