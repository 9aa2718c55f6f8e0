"""Who is provably dead, and who is not."""

import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prefect_ltx.ledger import Owner

HERE = Owner.here()
needs_proc = pytest.mark.skipif(not HERE.boot, reason="no /proc here: nothing can be proven")


def _owner_of_child(queue: "multiprocessing.Queue[str]") -> None:
    queue.put(Owner.here().token)


def test_this_process_is_alive() -> None:
    """An owner never takes itself for dead."""
    assert not HERE.is_dead()
    assert Owner.here() != HERE


def test_a_token_comes_back_as_the_owner() -> None:
    """What is stored in the ledger tells another process whom to look for."""
    owner = Owner.here(announces_posts=True)
    assert Owner.parse(owner.token) == owner
    assert Owner.parse("some other token") is None


@needs_proc
def test_a_process_that_ended_is_dead() -> None:
    """The child of another process is seen to be gone."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=_owner_of_child, args=(queue,))
    child.start()
    owner = Owner.parse(queue.get(timeout=60))
    child.join()
    assert owner is not None
    assert owner.is_dead()


@needs_proc
def test_a_zombie_is_dead_and_a_stopped_process_is_not() -> None:
    """A zombie can send nothing more; a stopped process may go on at any time."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        stat = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        owner = replace(HERE, pid=child.pid, started=stat[19])
        os.kill(child.pid, signal.SIGSTOP)
        assert not owner.is_dead()
        os.kill(child.pid, signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert owner.is_dead()
    finally:
        child.kill()
        child.wait()
    assert owner.is_dead()


@needs_proc
def test_a_reused_process_id_is_another_process() -> None:
    """The start time tells them apart."""
    assert replace(HERE, started="1").is_dead()


@pytest.mark.parametrize(
    "change", [{"boot": "another-boot"}, {"namespace": "pid:[1]"}, {"boot": ""}, {"started": ""}]
)
def test_elsewhere_nothing_can_be_proven(change: dict[str, Any]) -> None:
    """Another machine, another container, or no /proc: only the lease counts."""
    assert not replace(HERE, pid=2**22 + 1, **change).is_dead()
