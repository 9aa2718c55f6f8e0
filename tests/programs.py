"""`prefect`, `prefect-ltx` and `python -m …` on PATH, forked from a process that has imported them already.

What a worker starts for one run imports Prefect three times, and a page of the documentation its command line once a
line: that is most of what such tests cost. Each program here is a process of its own with the caller's environment,
folder and streams; the one that was called waits for it, hands on its signals, and when it is killed, so is the
program. Anything else that is asked of this `python` is done by the real one.
"""

import array
import atexit
import json
import multiprocessing
import os
import runpy
import select
import shutil
import signal
import socket
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, NoReturn

FORKED = ("prefect", "prefect_ltx", "uvicorn")
"""The packages whose modules `python -m` forks here."""

HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

CALLED = """\
#!{python} -IS
import array, json, os, signal, socket, sys
name, words = os.path.basename(sys.argv[0]), sys.argv[1:]
if name == "python":
    if words[:1] != ["-m"] or words[1].split(".")[0] not in {forked!r}:
        os.execv({python!r}, [{python!r}, *words])
else:
    words = ["-m", {{"prefect": "prefect", "prefect-ltx": "prefect_ltx.cli"}}[name], *words]
call = json.dumps({{"words": words[1:], "env": dict(os.environ), "cwd": os.getcwd()}}).encode()
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
for number in {signals!r}:
    if signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, lambda number, frame: server.sendall(bytes([number])))
streams = array.array("i", [0, 1, 2])
server.sendmsg([len(call).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
server.sendall(call)
ended = int(server.recv(16) or b"-9")
if ended < 0:
    signal.signal(-ended, signal.SIG_DFL) if ended != -9 else None
    os.kill(os.getpid(), -ended)
sys.exit(ended)
"""


def made(folder: Path) -> str:
    """Write the programs into `folder`; where they reach the process that forks them."""
    address = str(Path(tempfile.mkdtemp(prefix="programs-")) / "calls")
    called = CALLED.format(
        python=sys.executable,
        forked=FORKED,
        address=address,
        signals=[int(number) for number in HANDED_ON],
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("python", "prefect", "prefect-ltx"):
        (folder / name).write_text(called)
        (folder / name).chmod(0o755)
    return address


def serve(address: str, python: str) -> None:
    """Fork what each call asks for, for as long as the process that it was started by lives."""
    parent = os.getppid()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait below
    with socket.socket(socket.AF_UNIX) as calls:
        calls.bind(address)
        calls.listen(64)
        calls.settimeout(5)
        while os.getppid() == parent:
            try:
                call, _ = calls.accept()
            except TimeoutError:
                continue
            if os.fork() == 0:
                calls.close()
                _watch(call, python)
            call.close()
    shutil.rmtree(Path(address).parent, ignore_errors=True)


def _watch(call: socket.socket, python: str) -> None:
    """Fork the program, hand on signals, and tell the caller how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, streams = _read_streams(call)
    order = b""
    while len(order) < length:
        order += call.recv(length - len(order))
    if (program := os.fork()) == 0:
        call.close()
        _become(json.loads(order), streams, python)
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(program)
    while ended not in (ready := select.select([call, ended], [], [])[0]):
        assert ready == [call]
        numbers = call.recv(16)
        for number in numbers or [signal.SIGKILL]:
            os.kill(program, number)
        if not numbers:
            break
    _, status = os.waitpid(program, 0)
    try:
        call.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    finally:
        os._exit(0)


def _read_streams(call: socket.socket) -> tuple[int, list[int]]:
    numbers = array.array("i")
    said, extra, _, _ = call.recvmsg(8, socket.CMSG_LEN(3 * numbers.itemsize))
    for _, _, data in extra:
        numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    return int.from_bytes(said, "big"), list(numbers)


def _become(order: dict[str, Any], streams: list[int], python: str) -> None:
    os.setsid()
    multiprocessing.current_process().daemon = False  # it may have children of its own
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    for number in HANDED_ON:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    sys.executable = python
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - the process's own
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    # Prefect has read its settings in the process that this one was forked from.
    from prefect.context import refresh_global_settings_context

    refresh_global_settings_context()
    sys.path[:0] = [os.getcwd(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    module, *sys.argv[1:] = order["words"]
    sys.argv[0] = module
    end_as(module)


def end_as(module: str) -> NoReturn:
    """Be `python -m MODULE` with the arguments in `sys.argv`, to its end."""
    code: Any = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code
        if isinstance(code, str):
            sys.stderr.write(f"{code}\n")
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code or 0)
