"""Started as `python -I -S launcher.py PARENT AS CPU FSIZE -- PROGRAM ARG…`: sets bounds, then becomes PROGRAM.

A program of its own, because code between fork and exec can hang a process that has threads. It imports nothing
of this package. What a system cannot do is left out: the bounds in the parent (wall time) hold everywhere.

- PARENT: process id of the starter; where it is gone or dies, the program is killed (Linux).
- AS, CPU, FSIZE: address space in bytes, CPU time in seconds, size of a written file in bytes; 0 for none.
"""

import os
import sys

_PR_SET_PDEATHSIG = 1
_SIGKILL = 9


def main(arguments: list[str]) -> None:
    """Set the bounds and become the program; ends with 126 where it cannot be started."""
    parent, memory, cpu, file_size = map(int, arguments[:4])
    command = arguments[5:]
    _die_with(parent)
    _bound(memory, cpu, file_size)
    try:
        os.execv(command[0], command)  # noqa: S606 - a list of arguments that only this package makes
    except OSError as error:
        sys.stderr.write(f"[fatal] {command[0]} could not be started: {error.strerror or error}\n")
        os._exit(126)


def _die_with(parent: int) -> None:
    if not sys.platform.startswith("linux"):
        return
    try:
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        return
    # It may have died before the line above; then no signal comes any more.
    if os.getppid() != parent:
        os._exit(125)


def _bound(memory: int, cpu: int, file_size: int) -> None:
    try:
        import resource
    except ImportError:
        return
    wanted = [
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_FSIZE, file_size),
        (resource.RLIMIT_CORE, None),
    ]
    for which, bound in wanted:
        if bound == 0:
            continue
        _, hard = resource.getrlimit(which)
        value = bound or 0
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        try:
            # One second more before the hard end, so that the reason (SIGXCPU) can be told.
            later = value + 1 if which == resource.RLIMIT_CPU and value != hard else value
            resource.setrlimit(which, (value, later))
        except (ValueError, OSError):
            continue  # macOS refuses to bound the address space


if __name__ == "__main__":
    main(sys.argv[1:])
