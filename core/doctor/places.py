"""Where the ledger, the archive and unfinished work lie, whether that lasts, and who said so."""

from pathlib import Path
from urllib.parse import urlsplit

from prefect_ltx.archive import Archive, ArchiveError
from prefect_ltx.doctor.findings import Finding, error, info, ok, warning
from prefect_ltx.durability import transience
from prefect_ltx.ledger import LedgerError
from prefect_ltx.ledger.database import Database
from prefect_ltx.places import OLD_ARCHIVE, origin
from prefect_ltx.settings import DEPLOYED_BY, ENVIRONMENT, Settings, SettingsError


def check_places(settings: Settings) -> list[Finding]:
    """One finding for each place; an error where a place is missing, so that nothing else can be looked at."""
    try:
        database = Database(settings.ledger_url)
        archive = Archive(settings.archive_location)
        settings.require_home()
    except SettingsError as problem:
        what, _, remedy = str(problem).partition(" Nothing was sent or spent. ")
        return [error("places", what, remedy)]
    except (ArchiveError, LedgerError):
        return []  # said by their own checks
    found = [
        _place("ledger", database.file, database.name, "PREFECT_LTX_LEDGER"),
        _place("archive", archive.folder, archive.location, "PREFECT_LTX_ARCHIVE"),
        _place("unfinished work", settings.home / "work", "", "PREFECT_LTX_HOME"),
    ]
    for variable, path in (
        ("PREFECT_LTX_C2PA_CERTIFICATE", settings.c2pa_certificate),
        ("PREFECT_LTX_C2PA_KEY", settings.c2pa_key),
    ):
        if path is not None:
            found.append(_place("file", path, "", variable))
    old = Path.cwd() / OLD_ARCHIVE
    if not settings.archive and old.is_dir():
        found.append(
            info(
                "places",
                f"{old} was the default archive of earlier releases; it is not used, the archive is {archive.location}",
                f"PREFECT_LTX_ARCHIVE={old} goes on with it.",
            )
        )
    return found


def _place(what: str, path: Path | None, address: str, variable: str) -> Finding:
    source = origin(variable)
    if (file := Settings.origins().get(variable, "")) and file not in (ENVIRONMENT, DEPLOYED_BY):
        source = f"from {file}"
    if path is None:
        kind = "bucket" if urlsplit(address).scheme == "s3" else "server"
        return ok("places", f"{what}: {address}, on a {kind} ({source})")
    why = transience(path)
    if why is None:
        return ok("places", f"{what}: {path}, on a disk of this machine ({source})")
    # A temporary folder may be what a trial wants; the others lose what was paid for without anybody's doing.
    say = info if why.kind == "temporary" else warning
    remedy = f"Set {variable} to a place that lasts, if what lies there has to."
    return say("places", f"{what}: {path} is {why.what} ({source})", remedy)
