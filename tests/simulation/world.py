"""The world of one history: one fal, a network, machines with workers, a ledger and an archive, and what is wanted.

Everything in it is drawn from the seed. The code inside the processes is the product's own; what stands around it is
handed in (`core/runtime.py`, an httpx transport, an event loop).
"""

import asyncio
import logging
import shutil
from collections.abc import Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from chance import Chance
from fastapi import FastAPI
from loop import Killed, OneThread, Process, SimulatedLoop, current
from machines import DISKS, away, full, killed, sqlite_error
from material import EPOCH, ClipRenderer, material
from pydantic import SecretStr
from trouble import Trouble
from wire import Network, Server, Weather

from prefect_ltx.archive import Archive
from prefect_ltx.fal import FalClient, FalHosts
from prefect_ltx.generation import Services, progress
from prefect_ltx.generation import process as shared
from prefect_ltx.generation.life import KNOWN_ENDS
from prefect_ltx.ledger import AsyncLedger, BudgetLimit, Ledger, Owner
from prefect_ltx.local.app import build_app, serve_from
from prefect_ltx.local.faults import Faults
from prefect_ltx.local.opening import open_site
from prefect_ltx.local.requestlog import RequestLog
from prefect_ltx.local.site import Site
from prefect_ltx.runtime import Runtime
from prefect_ltx.settings import Settings, SettingsError

HOST = "fal.simulated"
RECEIVER = "receiver.simulated"
SECRET = "5ecret-0f-the-key"
OTHER_SECRET = "0ther-5ecret-0f-a-key"
LEASE = 120.0
EXPLAINED = (*KNOWN_ENDS, SettingsError)
"""How a run may end without its video: each says so in its own words."""


@dataclass(eq=False)
class Machine:
    """One computer: its clock may be wrong, and may jump."""

    name: str
    loop: SimulatedLoop
    skew: float = 0.0

    def time(self) -> float:
        """Unix seconds by its clock."""
        return EPOCH + self.loop.time() + self.skew


@dataclass(eq=False)
class Want:
    """A video that somebody wants: one run of a flow, however often it is tried and whichever process tries."""

    run_id: str
    prompt: str
    seed: int | None
    tries: int = 0
    """How often a run of it was begun."""
    ends: list[str] = field(default_factory=list)
    """How each try ended."""
    archived: bool = False
    in_batch: bool = False
    """Whether it is a row of the batch."""


@dataclass
class Words:
    """Everything that anybody could read: log lines and error texts."""

    texts: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Remember it."""
        self.texts.append(text)


class _Listener(logging.Handler):
    def __init__(self, words: Words) -> None:
        super().__init__(logging.INFO)
        self._words = words

    def emit(self, record: logging.LogRecord) -> None:
        """logging."""
        self._words.say(record.getMessage())
        if record.exc_info:
            self._words.say(logging.Formatter().formatException(record.exc_info))


class World:
    """See the module. Use it as a context manager; `actors` live in it."""

    def __init__(self, chance: Chance, *, telling: bool = False) -> None:
        self.chance = chance
        self.telling = telling
        self.story: list[str] = []
        self.words = Words()
        self.wants: list[Want] = []
        self.processes: dict[int, Process] = {}
        self.machine_of: dict[int, Machine] = {}
        self.failures: list[str] = []
        """What no invariant has to find, because it was met: errors that nobody explains, waits without end."""
        self.reports: list[Any] = []
        """What sweeps said."""
        self.deaths: dict[str, str] = {}
        """Where each process that was killed died, by its name."""
        self.healed = False
        self.trouble = Trouble.drawn(chance)
        self._stack = ExitStack()
        self.loop = SimulatedLoop(chance.stream("order") if chance.fraction("order is drawn") < 0.7 else None)
        self.network = Network(self.loop, chance, self.tell)
        self.folder = material().folder / f"history-{chance.seed}"
        self.site: Site
        self.app: Any

    # -- its beginning and its end -----------------------------------------------------------------------

    def __enter__(self) -> "World":
        made = material()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        shutil.copytree(made.fal, self.folder / "fal")
        shutil.copyfile(made.ledger, self.folder / "ledger.db")
        made.current.path = self.folder / "ledger.db"
        self.machines = [
            Machine(name, self.loop, skew)
            for name, skew in zip(("machine", "second machine"), self.trouble.clock_skews, strict=False)
        ]
        for machine in self.machines:
            (self.folder / "home" / machine.name / "work").mkdir(parents=True)
        (self.folder / "archive").mkdir()
        self.fal_process = Process("fal", pid=1)
        self.faults = Faults()
        runtime = Runtime(
            time=lambda: EPOCH + self.loop.time(),
            awake=self.loop.time,
            sleep=self.loop.advance,
            random=self.chance.stream("fal"),
        )
        self.site = self._stack.enter_context(
            open_site(
                self.folder / "fal",
                self.faults,
                self.trouble.render_seconds,
                ClipRenderer(made.clip),
                None,
                2,
                RequestLog(),
                accounts={"first": "team", "second": "team"},
                runtime=runtime,
                executor=OneThread(),
                outbound=self.network.client,
            )
        )
        self.app = _app_of(self.site)
        server = Server(self.app, self.fal_process, "fal", self.port)
        for host in self._hosts():
            self.network.servers[host] = server
        self.faults.replace(self.trouble.faults)
        logger = logging.getLogger("prefect_ltx")
        listener = _Listener(self.words)
        logger.addHandler(listener)
        self._stack.callback(logger.removeHandler, listener)
        self._stack.enter_context(progress.observe(self._passed))
        DISKS.folder = str(self.folder)
        DISKS.on_file, DISKS.on_statement = self._file, self._statement
        self.network.on_message = self._message
        return self

    def __exit__(self, *_: object) -> None:
        DISKS.folder = ""
        DISKS.on_file = DISKS.on_statement = None
        self.network.on_message = None
        self.loop.finish()
        self._stack.close()
        material().current.engine.dispose()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- its story -----------------------------------------------------------------------------------------

    def tell(self, who: str, what: str) -> None:
        """A line of the story."""
        if self.telling:
            told = what.replace(str(self.folder), "...")  # its place is the runner's, and never the same
            self.story.append(f"{self.loop.time():10.3f}  {who}: {told}")

    # -- fal -------------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """Where fal listens."""
        return 443 if self.trouble.service == "fal" else 8000

    @property
    def url(self) -> str | None:
        """The base URL that workers are given; None for fal itself."""
        return None if self.trouble.service == "fal" else f"http://{HOST}:{self.port}"

    def _hosts(self) -> tuple[str, ...]:
        if self.trouble.service == "fal":
            return ("queue.fal.run", "fal.run", "rest.fal.ai", "v3.fal.media", "api.fal.ai")
        return (HOST,)

    async def start_fal(self) -> None:
        """Let fal take up its work."""
        await self.loop.start(self.fal_process, self.app.state.jobs.start())
        await self.loop.start(self.fal_process, self.app.state.webhooks.start())

    # -- processes -------------------------------------------------------------------------------------------

    def process(self, name: str, machine: Machine | None = None) -> Process:
        """A new process."""
        pid = len(self.processes) + 100
        process = Process(name, pid=pid, on_death=self._died)
        self.processes[pid] = process
        if machine is None:
            machine = self.machines[int(self.chance.fraction(f"{name}/machine") * len(self.machines))]
        if machine is not self.machines[0]:
            self.chance.happened[f"{name}/machine"] = "second machine"
        self.machine_of[pid] = machine
        return process

    def owner(self) -> Owner:
        """A new owner in the running process."""
        process = current()
        assert process is not None
        machine = self.machine_of[process.pid]
        nonce = self.chance.numbered(f"owner {process.name}").encode().hex()[-16:]
        return Owner(
            boot=machine.name,
            namespace=self._sees(process),
            pid=process.pid,
            started="1",
            nonce=nonce,
            host=machine.name,
            announces_posts=True,
        )

    def _sees(self, process: Process) -> str:
        """Whose processes it can see: one in a container sees its own only, and is seen by nobody."""
        alone = self.chance.fault("process in a container", f"{process.name}/container", 0.2)
        return process.name if alone else self.machine_of[process.pid].name

    def is_dead(self, owner: Owner) -> bool:
        """Whether the owner is provably dead, as seen from the running process."""
        process = current()
        if process is not None and self._sees(process) != owner.namespace:
            return False
        return self.processes[owner.pid].dead

    def services(self, *, other: bool = False, key: str = "first") -> Services:
        """What a worker opens, in the running process."""
        process = current()
        assert process is not None
        machine = self.machine_of[process.pid]
        loop = self.loop
        runtime = Runtime(
            time=machine.time,
            awake=loop.time,
            sleep=loop.advance,
            random=self.chance.stream(self.chance.numbered(f"chance of {process.name}")),
        )
        secret = f"stranger:{OTHER_SECRET}" if other else f"{key}:{SECRET}"
        url = self.url
        client = FalClient(
            secret,
            hosts=FalHosts.default() if url is None else FalHosts.from_base_url(url),
            runtime=runtime,
            wire=self.network.wire(),
        )
        ledger = Ledger(
            f"sqlite:///{self.folder}/ledger.db",
            clock=machine.time if len(self.machines) == 1 else self._database_time,
            lease_seconds=LEASE,
            runtime=runtime,
            is_dead=self.is_dead,
            engine=material().current.engine,
        )
        settings = _SETTINGS.model_copy(
            update={
                "home": self.folder / "home" / machine.name,
                "fal_key": SecretStr(secret),
                "fal_url": url,
                "account": self.trouble.account_name or None if not other else "strangers",
                "absence_is_proof": self.trouble.absence_is_proof,
                "listing_lag_seconds": self.trouble.said_lag,
                "webhook_url": f"http://{RECEIVER}" if self.trouble.webhooks else None,
                "queue_timeout_seconds": 400.0,
                "run_timeout_seconds": 400.0,
            }
        )
        return Services.of(
            settings,
            client,
            AsyncLedger(ledger, executor=process.executor),
            Archive(self.folder / "archive"),
            self.limits,
            process=shared.Process(leases=_keeper(loop)),
            runtime=runtime,
        )

    def _database_time(self) -> float:
        """What the ledger's server says, where several machines share one: SQLite stands for PostgreSQL there."""
        return EPOCH + self.loop.time()

    @property
    def limits(self) -> tuple[BudgetLimit, ...]:
        """The budget that everybody has."""
        usd = self.trouble.budget_usd
        return () if usd is None else (BudgetLimit(usd=usd, period="total", tag=None, name="budget"),)

    def start(self, process: Process, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run `work` as this process; what it raises is not lost."""
        return self.loop.start(process, self._watched(process, work))

    async def _watched(self, process: Process, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Killed:
            pass
        except EXPLAINED as error:
            self.words.say(f"{type(error).__name__}: {error}")
            self.tell(process.name, f"ends: {type(error).__name__}: {error}")
        except Exception as error:
            self.failures.append(
                f"{process.name} ended with an error that nobody explains: {type(error).__name__}: {error}"
            )
            if self.telling:
                import traceback

                self.story.append(traceback.format_exc())
        else:
            self.tell(process.name, "ends")
        # A process that ended is as dead as one that was killed.
        process.dead = True

    def _died(self, process: Process, where: str) -> None:
        self.tell(process.name, f"is killed at {where}")

    # -- what the machines do to it ----------------------------------------------------------------------

    def _passed(self, step: progress.Progress) -> None:
        process = current()
        if process is not None:
            if step.message:
                self.tell(process.name, f"{step.message} ({step.generation_id[:8] or 'new'})")
            process.moment(f"checkpoint {step.stage}")

    def _message(self, route: str, process: Process | None) -> None:
        if process is not None:
            process.moment(f"message {route}")

    def _file(self, process: Process, path: str) -> None:
        if process is self.fal_process:
            return
        killed(process, "file")
        if self.healed:
            return
        name = path[len(str(self.folder)) + 1 :]
        if name.startswith("archive"):
            if self._window("archive away", self.trouble.archive_away):
                raise away()
        elif name.startswith("home") and self._window("disk full", self.trouble.disk_full):
            raise full()

    def _statement(self, process: Process, statement: str) -> None:
        if process is self.fal_process:
            return
        killed(process, "statement")
        if self.healed or statement.startswith(("PRAGMA", "SELECT", "ROLLBACK")):
            return
        if statement.startswith("BEGIN"):
            process.writes = statement == "BEGIN IMMEDIATE"
            if statement == "BEGIN IMMEDIATE" and self._window("ledger locked", self.trouble.ledger_locked):
                self.loop.advance(30)  # SQLite waits that long for its turn
                self.tell(process.name, "finds the ledger locked")
                raise sqlite_error("database is locked", "SQLITE_BUSY")
            return
        if statement == "COMMIT":
            process.commits += process.writes
            once = process.writes and process.commits == process.fails_commit
            if once or self._window("commit fails", self.trouble.commit_fails):
                self.tell(process.name, "cannot commit")
                raise sqlite_error("disk I/O error", "SQLITE_IOERR_FSYNC")
        if self._window("ledger full", self.trouble.ledger_full):
            self.tell(process.name, "finds the ledger's disk full")
            raise sqlite_error("database or disk is full", "SQLITE_FULL")

    def _window(self, kind: str, window: tuple[float, float] | None) -> bool:
        """Whether this trouble of a machine is on now."""
        if window is None or not window[0] <= self.loop.time() < window[1]:
            return False
        return self.chance.fault(kind, f"machine/{kind}", 1.0)

    def heal(self) -> None:
        """Everything that can become well becomes well: what stays is what cannot."""
        self.healed = True
        self.network.weather = Weather()
        for name in self.trouble.faults:
            if name not in self.trouble.stays:
                self.faults.clear(name)
        self.tell("the world", "heals")
        for process in self.processes.values():
            if process.stopped:
                self.loop.resume(process)

    def note_service_faults(self) -> None:
        """Count what fal did wrong."""
        for name in self.trouble.faults:
            does = "split_billing" if name == "split_billing_late" else name
            if self.faults.fired(does) or name == "date_skew":
                self.chance.happened[f"fal/{name}"] = f"fal {name}"


def _app_of(site: Site) -> FastAPI:
    """The app of the embedded fal over this site; made once, because its routes are found out at the first call."""
    if not _apps:
        _apps.append(build_app(site))
    serve_from(_apps[0], site)
    return _apps[0]


_apps: list[FastAPI] = []


def _keeper(loop: SimulatedLoop) -> shared.Leases:
    """The leases of one process, renewed by the loop in place of a thread."""
    timer: list[asyncio.Handle] = []

    def renew() -> None:
        timer.clear()
        seconds = leases.renew_due()
        if seconds is not None:
            timer.append(loop.call_later(max(seconds, 0.001), renew))

    def wake() -> None:
        if timer:
            timer.pop().cancel()
        timer.append(loop.call_soon(renew))

    leases = shared.Leases(loop.time, wake)
    return leases


_SETTINGS = Settings(fal_url="http://nowhere.simulated", home=Path("/nowhere"), ledger="", archive="/nowhere")
PRICE = Decimal("0.0024075")
