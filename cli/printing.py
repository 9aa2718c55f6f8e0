"""What a command writes: printing never fails, and never takes a report with it.

A terminal may know few characters, a pipe may be closed, a disk full. What cannot be shown is escaped, what cannot be
written to stdout goes to stderr, and the command ends as it would have ended.
"""

import contextlib
import errno
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDE: Final = 240
_NARROWEST: Final = 40
_COLUMN: Final = 8
_PIPE: Final = 64 << 10
"""What a pipe holds: a report beyond it that nobody reads to its end is one that somebody has seen enough of."""


class _Careful:
    """A stream whose writing never raises: the first failure is kept, and what follows it goes nowhere."""

    def __init__(self, stream: TextIO, failure: OSError | None = None) -> None:
        self._stream = stream
        self.failure: Exception | None = failure

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if self.failure is None:
            with self._noted():
                self._stream.write(text)
        return len(text)

    def writelines(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if self.failure is None:
            with self._noted():
                self._stream.flush()

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # a ValueError: somebody closed it in this process
            self.failure = error
            # What is left in its buffers must not fail again when the process ends.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)


def prepare() -> None:
    """Let stdout and stderr take every character and survive every failure. Doing it twice has no effect."""
    # With 1 or 2 free, the next file that is opened would be written to as if it were the terminal.
    with contextlib.suppress(OSError):
        while (free := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(free)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, _Careful):
            continue
        if stream is None:
            closed = OSError(errno.EBADF, "it is closed")
            stream = _Careful(open(os.devnull, "w", encoding="utf-8"), closed)  # noqa: SIM115 - for good
        else:
            with contextlib.suppress(AttributeError, OSError, ValueError):
                stream.reconfigure(errors="backslashreplace")
            stream = _Careful(stream)
        setattr(sys, name, stream)


def write_result(text: str) -> None:
    """A command's result on stdout; on stderr, where that cannot be written."""
    prepare()
    out = cast(_Careful, sys.stdout)
    out.write(text)
    out.flush()
    if out.failure is None:
        return
    error = out.failure
    why = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
    if isinstance(error, BrokenPipeError) and len(text) > _PIPE:
        write_note(f"Note: nobody reads stdout any more ({why}), so not all of the result was shown.")
        return
    write_note(f"Note: stdout cannot be written ({why}); this is the result:\n{text.rstrip()}")


def write_note(line: str) -> None:
    """A line on stderr."""
    prepare()
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def as_json(data: Any) -> str:
    """`data` (a pydantic model, or JSON types, decimals and dates within) as one JSON document in ASCII."""
    from pydantic_core import to_jsonable_python

    plain = to_jsonable_python(data, fallback=str)
    try:
        return json.dumps(plain, indent=2, allow_nan=False) + "\n"
    except ValueError:
        # NaN and infinity are no JSON: both become null.
        plain = json.loads(json.dumps(plain), parse_constant=lambda _: None)
        return json.dumps(plain, indent=2) + "\n"


def as_text(renderables: Sequence[Any]) -> str:
    """What rich makes of tables and texts, for stdout as it is: its width, its colours."""
    from rich.console import Console
    from rich.table import Table

    # What goes into a file or a pipe is not folded to a terminal's width.
    width, height = shutil.get_terminal_size()
    # Both told: for a terminal that says it is dumb rich takes 80 columns, whatever else it says.
    console = Console(width=width, height=height) if sys.stdout.isatty() else Console(width=_WIDE)
    with console.capture() as captured:
        for each in renderables:
            shown = _listed(each) if isinstance(each, Table) and _is_too_narrow(console, each) else each
            console.print(shown, soft_wrap=isinstance(shown, str))
    return captured.get()


def can_move() -> bool:
    """Whether stderr is a terminal on which a line can be drawn again and again."""
    from rich.console import Console

    if not sys.stderr.isatty():
        return False
    return not Console(stderr=True).is_dumb_terminal and shutil.get_terminal_size().columns >= _NARROWEST


def spinner() -> str:
    """The name of a spinner that stderr can show."""
    encoding = (getattr(sys.stderr, "encoding", None) or "ascii").lower()
    return "dots" if encoding.startswith("utf") else "line"


def _is_too_narrow(console: "Console", table: "Table") -> bool:
    return console.width < max(_NARROWEST, _COLUMN * len(table.columns))


def _listed(table: "Table") -> str:
    """A table's rows one below the other, a line for each value."""
    columns = [(str(column.header), [*column.cells]) for column in table.columns]
    lines = [str(table.title)] if table.title else []
    for number in range(table.row_count):
        cells = [(name, str(texts[number])) for name, texts in columns]
        if table.show_header:
            lines += ["", *(f"{name}: {text}" if name else text for name, text in cells if text)]
        else:
            lines.append(": ".join(text for _, text in cells if text))
    return "\n".join(lines)
