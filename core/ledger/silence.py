"""Cutting connections to a server that takes a statement and then says nothing.

The server's own time-outs do not help where the server itself hangs, and a driver waits for ever. So one thread
of the process looks at all open transactions and shuts the socket of one that waits for too long; its driver
then fails as if the server had closed it.
"""

import contextlib
import os
import socket
import threading
import time
from types import TracebackType
from typing import Final, Self

_LOOKS_EVERY: Final = 0.5


class Silence:
    """One transaction's connection, watched while the block lasts. `fileno` is its socket's; in seconds."""

    def __init__(self, fileno: int) -> None:
        """Duplicates the descriptor: the number may belong to something else by the time it is cut."""
        self._socket = socket.socket(fileno=os.dup(fileno))
        self._deadline = float("inf")
        self.was_cut = False

    def expect_answer_within(self, seconds: float) -> None:
        """From now on; for the next statement it is said again."""
        self._deadline = time.monotonic() + seconds

    def __enter__(self) -> Self:
        """Begin to watch."""
        _watchers.of_this_process().add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching; the connection itself stays open."""
        _watchers.of_this_process().remove(self)
        self._socket.close()

    def cut_if_silent(self, now: float) -> None:
        """Shut the socket where the answer is overdue."""
        if now < self._deadline or self.was_cut:
            return
        self.was_cut = True
        with contextlib.suppress(OSError):  # closed by the other side at last
            self._socket.shutdown(socket.SHUT_RDWR)


class _Watcher:
    def __init__(self) -> None:
        self.pid = os.getpid()
        self._changed = threading.Condition()
        self._watched: set[Silence] = set()
        threading.Thread(target=self._run, name="prefect-ltx-ledger-silence", daemon=True).start()

    def add(self, each: Silence) -> None:
        with self._changed:
            self._watched.add(each)
            self._changed.notify()

    def remove(self, each: Silence) -> None:
        with self._changed:
            self._watched.discard(each)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._watched:
                    self._changed.wait()
                now = time.monotonic()
                for each in self._watched:
                    each.cut_if_silent(now)
            time.sleep(_LOOKS_EVERY)


class _Watchers:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watcher: _Watcher | None = None

    def of_this_process(self) -> _Watcher:
        # A thread does not survive a fork.
        watcher = self._watcher
        if watcher is not None and watcher.pid == os.getpid():
            return watcher
        with self._lock:
            if self._watcher is None or self._watcher.pid != os.getpid():
                self._watcher = _Watcher()
            return self._watcher


_watchers: Final = _Watchers()
os.register_at_fork(after_in_child=lambda: setattr(_watchers, "_lock", threading.Lock()))
