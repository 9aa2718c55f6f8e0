"""Whether this machine can keep what is about to be bought: asked before any POST, answered in one line.

The ledger opens before this, and says itself where it cannot. Buckets and database servers are not tried here.
"""

import contextlib
import secrets
from pathlib import Path

from prefect_ltx.archive import Archive
from prefect_ltx.durability import machine, transience
from prefect_ltx.ledger import Ledger
from prefect_ltx.places import EXAMPLES, VARIABLES, deployed_places, in_workers_run, is_local
from prefect_ltx.settings import Settings, SettingsError

_NOTHING = "Nothing was sent or spent by this run, and what was paid for before waits."


def refuse_unusable_places(settings: Settings, ledger: Ledger, archive: Archive | None) -> None:
    """Refuse to buy what could not be kept: a folder that cannot be written, or that is known not to last.

    Args:
        settings: of this process.
        ledger: as it was opened.
        archive: None where this run does not use one.

    Raises:
        SettingsError: naming the place, why, and what to set instead. Nothing was sent or spent.
    """
    folder = archive.folder if archive is not None else None
    _refuse_another_machines(settings, ledger.file, folder)
    settings.require_home()
    _refuse_passing(settings, ledger.file, folder)
    _refuse_unwritable(settings.home / "work", "Unfinished work", "PREFECT_LTX_HOME")
    if folder is not None:
        _refuse_unwritable(folder, "The archive", "PREFECT_LTX_ARCHIVE")


def _refuse_another_machines(settings: Settings, ledger: Path | None, archive: Path | None) -> None:
    """What `prefect-ltx deploy` wrote down for its own machine is no place on another one."""
    deployed = deployed_places()
    if not deployed or str(deployed.get("machine", "")) in ("", machine()):
        return
    used = {
        "PREFECT_LTX_LEDGER": (settings.ledger, ledger),
        "PREFECT_LTX_ARCHIVE": (settings.archive, archive),
        "PREFECT_LTX_HOME": (str(settings.home), settings.home),
    }
    for name, (text, path) in used.items():
        if path is not None and text == deployed.get(name) and is_local(VARIABLES[name], text):
            raise SettingsError(
                f"{name} is {text} because `prefect-ltx deploy` wrote it down on {deployed.get('host', 'a machine')}, "
                f"and this run is on another machine. {_NOTHING} Set {name} in the worker's environment, or name "
                "blocks: prefect-ltx deploy --blocks NAME."
            )


def _refuse_passing(settings: Settings, ledger: Path | None, archive: Path | None) -> None:
    """In a worker's run nobody sees a warning: what is known to go away is refused, unless a person chose it."""
    if not in_workers_run():
        return
    for name, what, path in (
        ("PREFECT_LTX_LEDGER", "ledger", ledger),
        ("PREFECT_LTX_ARCHIVE", "archive", archive),
        ("PREFECT_LTX_HOME", "folder of unfinished work", settings.home),
    ):
        why = transience(path) if path is not None else None
        if path is None or why is None:
            continue
        is_default = path.is_relative_to(settings.home) and "home" not in settings.model_fields_set
        # What a container's run has not finished is fetched again while fal has it; the other two are for good.
        lost = why.kind == "container" and is_default and what != "folder of unfinished work"
        if why.kind == "run" or lost:
            raise SettingsError(
                f"The {what} {path} is {why.what}. {_NOTHING} Set {name}, or PREFECT_LTX_HOME, to a place that "
                f"lasts, such as {EXAMPLES[VARIABLES[name]]}."
            )


def _refuse_unwritable(folder: Path, what: str, variable: str) -> None:
    probe = folder / f".ltx-{secrets.token_hex(8)}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(b"prefect-ltx")
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()
    except OSError as error:
        raise SettingsError(
            f"{what} cannot be written to {folder}: {error.strerror or type(error).__name__}. {_NOTHING} "
            f"Make it writable, or set {variable} to another place, such as {EXAMPLES[VARIABLES[variable]]}."
        ) from None
