"""Programs of the tests' own, forked from a process that has imported Prefect and the flows already.

To import them takes 5 s of a processor, longer than most of these programs run. Each is a process like any other: it
has its own environment and folder, its output goes to files, and it can be killed and waited for.
"""

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from prefect_ltx import flows

PRELOADED = [
    *("prefect.engine", "prefect.flow_engine", "prefect.task_engine", "prefect.cli"),
    *("prefect_ltx.cli", "prefect_ltx.deployments.apply"),
    # To import `prefect_ltx.flows` alone builds no flow.
    *(f"prefect_ltx.flows.{file}" for file in sorted(set(flows._FILES.values()))),
]

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


def _run(command: tuple[str, ...], env: dict[str, str], cwd: Path | None, said: Path) -> None:
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(said / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    # A name that cannot be imported is passed over in silence, and everything would be slow and right.
    assert set(PRELOADED) <= set(sys.modules), "what these processes share was not imported"
    os.environ.clear()
    os.environ.update(env)
    if cwd is not None:
        os.chdir(cwd)
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
