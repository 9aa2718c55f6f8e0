"""fal's request id, kept on this machine from the moment it arrives until the ledger has it.

The id is what a paid video hangs on. It goes into the generation's work folder before anything else is done with the
reply, so that a ledger that is locked or gone, or a kill between reply and record, does not cost it: the next run or
sweep on this machine finds it there.
"""

import json
import logging
import os
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ValidationError

from prefect_ltx.fal import FalError, FalNotFound, FalUnavailable
from prefect_ltx.generation.services import Services
from prefect_ltx.generation.work_folders import KEPT_ID, generation_folders
from prefect_ltx.ledger import Generation

logger = logging.getLogger("prefect_ltx.generation")


class KeptRequest(BaseModel, frozen=True):
    """A request id that a reply of fal's named, and the row it is for."""

    ledger_id: str
    generation_id: str
    attempt: int
    endpoint: str
    request_id: str


def keep_request_id(services: Services, generation: Generation, request_id: str) -> None:
    """Write the id down, durably; where even that fails it is logged."""
    kept = KeptRequest(
        ledger_id=services.ledger.id,
        generation_id=generation.id,
        attempt=generation.attempt,
        endpoint=generation.endpoint,
        request_id=request_id,
    )
    services.process.kept[kept.ledger_id, kept.generation_id] = kept
    try:
        _write(services.work_dir(generation.id) / KEPT_ID, kept)
    except OSError as error:
        logger.warning(
            "fal names generation %s request %s, and the id cannot be kept in %s: %s",
            generation.id,
            request_id,
            services.options.work_dir,
            error.strerror,
        )


def kept_request(services: Services, generation_id: str) -> KeptRequest | None:
    """The id that is kept for this row of this ledger, if any."""
    place = (services.ledger.id, generation_id)
    kept = services.process.kept.get(place) or _read(services.options.work_dir / generation_id / KEPT_ID)
    return kept if kept is not None and (kept.ledger_id, kept.generation_id) == place else None


def all_kept(services: Services) -> list[KeptRequest]:
    """Every id that is kept on this machine for rows of this ledger."""
    found = [kept_request(services, name) for name in generation_folders(services.options.work_dir)]
    return [each for each in found if each is not None]


async def fal_knows(services: Services, kept: KeptRequest) -> bool:
    """Whether fal knows the request; only that it says no speaks against an id from the answer to our own POST.

    An error page may name an id, too, of a request that never was.

    Raises:
        FalUnavailable: fal cannot be asked.
    """
    try:
        await services.client.status(kept.endpoint, kept.request_id, logs=False)
    except FalUnavailable:
        raise
    except FalNotFound as error:
        logger.warning(
            "The reply to generation %s named request %s: %s",
            kept.generation_id,
            kept.request_id,
            error.what,
        )
        return False
    except FalError:
        pass
    return True


def forget_kept(services: Services, generation_id: str) -> None:
    """The ledger has it: the file is not needed any more."""
    services.process.kept.pop((services.ledger.id, generation_id), None)
    folder = services.options.work_dir / generation_id
    with suppress(OSError):
        (folder / KEPT_ID).unlink()
        folder.rmdir()  # where nothing else is in it


def _write(path: Path, kept: KeptRequest) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with part.open("w") as file:
        file.write(kept.model_dump_json())
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> KeptRequest | None:
    try:
        return KeptRequest.model_validate(json.loads(path.read_text()))
    except (OSError, ValueError, ValidationError):
        return None
