"""Programs of the tests' own, forked from a process that has imported Prefect and the flows already.

To import them takes 5 s of a processor, longer than most of these programs run. Each is a process like any other: it
has its own environment and folder, its output goes to files, and it can be killed and waited for.
"""

import atexit
import gc
import importlib
import json
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from programs import end_as, made, serve

from prefect_ltx import flows

PRELOADED = [
    *(
        "prefect.engine",
        "prefect.flow_engine",
        "prefect.task_engine",
        "prefect.cli",
        "prefect.server.api.server",
    ),
    *("prefect_ltx.cli", "prefect_ltx.deployments.apply"),
    # To import `prefect_ltx.flows` alone builds no flow.
    *(f"prefect_ltx.flows.{file}" for file in sorted(set(flows._FILES.values()))),
]

PYTHON = sys.executable
"""The interpreter itself, where a test needs what it starts to be a child of its own."""

_server = multiprocessing.get_context("forkserver")


class Forked:
    """`python SCRIPT …` or `python -m MODULE …`, as far as `subprocess.Popen` would show it."""

    def __init__(self, *command: str, env: Mapping[str, str], cwd: Path | None = None) -> None:
        self._command = command
        self._said = Path(tempfile.mkdtemp(prefix="forked-"))
        self._process = _server.Process(target=_run, args=(command, dict(env), cwd, self._said))
        # Heard by the first that is started in this process, whoever else names modules while tests are collected.
        _server.set_forkserver_preload(PRELOADED)
        self._process.start()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, timeout: float = 120) -> tuple[str, str]:
        """Wait for its end; what it said on stdout and on stderr.

        Raises:
            subprocess.TimeoutExpired: it took longer; it is killed.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            self.kill()
            self._process.join()
            raise subprocess.TimeoutExpired(self._command, timeout)
        return (self._said / "out").read_text(), (self._said / "err").read_text()


def run_forked(
    *command: str, env: Mapping[str, str], cwd: Path | None = None, timeout: float = 240
) -> "subprocess.CompletedProcess[str]":
    """`subprocess.run` of such a program, with what it said."""
    child = Forked(*command, env=env, cwd=cwd)
    out, err = child.communicate(timeout)
    assert child.returncode is not None
    return subprocess.CompletedProcess(command, child.returncode, out, err)


_programs: Path | None = None


def programs() -> Path:
    """The folder, for PATH, of `python`, `prefect` and `prefect-ltx` that fork instead of importing (`programs.py`)."""
    global _programs
    if _programs is None:
        folder = Path(tempfile.mkdtemp(prefix="forked-")) / "bin"
        address = made(folder)
        serving = _server.Process(target=serve, args=(address, str(folder / "python")), daemon=True)
        _server.set_forkserver_preload(PRELOADED)
        serving.start()
        while not Path(address).exists():
            assert serving.is_alive(), "the process that forks programs ended"
            time.sleep(0.02)
        _programs = folder
    return _programs


class _WithoutPrefect:
    """A process that has imported the command line and can never import Prefect; what it forks runs `python -m …`.

    `multiprocessing` has one server a process, and that one knows Prefect.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def start(self, command: tuple[str, ...], env: Mapping[str, str], cwd: Path, said: Path) -> None:
        with self._lock:
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", "import forked; forked.serve_without_prefect()"],
                    env=dict(os.environ) | {"PYTHONPATH": str(Path(__file__).parent)},
                    stdin=subprocess.PIPE,
                    text=True,
                )
                atexit.register(self._process.kill)
            assert self._process.stdin is not None
            order = {"command": command, "env": dict(env), "cwd": str(cwd), "said": str(said)}
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()


_without_prefect = _WithoutPrefect()


def run_without_prefect(
    *command: str, env: Mapping[str, str], cwd: Path, timeout: float = 120
) -> "subprocess.CompletedProcess[str]":
    """`subprocess.run` of `python -m MODULE …` where importing Prefect fails, with what it said."""
    said = Path(tempfile.mkdtemp(prefix="forked-"))
    _without_prefect.start(command, env, cwd, said)
    deadline = time.monotonic() + timeout
    while not (said / "code").exists():
        if time.monotonic() > deadline:
            os.killpg(int((said / "pid").read_text()), signal.SIGKILL)
            raise subprocess.TimeoutExpired(command, timeout)
        time.sleep(0.01)
    code = int((said / "code").read_text())
    return subprocess.CompletedProcess(command, code, (said / "out").read_text(), (said / "err").read_text())


def serve_without_prefect() -> None:
    """Fork what each line on stdin asks for, until there is no more."""
    sys.modules["prefect"] = None  # type: ignore[assignment]
    for name in ("cli", "batch", "generation", "doctor", "recovery", "receiver", "film", "local"):
        importlib.import_module(f"prefect_ltx.{name}")
    for name in (
        "approving",
        "batch_view",
        "ledger_view",
        "plain",
        "progress",
        "request_file",
        "tables",
        "usable_view",
    ):
        importlib.import_module(f"prefect_ltx.cli.{name}")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait below
    gc.freeze()
    for line in sys.stdin:
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _watch(json.loads(line))


def _watch(order: dict[str, Any]) -> None:
    """Fork the program, wait for its end, and write down how it ended."""
    said = Path(order["said"])
    os.setsid()
    (said / "pid").write_text(str(os.getpid()))
    if (program := os.fork()) == 0:
        _module(order, said)
    _, status = os.waitpid(program, 0)
    (said / "code-").write_text(str(os.waitstatus_to_exitcode(status)))
    (said / "code-").rename(said / "code")
    os._exit(0)


def _module(order: dict[str, Any], said: Path) -> None:
    _become(order["env"], Path(order["cwd"]), said)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.path.insert(0, os.getcwd())
    sys.argv = list(order["command"])
    end_as(order["command"][0])


def _become(env: Mapping[str, str], cwd: Path | None, said: Path) -> None:
    """A process of its own: what it says goes to files, and it has its own environment and folder."""
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(said / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update(env)
    if cwd is not None:
        os.chdir(cwd)


def _run(command: tuple[str, ...], env: dict[str, str], cwd: Path | None, said: Path) -> None:
    _become(env, cwd, said)
    # A name that cannot be imported is passed over in silence, and everything would be slow and right.
    assert set(PRELOADED) <= set(sys.modules), "what these processes share was not imported"
    # Prefect has read its settings in the process that this one was forked from.
    from prefect.context import refresh_global_settings_context

    refresh_global_settings_context()
    try:
        if command[0] == "-m":
            sys.path.insert(0, os.getcwd())
            sys.argv = list(command[1:])
            runpy.run_module(command[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = list(command)
            sys.path.insert(0, str(Path(command[0]).parent))
            runpy.run_path(command[0], run_name="__main__")
    finally:
        # A forked process leaves without them.
        atexit._run_exitfuncs()
