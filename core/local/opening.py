"""Opening a data folder: one server at a time, everything in it checked before anything is served."""

import contextlib
import errno
import sys
from collections.abc import Callable, Generator
from concurrent.futures import Executor
from pathlib import Path
from typing import IO

import httpx

from prefect_ltx.local import store as db
from prefect_ltx.local.auth import Keys
from prefect_ltx.local.faults import Faults
from prefect_ltx.local.filestore import FileStore
from prefect_ltx.local.outbound import outbound_client
from prefect_ltx.local.renderer import Renderer, load_renderer
from prefect_ltx.local.requestlog import RequestLog
from prefect_ltx.local.site import Site
from prefect_ltx.local.store import Store, StoreUnusable
from prefect_ltx.runtime import THIS_MACHINE, Runtime


@contextlib.contextmanager
def open_site(
    folder: Path,
    faults: Faults,
    render_seconds: float,
    renderer: str | Renderer | None,
    key: str | None,
    concurrency: int,
    log: RequestLog,
    accounts: dict[str, str | None] | None = None,
    *,
    runtime: Runtime = THIS_MACHINE,
    executor: Executor | None = None,
    outbound: Callable[..., httpx.AsyncClient] = outbound_client,
) -> Generator[Site, None, None]:
    """The parts of a server over `folder`, for as long as the `with` block lasts.

    `runtime`, `executor` (of the database) and `outbound` are what it has of its machine.

    Raises:
        StoreUnusable: the folder cannot be used, or another server uses it.
        RendererUnusable: the renderer cannot be used.
    """
    loaded = load_renderer(renderer)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise StoreUnusable(f"{folder} cannot be used as a data folder: {error.strerror}") from error
    with lock:
        _lock(lock, folder)
        store = Store(folder, executor)
        try:
            yield Site(
                id=store.call_soon(db.server_id),
                data=folder,
                store=store,
                files=FileStore(folder, store, runtime),
                keys=Keys(
                    store.call_soon(db.secret),
                    key,
                    accounts := {} if accounts is None else accounts,
                    runtime.time,
                ),
                faults=faults,
                renderer=loaded,
                render_seconds=render_seconds,
                concurrency=concurrency,
                log=log,
                accounts=accounts,
                runtime=runtime,
                outbound=outbound,
            )
        finally:
            store.close()


def _lock(file: IO[str], folder: Path) -> None:
    """One server a folder: two would both run its jobs. The lock ends with the process, however that ends."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise
        raise StoreUnusable(f"{folder} is in use by another embedded fal") from error
