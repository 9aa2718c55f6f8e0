"""One history: who does what when, what is killed and stopped, how the world heals, and what is run once more."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import actors
from chance import Chance
from loop import Process
from machines import DISKS
from snapshot import Snapshot, taken
from webhook_server import forge, serve_webhooks
from wire import Weather
from world import Machine, Want, World

Work = Callable[[], Coroutine[Any, Any, None]]

TROUBLED = 150.0
"""Seconds in which things begin, and after which the world heals."""
PATIENCE = 6 * 3600.0
"""Nobody may wait longer than this once the world is well."""
_KILLS = (
    ("step", 4, 900),
    ("statement", 1, 160),
    ("file", 1, 60),
    ("call", 1, 90),
    ("message submit", 1, 2),
    ("message result", 1, 3),
    ("checkpoint after-intent", 1, 2),
    ("checkpoint after-reply", 1, 2),
    ("checkpoint half-downloaded", 1, 2),
    ("checkpoint video-archived", 1, 2),
    ("checkpoint after-manifest", 1, 2),
)


class History:
    """The whole of one seed."""

    def __init__(self, chance: Chance, *, telling: bool = False) -> None:
        self.chance = chance
        self.world = World(chance, telling=telling)
        self.running: list[tuple[asyncio.Task[None], Process]] = []
        self._begins: dict[str, float] = {}

    def play(self) -> Snapshot:
        """Let it happen; what there is in the end."""
        with self.world as world:
            world.loop.run_until_complete(self._happens())
            DISKS.folder = ""
            return taken(world)

    async def _happens(self) -> None:
        world = self.world
        await world.start_fal()
        world.network.weather = Weather(
            world.trouble.messages, world.trouble.slow_submits, world.trouble.slow_listings
        )
        if world.trouble.webhooks:
            await serve_webhooks(world)
        self._draw_actors()
        for machine, jump in zip(world.machines, world.trouble.clock_jumps, strict=True):
            if jump is not None:
                world.loop.call_later(jump[0], self._clock_jumps, machine, jump[1])
        await asyncio.sleep(TROUBLED)
        world.heal()
        await self._all_end("after the world has healed")
        await self._after()

    # -- who is there ------------------------------------------------------------------------------------

    def _draw_actors(self) -> None:
        chance = self.chance
        wants = []
        for number in range(chance.pick("requests", (1, 1, 1, 1, 2, 3))):
            seed = None if chance.fraction(f"request {number}/seedless") < 0.4 else 7 + number
            for run in range(chance.pick(f"request {number}/runs", (1, 1, 1, 2))):
                wants.append(Want(f"run-{number}-{run}", f"Generated video: scene {number}", seed))
        self.world.wants = wants
        if len(wants) > 1 and chance.fraction("batch") < 0.4:
            for want in wants:
                want.in_batch = True
            self._worker("batch", lambda: actors.run_batch(self.world, wants))
            if chance.fraction("batch/twice") < 0.3:
                self._worker("batch begun twice", lambda: actors.run_batch(self.world, wants))
        else:
            for want in wants:
                self._one(want)
        for number in range(chance.pick("sweeps", (0, 0, 1, 2))):
            other = chance.fraction(f"sweep {number}/other") < 0.2
            name = f"stranger's sweep {number}" if other else f"sweep {number}"
            self._worker(name, lambda other=other: actors.sweep(self.world, other=other))
        if chance.fraction("poller") < 0.25:
            self._worker("poller", lambda: actors.poll(self.world))
        if self.world.trouble.webhooks and chance.fraction("forger") < 0.25:
            self._worker("forger", lambda: forge(self.world))
        if chance.fraction("person") < 0.3:
            self._worker("person", lambda: actors.cancel_something(self.world))

    def _one(self, want: Want) -> None:
        world, chance = self.world, self.chance
        if chance.fraction(f"{want.run_id}/halves") < 0.2:
            self._worker(f"submit {want.run_id}", lambda: actors.submit_only(world, want))
            self._worker(f"finish {want.run_id}", lambda: actors.finish_runs(world))
            return
        if chance.fraction(f"{want.run_id}/twice") < 0.1:
            self._worker(want.run_id, lambda: actors.run_twice(world, want))
            return
        retries = chance.pick(f"{want.run_id}/retries", (0, 0, 1, 2))
        key = (
            "second"
            if world.trouble.account_name and chance.fraction(f"{want.run_id}/key") < 0.3
            else "first"
        )
        if key == "second":
            chance.happened[f"{want.run_id}/key"] = "rotated key"
        self._worker(want.run_id, lambda: actors.run_flow(world, want, retries=retries, key=key))

    def _worker(self, name: str, work: Work) -> None:
        """A process that begins some time, may be killed, and is begun again."""
        begins = (
            self.chance.between(f"{name}/begins", 0, 90) if self.chance.fraction(f"{name}/late") < 0.6 else 0
        )
        if name.startswith("run-") and name.endswith("-1") and self.chance.fraction(f"{name}/together") < 0.5:
            begins = self._begins.get(f"{name[:-1]}0", begins)  # somebody pressed twice
        # Whoever asks again while the first one waits, for longer than its lease, meets a living owner.
        likely = 0.6 if self.world.trouble.render_seconds > 120 and name.endswith("-1") else 0.08
        if name.startswith("run-") and self.chance.fault("run begun late", f"{name}/very late", likely):
            begins = self.chance.between(
                f"{name}/very late/begins", 121, 220
            )  # when the lease of others has ended
        self._begins[name] = begins
        self.world.loop.call_later(begins, self._begin, name, work, 1)
        if self.chance.fault("process stopped", f"{name}/stops", 0.12):
            at = begins + self.chance.skewed(f"{name}/stops/at", 0.02, 60)
            self.world.loop.call_later(at, self._stop, name)

    def _begin(self, name: str, work: Work, incarnation: int) -> None:
        world, chance = self.world, self.chance
        process = world.process(
            name if incarnation == 1 else f"{name} again" if incarnation == 2 else f"{name} at last"
        )
        mark = f"{name}/{incarnation}"
        if not world.healed and chance.fault(
            "process killed", f"{mark}/killed", (0.35, 0.25, 0.15)[min(incarnation, 3) - 1]
        ):
            kind, least, most = chance.pick(f"{mark}/killed/where", _KILLS)
            count = int(chance.skewed(f"{mark}/killed/when", least, most + 0.99))
            process.dies_at = {kind: count}
        # What a failed commit may do is worst where the process dies soon after it.
        likely = 0.5 if "message submit" in process.dies_at else 0.08
        if not world.healed and chance.fault("commit fails once", f"{mark}/commit", likely):
            last = 9 if "message submit" in process.dies_at else 13
            process.fails_commit = int(chance.between(f"{mark}/commit/when", 1, last))

        def again(dead: Process, where: str) -> None:
            world.deaths[dead.name] = where
            world.tell(dead.name, f"is killed at {where}")
            if incarnation < 3:
                pause = chance.skewed(f"{mark}/killed/pause", 0.5, 200)
                world.loop.call_later(pause, self._begin, name, work, incarnation + 1)

        process.on_death = again
        world.tell(process.name, "begins")
        self.running.append((world.start(process, work()), process))

    def _stop(self, name: str) -> None:
        for process in self.world.processes.values():
            if process.name == name and not process.dead and not self.world.healed:
                seconds = self.chance.skewed(f"{name}/stops/for", 1, 500)
                process.stopped = True
                self.world.tell(name, f"is stopped for {seconds:.0f} s")
                self.world.loop.call_later(seconds, self._continue, process)

    def _continue(self, process: Process) -> None:
        if process.stopped:
            self.world.loop.resume(process)
            self.world.tell(process.name, "goes on")

    def _clock_jumps(self, machine: Machine, by: float) -> None:
        machine.skew += by
        self.world.tell(machine.name, f"its clock jumps by {by:.0f} s")

    # -- its end -------------------------------------------------------------------------------------------

    async def _all_end(self, when: str) -> None:
        """Wait for every process that lives; nobody waits for ever."""
        world = self.world
        until = world.loop.time() + PATIENCE
        while world.loop.time() < until:
            alive = [each for task, each in self.running if not task.done() and not each.dead]
            if not alive and world.loop.time() > TROUBLED + 250:
                return
            await asyncio.sleep(5 if world.loop.time() < TROUBLED + 250 else 60)
        names = sorted(each.name for each in alive)
        world.failures.append(f"{', '.join(names)} still wait {PATIENCE:.0f} s {when}")

    async def _after(self) -> None:
        """Sweeps, with time between them, and what was wanted once more."""
        world = self.world
        await asyncio.sleep(400)
        for machine in world.machines[1:]:  # what its disk has, only it can bring
            await self._alone("the other end", lambda: actors.sweep(world), machine)
        await self._alone("the end", lambda: actors.end(world), world.machines[0])

    async def _alone(self, name: str, work: Work, machine: Machine) -> None:
        process = self.world.process(name, machine)
        self.world.tell(name, "begins")
        task = self.world.start(process, work())
        done, _ = await asyncio.wait({task}, timeout=PATIENCE)
        if not done:
            self.world.failures.append(f"{name} still waits after {PATIENCE:.0f} s in a world that is well")
            process.die("the end of patience")
