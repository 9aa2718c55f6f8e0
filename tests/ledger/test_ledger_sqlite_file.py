"""A ledger's SQLite file as it is really found: deleted, replaced, locked, full, readable only."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from ledger_parts import a_plan, an_owner, archived

from prefect_ltx.ledger import Accepted, Ledger, LedgerUnavailable

ME = an_owner("me")


def test_a_file_that_is_deleted_while_in_use_is_noticed_before_a_write(tmp_path: Path) -> None:
    """Nothing more is written into a file that nobody will find, and no new file is made in its place."""
    path = tmp_path / "ledger.db"
    with Ledger(f"sqlite:///{path}") as ledger:
        row = ledger.claim(a_plan(), ME).generation
        ledger.begin_post(row.id, ME)
        path.unlink()

        with pytest.raises(LedgerUnavailable) as refused:
            ledger.record(row.id, Accepted("request-1"), owner=ME)
        with pytest.raises(LedgerUnavailable, match="deleted or moved"):
            ledger.claim(a_plan("other"), ME)

    assert "deleted or moved while it was in use" in str(refused.value)
    assert "a request sent before goes on" in str(refused.value)
    assert "ledger rebuild" in str(refused.value)
    assert not path.exists()


def test_a_file_that_is_replaced_by_a_backup_while_in_use_is_noticed(tmp_path: Path) -> None:
    """The same for one that is renamed over it, with its log or without."""
    path, backup = tmp_path / "ledger.db", tmp_path / "backup.db"
    Ledger(f"sqlite:///{path}").close()
    shutil.copy(path, backup)
    with Ledger(f"sqlite:///{path}") as ledger:
        archived(ledger, a_plan(), ME)
        backup.rename(path)
        with pytest.raises(LedgerUnavailable, match="replaced while it was in use"):
            ledger.claim(a_plan("other"), ME)
        with pytest.raises(LedgerUnavailable, match="replaced while it was in use"):
            ledger.find()


def test_a_log_that_is_deleted_while_in_use_is_noticed(tmp_path: Path) -> None:
    """The write-ahead log holds commits that the file does not have yet."""
    path = tmp_path / "ledger.db"
    with Ledger(f"sqlite:///{path}") as ledger:
        ledger.claim(a_plan(), ME)
        Path(f"{path}-wal").unlink()
        with pytest.raises(LedgerUnavailable, match="ledger.db-wal was deleted"):
            ledger.claim(a_plan("other"), ME)


def test_closing_and_forking_is_not_taken_for_a_replacement(tmp_path: Path) -> None:
    """The last one who closes a file removes its log; the next one makes another."""
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        for number in range(3):
            ledger.claim(a_plan(str(number)), ME)
            ledger.close()
        child = os.fork()
        if child == 0:
            os._exit(0 if ledger.claim(a_plan("child"), ME).outcome == "submit" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert ledger.claim(a_plan("parent"), ME).outcome == "submit"


def test_a_lock_that_others_hold_for_a_while_is_waited_out(tmp_path: Path) -> None:
    """A backup tool or a shell may hold it for seconds."""
    path = tmp_path / "ledger.db"
    with Ledger(f"sqlite:///{path}") as ledger:
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN EXCLUSIVE")
        threading.Timer(1.5, lambda: other.execute("ROLLBACK")).start()
        began = time.monotonic()
        assert ledger.claim(a_plan(), ME).outcome == "submit"
        assert 1 < time.monotonic() - began < 15
        other.close()


FULL = """
import resource, signal, sys
sys.path.insert(0, "tests/ledger")
from ledger_parts import a_plan, an_owner
from prefect_ltx.ledger import Ledger, LedgerError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Ledger(sys.argv[1]) as ledger:
    ledger.claim(a_plan("before"), an_owner())
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        for number in range(1000):
            ledger.claim(a_plan(f"key-{number}"), an_owner())
    except LedgerError as error:
        print(type(error).__name__, error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(len(ledger.find(key="before")))
"""


def test_a_disk_without_room_is_an_error_at_once(tmp_path: Path) -> None:
    """In one line, before anything is sent; what was written before stays."""
    code = FULL.replace("RLIM_INFINITY, resource.RLIM_INFINITY", "RLIM_INFINITY, resource.RLIM_INFINITY")
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, f"sqlite:///{tmp_path / 'ledger.db'}"], capture_output=True, text=True
    )
    first = done.stdout.splitlines()[0] if done.stdout else done.stderr
    assert first.startswith("LedgerUnavailable"), done.stderr
    assert "Nothing was sent or spent" in first
    assert time.monotonic() - began < 25


def test_reading_makes_nothing(tmp_path: Path) -> None:
    """A ledger that does not exist reads as an empty one."""
    path = tmp_path / "folder" / "ledger.db"
    with Ledger(f"sqlite:///{path}", read_only=True) as ledger:
        assert ledger.find() == []
        assert ledger.totals() == []
        with pytest.raises(LedgerUnavailable, match="for reading only"):
            ledger.claim(a_plan(), ME)
    assert not path.parent.exists()


def test_reading_an_empty_postgresql_database_makes_nothing(postgres_url: str) -> None:
    """The same on a server."""
    with Ledger(postgres_url, read_only=True) as ledger:
        assert ledger.find() == []
    with Ledger(f"{postgres_url}%20-cdefault_transaction_read_only%3Don", read_only=True) as ledger:
        assert ledger.unfinished() == []
    Ledger(postgres_url).close()
    with Ledger(postgres_url, read_only=True) as ledger:
        assert ledger.find() == []
        assert ledger.id


READ_AS_NOBODY = """
import os, pwd, sys
from prefect_ltx.ledger import Ledger
os.setgroups([])
os.setgid(pwd.getpwnam("nobody").pw_gid)
os.setuid(pwd.getpwnam("nobody").pw_uid)
with Ledger(sys.argv[1], read_only=True) as ledger:
    print([row.key for row in ledger.find()])
"""


@pytest.mark.parametrize("in_use", [False, True])
def test_a_file_that_may_only_be_read_is_read(in_use: bool) -> None:
    """By a user who may write neither it nor its folder, while others write it or not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "ledger.db"
        ledger = Ledger(f"sqlite:///{path}")
        ledger.claim(a_plan(), ME)
        if not in_use:
            ledger.close()
        path.chmod(0o444)
        folder.chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", READ_AS_NOBODY, f"sqlite:///{path}"], capture_output=True, text=True
        )
        folder.chmod(0o755)
        ledger.close()
    assert done.stdout == "['key-1']\n", done.stderr
