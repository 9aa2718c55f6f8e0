"""What goes wrong on a machine: clocks, full disks, locked ledgers, an archive that is away, and the end of a process.

Hooks that Python offers for it: an audit hook sees every file that is opened, made, linked, renamed or removed, and a
connection of its own class every SQL statement and COMMIT. They act only while a history is played and only on its own
files.
"""

import errno
import os
import sqlite3
import sys
from collections.abc import Callable
from typing import Any

from loop import Killed, Process, current

_WATCHED = frozenset({"open", "os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "shutil.rmtree"})


class Disks:
    """The hooks of the history that is played now; one per operating system process of the runner."""

    def __init__(self) -> None:
        self.folder = ""
        """Below it lies everything of the history; empty between histories."""
        self.on_file: Callable[[Process, str], None] | None = None
        self.on_statement: Callable[[Process, str], None] | None = None

    def install(self) -> None:
        """Once: the hook cannot be taken away again."""
        sys.addaudithook(self._audited)

    def _audited(self, name: str, arguments: tuple[Any, ...]) -> None:
        if name not in _WATCHED or not self.folder:
            return
        if name == "open":
            path, mode, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if not writes and not (isinstance(mode, str) and set(mode) & set("wax+")):
                return
        else:
            path = arguments[0]
        process = current()
        if process is None or not isinstance(path, str | os.PathLike):
            return
        text = os.fspath(path)
        if isinstance(text, str) and text.startswith(self.folder) and self.on_file is not None:
            self.on_file(process, text)

    def statement(self, statement: str) -> None:
        """The running process is about to execute this."""
        process = current()
        if self.folder and process is not None and self.on_statement is not None:
            self.on_statement(process, statement)


DISKS = Disks()


class WatchedConnection(sqlite3.Connection):
    """One whose statements and commits are seen before they are carried out, and may fail."""

    def cursor(self, *_: Any) -> sqlite3.Cursor:  # type: ignore[override]
        """sqlite3."""
        return super().cursor(_WatchedCursor)

    def commit(self) -> None:
        """sqlite3."""
        DISKS.statement("COMMIT")
        super().commit()


class _WatchedCursor(sqlite3.Cursor):
    def execute(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
        DISKS.statement(statement)
        return super().execute(statement, parameters)

    def executemany(self, statement: str, parameters: Any, /) -> sqlite3.Cursor:
        DISKS.statement(statement)
        return super().executemany(statement, parameters)


def full() -> OSError:
    """What the system says when a disk is full."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def away() -> OSError:
    """What the system says when a mounted folder's server is away."""
    return OSError(errno.EHOSTDOWN, os.strerror(errno.EHOSTDOWN))


def sqlite_error(text: str, name: str) -> sqlite3.OperationalError:
    """What SQLite says, with its name for it."""
    error = sqlite3.OperationalError(text)
    error.sqlite_errorname = name
    return error


def killed(process: Process, kind: str) -> None:
    """Count a moment of this kind; what is dead, or dies at it, does nothing more."""
    if process.dead or process.moment(kind):
        raise Killed
