"""One ffmpeg process, started, watched and ended by us.

What holds: outputs appear under their names only when ffmpeg ended well, all together; a cancelled, failed or
overlong run leaves no process and no file. ffmpeg gets no standard input, no secrets from the environment and
its own session, so that a Ctrl-C meant for the worker reaches it only through us.

The kernel bounds its memory, CPU time and the size of its files, and on Linux it dies with its parent, however
that one ends; `launcher` sets this between start and ffmpeg. Elsewhere the wall time alone bounds it.

Until then an output is called `.<name>.<random>.part.<suffix>` in its own folder. What a killed worker left
under such a name may be deleted at any time.
"""

import asyncio
import contextlib
import os
import re
import secrets
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ffmpeg.dag import topo_sort
from ffmpeg.nodes import InputNode, OutputNode, get_stream_spec_nodes

from prefect_ltx.media.binary import ffmpeg_binary
from prefect_ltx.media.errors import FfmpegFailed
from prefect_ltx.media.limits import DEFAULT_LIMITS, Limits

_LAUNCHER = Path(__file__).with_name("launcher.py")
_LOG_LINES = 80
_LOG_BYTES = 32 * 1024
_ENVIRONMENT = (
    "PATH",
    "HOME",
    "LANG",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "SYSTEMROOT",
    "TEMP",
    "TMPDIR",
)
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")


class Progress(NamedTuple):
    """How far a run is: `fraction` from 0 to 1, never going back, and the last video frame reported."""

    fraction: float
    frame: int


@dataclass(frozen=True)
class FfmpegRun:
    """A run that ended well: the video frames ffmpeg counted, and the last lines of its log."""

    frames: int
    log: tuple[str, ...]


async def run_ffmpeg(
    graph: Any,
    *,
    expected_frames: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    timeout: float = 600,
    binary: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> FfmpegRun:
    """Run an ffmpeg-python graph, made of `source`, `generator` and `target` ends, in one process.

    Args:
        graph: An ffmpeg-python output node, or several merged with `ffmpeg.merge_outputs`.
        expected_frames: Frames of the longest output; without it only the end (1.0) is reported.
        on_progress: Called in the event loop, a few times a second; must not block.
        timeout: Seconds of wall time after which the run is ended.
        binary: The ffmpeg to use, see `ffmpeg_binary`.
        limits: Bounds on its memory, CPU time and the files it writes.

    Raises:
        FfmpegFailed: ffmpeg is missing, ended with an error, went beyond a limit, or wrote nothing.
        ValueError: the graph has an end that is not a local file.
    """
    command = _Command.of(graph, ffmpeg_binary(binary))
    watch = _ProgressWatch(expected_frames, on_progress)
    try:
        log = await _run(_bounded(command.args, limits, timeout), watch, timeout)
        command.publish(log)
    finally:
        command.discard()
    watch.finished()
    return FfmpegRun(watch.frame, log)


@dataclass(frozen=True)
class _Command:
    args: list[str]
    outputs: dict[Path, Path]  # temporary name -> name

    @classmethod
    def of(cls, graph: Any, binary: str) -> "_Command":
        nodes, _ = topo_sort(get_stream_spec_nodes(graph))
        inputs = {n.kwargs["filename"] for n in nodes if isinstance(n, InputNode) and _reads_a_file(n)}
        outputs = [n.kwargs["filename"] for n in nodes if isinstance(n, OutputNode) and n.name == "output"]
        renamed: dict[str, str] = {}
        for name in outputs:
            if name == "-":
                continue
            if not name.startswith("file:/") or name in inputs or name in renamed:
                raise ValueError(f"not a file of its own to write to: {name}; make it with media.target()")
            final = Path(name.removeprefix("file:"))
            renamed[name] = f"file:{_temporary_name(final)}"
        compiled = graph.compile(cmd=binary)[1:]
        args = [
            renamed.get(arg, arg) if position == 0 or compiled[position - 1] != "-i" else arg
            for position, arg in enumerate(compiled)
        ]
        ours = "-nostdin -hide_banner -nostats -loglevel level+info -progress pipe:1 -stats_period 0.25 -y"
        return cls(
            args=[binary, *ours.split(), *args],
            outputs={_path(temporary): _path(final) for final, temporary in renamed.items()},
        )

    def publish(self, log: tuple[str, ...]) -> None:
        for temporary, final in self.outputs.items():
            if not temporary.is_file() or temporary.stat().st_size == 0:
                raise FfmpegFailed(
                    f"ffmpeg ended without an error and without writing {final.name}.", log=log
                )
        for temporary, final in self.outputs.items():
            temporary.replace(final)

    def discard(self) -> None:
        for temporary in self.outputs:
            temporary.unlink(missing_ok=True)


def _reads_a_file(node: Any) -> bool:
    if node.kwargs.get("format") == "lavfi":
        return False
    name = node.kwargs["filename"]
    if not name.startswith("file:/") or not node.kwargs.get("protocol_whitelist"):
        raise ValueError(f"not a checked local file: {name}; make it with media.source()")
    return True


def _path(url: str) -> Path:
    return Path(url.removeprefix("file:"))


def _temporary_name(final: Path) -> Path:
    # Cut to stay under the file system's 255 bytes; the suffix stays, as some muxers look at it.
    stem = final.stem.encode()[:120].decode(errors="ignore")
    return final.with_name(f".{stem}.{secrets.token_hex(6)}.part{final.suffix}")


def _bounded(args: list[str], limits: Limits, timeout: float) -> list[str]:
    if os.name != "posix" or not sys.executable:
        return args
    cpu = limits.cpu_seconds or int(timeout * (os.cpu_count() or 1)) + 1
    bounds = map(str, (os.getpid(), limits.memory_bytes, cpu, limits.file_bytes))
    return [sys.executable, "-I", "-S", str(_LAUNCHER), *bounds, "--", *args]


async def _run(args: list[str], watch: "_ProgressWatch", timeout: float) -> tuple[str, ...]:
    try:
        process = await asyncio.create_subprocess_exec(
            *args,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        )
    except OSError as error:
        raise FfmpegFailed(f"{args[0]} could not be started: {error.strerror or error}.") from error
    assert process.stdout is not None and process.stderr is not None  # noqa: PT018
    log = asyncio.create_task(_read_log(process.stderr))
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            await watch.read(process.stdout)
            await process.wait()
            lines = await asyncio.shield(log)
    except TimeoutError:
        if not limit.expired():
            raise
        raise FfmpegFailed(f"ffmpeg took longer than {timeout:g} s and was ended.") from None
    finally:
        if process.returncode is None:
            _kill(process)
            await process.wait()
        await asyncio.gather(log, return_exceptions=True)
    if process.returncode != 0:
        raise FfmpegFailed(
            f"ffmpeg {_ending(process.returncode, lines)}: {_reason(lines)}",
            returncode=process.returncode,
            log=lines,
        )
    return lines


def _kill(process: asyncio.subprocess.Process) -> None:
    # Nothing it wrote is kept, so there is nothing to end gently for: SIGKILL, to the whole group.
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


async def _read_log(stream: asyncio.StreamReader) -> tuple[str, ...]:
    # Read to the end whatever comes: a full pipe would stop ffmpeg.
    tail = b""
    while chunk := await stream.read(65536):
        tail = (tail + chunk)[-_LOG_BYTES:]
    lines = [_ADDRESS.sub("", line).rstrip() for line in tail.decode(errors="replace").splitlines()]
    return tuple([line for line in lines if line][-_LOG_LINES:])


def _ending(code: int | None, log: tuple[str, ...]) -> str:
    number = -code if code is not None and code < 0 else 0
    if told := re.search(r"received signal (\d+)", "\n".join(log)):  # ffmpeg ends by itself on some
        number = int(told[1])
    with contextlib.suppress(ValueError):
        name = signal.Signals(number).name
        why = {"SIGXCPU": "its limit of CPU time", "SIGXFSZ": "its limit of bytes to write"}.get(name)
        return f"was ended by {name}" + (f", {why}" if why else "")
    return f"ended with code {code}"


def _reason(log: tuple[str, ...]) -> str:
    errors = [line for line in log if "[error]" in line or "[fatal]" in line]
    return " | ".join((errors or list(log) or ["it said nothing"])[-3:])


class _ProgressWatch:
    """Reads ffmpeg's progress pipe; what it reports only ever grows (the pipe's own times go back)."""

    def __init__(self, expected: int | None, report: Callable[[Progress], None] | None) -> None:
        self.frame = 0
        self._fraction = 0.0
        self._expected = expected
        self._report = report

    async def read(self, stream: asyncio.StreamReader) -> None:
        rest = b""
        while chunk := await stream.read(4096):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                name, _, value = line.strip().partition(b"=")
                if name == b"frame" and value.strip().isdigit():
                    self._at(int(value))

    def finished(self) -> None:
        if self._report is not None:
            self._report(Progress(1.0, self.frame))

    def _at(self, frame: int) -> None:
        self.frame = max(self.frame, frame)
        if not self._expected or self._report is None:
            return
        # 1.0 is said once, when the outputs are in place.
        fraction = min(self.frame / self._expected, 0.99)
        if fraction > self._fraction:
            self._fraction = fraction
            self._report(Progress(fraction, self.frame))
