"""Programs of the tests' own, forked from a process that has imported the flows already.

To import Prefect takes longer than most of these programs run. Each is a process like any other: it has its own
environment, its output goes to files, and it can be killed and waited for.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

_server = multiprocessing.get_context("forkserver")


class Forked:
    """A Python script with arguments, as far as `subprocess.Popen` would show it."""

    def __init__(self, script: Path, *arguments: str, env: Mapping[str, str]) -> None:
        self._said = Path(tempfile.mkdtemp(prefix="forked-"))
        self._process = _server.Process(target=_run, args=(script, arguments, dict(env), self._said))
        # Heard by the first that is started in this process, whoever else names modules while tests are collected.
        _server.set_forkserver_preload(["prefect_ltx.flows"])
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
            raise subprocess.TimeoutExpired([str(self._said)], timeout)
        return (self._said / "out").read_text(), (self._said / "err").read_text()


def _run(script: Path, arguments: tuple[str, ...], env: dict[str, str], said: Path) -> None:
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(said / name, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(env)
    # Prefect has read its settings in the process that this one was forked from.
    from prefect.context import refresh_global_settings_context

    refresh_global_settings_context()
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.parent))
    runpy.run_path(str(script), run_name="__main__")
