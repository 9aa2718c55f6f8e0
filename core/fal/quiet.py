"""Keep query strings out of httpx's own log lines while this package is calling.

httpx logs every request's whole URL at INFO, and a download's query is its signature.
"""

import contextlib
import logging
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Final

import httpx

from prefect_ltx.fal.safe_text import strip_url

_ours: Final[ContextVar[bool]] = ContextVar("prefect_ltx_fal_call", default=False)


@contextlib.contextmanager
def without_queries_in_logs() -> Iterator[None]:
    """Inside, httpx's log lines of this task show URLs without their query; other tasks' lines stay."""
    logger = logging.getLogger("httpx")
    if _filter not in logger.filters:
        logger.addFilter(_filter)
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)


def _filter(record: logging.LogRecord) -> bool:
    if _ours.get() and isinstance(record.args, tuple):
        record.args = tuple(
            strip_url(str(value)) if isinstance(value, httpx.URL) else value for value in record.args
        )
    return True
