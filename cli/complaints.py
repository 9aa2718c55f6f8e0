"""What went wrong, in one line on stderr: no traceback, no secret, no query string of a URL."""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import typer

from prefect_ltx.cli.printing import write_note

DEBUG_VARIABLE: Final = "PREFECT_LTX_DEBUG"


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the command with one line on stderr and exit code 1 when something goes wrong; 130 for Ctrl-C."""
    try:
        yield
    except (typer.Exit, typer.BadParameter):
        raise
    except KeyboardInterrupt:
        complain("Stopped. What fal has accepted goes on there; `prefect-ltx sweep` collects it.")
        raise typer.Exit(130) from None
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            traceback.print_exc()
        complain(describe(error))
        raise typer.Exit(1) from None


def complain(line: str) -> None:
    """One line on stderr."""
    write_note(f"Error: {line}")


def describe(error: BaseException) -> str:
    """An error as one line: no secret, no query string of a URL, no traceback."""
    from prefect_ltx.fal.safe_text import plain

    module = type(error).__module__
    if remedy := _about_proxies(error):
        return remedy
    if hasattr(error, "errors") and type(error).__name__ == "ValidationError":
        return plain(_problems(error), limit=2000)
    if isinstance(error, OSError) and error.strerror:
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        return plain(": ".join([*names, error.strerror]))
    if module.startswith("prefect_ltx."):
        return plain(str(error) or type(error).__name__, limit=2000)
    if "prefect" in (module.split(".")[0], _raised_in(error)):
        return plain(f"Prefect: {error or type(error).__name__}", limit=2000)
    return plain(f"Unexpected {type(error).__name__}: {error} ({DEBUG_VARIABLE}=1 shows where).", limit=2000)


def _raised_in(error: BaseException) -> str:
    """The top-level package whose code raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", "")).split(".")[0]


def _about_proxies(error: BaseException) -> str:
    """The remedy where another library's HTTP client does not take the environment's proxies; else empty."""
    if not any(name.lower().endswith("_proxy") and value for name, value in os.environ.items()):
        return ""
    from prefect_ltx.fal.environment import why_unusable

    found: BaseException | None = error
    while found is not None:
        trace = found.__traceback__
        while trace is not None:
            package = str(trace.tb_frame.f_globals.get("__name__", "")).split(".")[0]
            code = trace.tb_frame.f_code.co_qualname if hasattr(trace.tb_frame.f_code, "co_qualname") else ""
            if package == "httpx" and ("proxy" in code.lower() or "Client.__init__" in code):
                remedy = why_unusable(found) if isinstance(found, Exception) else None
                return str(remedy) if remedy else ""
            trace = trace.tb_next
        found = found.__cause__ or found.__context__
    return ""


def _problems(error: Any) -> str:
    def place(loc: tuple[object, ...]) -> str:
        name = ".".join(str(part) for part in loc)
        return f"PREFECT_LTX_{name.upper()}" if error.title == "Settings" and name != "FAL_KEY" else name

    return "; ".join(
        ": ".join(part for part in (place(each["loc"]), each["msg"]) if part)
        for each in error.errors(include_url=False, include_input=False, include_context=False)
    )
