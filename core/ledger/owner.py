"""Who works on a row, and whether that one is provably dead.

"Provably" is strict: the same boot of the same kernel, the same process-id namespace, and the process with
that id and start time is gone. Then its work can be taken over at once. Anybody else, on another machine, in
another container, or on a system without /proc, is alive until its lease runs out.
"""

import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_SEPARATOR = "|"


@dataclass(frozen=True, slots=True)
class Owner:
    """One piece of work in one process.

    Make one for each run of a generation, so that two runs in one process
    are two owners.
    """

    boot: str
    """Kernel boot id; empty where the kernel has no boot id, and then nothing can be proven."""
    namespace: str
    """Process-id namespace."""
    pid: int
    started: str
    """Start time of the process in clock ticks since boot: a pid that was reused has another."""
    nonce: str
    host: str = ""
    """For people only."""
    announces_posts: bool = False
    """Whether it promises to call `Ledger.begin_post` before every POST. Then a row whose POST was not begun
    is known to be unsent when this owner dies; without the promise it must be looked for."""

    @classmethod
    def here(cls, *, announces_posts: bool = False) -> Self:
        """A new owner in this process."""
        return cls(
            boot=boot_id(),
            namespace=_pid_namespace(),
            pid=os.getpid(),
            started=_start_time(os.getpid()) or "",
            nonce=secrets.token_hex(8),
            host=socket.gethostname(),
            announces_posts=announces_posts,
        )

    @classmethod
    def parse(cls, token: str) -> Self | None:
        """The owner that `token` was made from; None for a token of another form."""
        parts = token.split(_SEPARATOR)
        if len(parts) != 7 or not parts[2].isdigit():
            return None
        boot, namespace, pid, started, nonce, host, promise = parts
        return cls(boot, namespace, int(pid), started, nonce, host, promise == "announces")

    @property
    def token(self) -> str:
        """The owner as the ledger stores it."""
        promise = "announces" if self.announces_posts else ""
        parts = (self.boot, self.namespace, str(self.pid), self.started, self.nonce, self.host, promise)
        return _SEPARATOR.join(part.replace(_SEPARATOR, "_") for part in parts)

    @property
    def label(self) -> str:
        """For people: host, process id and the start of the nonce."""
        return f"{self.host or 'unknown host'}:{self.pid}:{self.nonce[:6]}"

    def is_dead(self) -> bool:
        """True only when provably dead. False may mean alive, or not knowable from here."""
        if not self.boot or not self.started:
            return False
        if (self.boot, self.namespace) != (boot_id(), _pid_namespace()):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass  # it exists and belongs to somebody else
        state, started = _stat(self.pid)
        # A zombie has ended: it can send nothing more. An unreadable entry proves nothing.
        return state in ("Z", "X") or (started is not None and started != self.started)


def boot_id() -> str:
    """The id of this boot of this kernel, the same in all of its containers; empty where the kernel has no boot id."""
    return _read("/proc/sys/kernel/random/boot_id").strip()


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _start_time(pid: int) -> str | None:
    return _stat(pid)[1]


def _stat(pid: int) -> tuple[str | None, str | None]:
    # The command name stands in parentheses and may hold some itself (proc(5)): cut after the last one.
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (fields[0], fields[19]) if len(fields) > 19 else (None, None)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
