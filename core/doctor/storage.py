"""The ledger and the archive: opened, written, and tried for what the promises rest on."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import text

from prefect_ltx.archive import Archive, ArchiveDenied, ArchiveError
from prefect_ltx.doctor.account import SKEW_WARNS
from prefect_ltx.doctor.database import check_postgresql
from prefect_ltx.doctor.findings import Finding, error, info, ok, warning
from prefect_ltx.generation.sharing import network_file_system
from prefect_ltx.ledger import Ledger, LedgerError, State
from prefect_ltx.ledger.database import Database
from prefect_ltx.ledger.life.budget import dollars
from prefect_ltx.ledger.schema import SCHEMA_VERSION
from prefect_ltx.ledger.seen import machines
from prefect_ltx.settings import Settings


def check_ledger(settings: Settings) -> list[Finding]:
    """Opens, is of this release's schema, can be written, lies where it should, and nothing in it waits."""
    try:
        with Ledger(settings.ledger_url, lease_seconds=settings.lease_seconds) as ledger:
            found = [
                ok(
                    "ledger",
                    f"{ledger.file or ledger.name} opens, is writable and has schema version {SCHEMA_VERSION}",
                )
            ]
            found += _file(ledger)
            found += _database(settings.ledger_url, ledger)
            return found + _waiting(ledger)
    except LedgerError as problem:
        remedy = problem.next_step or "Correct PREFECT_LTX_LEDGER (or --ledger)"
        return [error("ledger", problem.what, f"{remedy}.")]


def _file(ledger: Ledger) -> list[Finding]:
    if ledger.file is None:
        return []
    kind = network_file_system(ledger.file)
    if kind is None:
        return [ok("ledger", "Its file is on a disk of this machine; SQLite is for one machine")]
    return [
        error(
            "ledger",
            f"The SQLite file {ledger.file} is on a network file system ({kind}), where its locks do not hold",
            "Move it to a disk of this machine, or use PostgreSQL: PREFECT_LTX_LEDGER=postgresql://…",
        )
    ]


def _database(url: str, ledger: Ledger) -> list[Finding]:
    database = Database(url)
    try:
        seen = database.read(machines)
        found = check_postgresql(database)
        if database.is_sqlite:
            mode = database.read(lambda connection: str(connection.scalar(text("PRAGMA journal_mode"))))
            skew = 0.0
        else:
            mode, skew = "", database.read(database.now) - time.time()
    finally:
        database.close()
    if mode and mode != "wal":
        found.append(
            error(
                "ledger",
                f"SQLite's journal mode is {mode}, not WAL",
                "Move the file to a file system with shared memory (a local disk).",
            )
        )
    if abs(skew) > SKEW_WARNS:
        found.append(
            warning(
                "clock",
                f"The ledger's database and this machine differ by {abs(skew):.0f} s",
                "Switch time synchronisation on for both.",
            )
        )
    if ledger.file is None and len({each.host for each in seen}) > 1:
        names = ", ".join(sorted({each.host for each in seen}))
        found.append(info("ledger", f"Machines that have used it: {names}"))
    return found


def _waiting(ledger: Ledger) -> list[Finding]:
    parked = ledger.find(states=[State.PARKED])
    old = [each for each in ledger.unfinished() if (datetime.now(UTC) - each.updated_at).days >= 1]
    found = [
        error(
            "ledger",
            f"fal billed {dollars(each.billed_usd)} for generation {each.generation_id}, which was to cost at most "
            f"{dollars(each.upper_usd)}: nothing is bought",
            f"Look at fal's billing, then `prefect-ltx ledger resolve {each.generation_id} --bill-checked`.",
        )
        for each in ledger.stops()
    ]
    if parked:
        found.append(
            warning(
                "ledger",
                f"{len(parked)} generations are parked: nobody can tell whether fal accepted them",
                "Look at fal's dashboard, then `prefect-ltx ledger resolve`.",
            )
        )
    if old:
        found.append(
            warning(
                "ledger",
                f"{len(old)} generations have not moved for a day or more; what fal made expires there",
                "Run `prefect-ltx sweep`, and schedule it.",
            )
        )
    return found


_REMEDY: Final = {
    "error": "Use a server that knows conditional writes (If-None-Match), or a folder on a disk.",
    "warning": "With several machines better use a store that does; meanwhile only the ledger's leases keep two "
    "writers apart.",
    "info": "Remove it by hand if it matters.",
}


async def check_archive(settings: Settings) -> list[Finding]:
    """Two writes of different bytes to one name: the second must be refused, by the place itself and not only by
    looking first, and the first read back."""
    try:
        archive = Archive(settings.archive_location)
    except ArchiveError as problem:
        return [error("archive", str(problem), "Correct PREFECT_LTX_ARCHIVE (or --archive).")]
    where = archive.location
    async with archive:
        try:
            async with asyncio.timeout(120):
                wrong = await archive.probe()
        except ArchiveDenied as problem:
            return [await _denied(archive, problem)]
        except (ArchiveError, TimeoutError) as problem:
            said = str(problem) or "no answer within two minutes"
            return [
                error("archive", said, "Correct PREFECT_LTX_ARCHIVE and the credentials and endpoint for it.")
            ]
    found = []
    if archive.rules is not None and (stated := archive.rules.stated):
        said = "; ".join(f"{name} {value}" for name, value in stated.items())
        found.append(ok("archive", f"The bucket takes what is written by the rules that are set: {said}"))
    if not any(each.severity == "error" for each in wrong):
        found.append(ok("archive", f"{where} is write-once: a second write to one name was refused"))
    found += [
        Finding(
            check="archive",
            severity=each.severity,
            what=f"{where}: {each.what}",
            remedy=_REMEDY[each.severity],
        )
        for each in wrong
    ]
    if archive.folder is not None and (kind := network_file_system(archive.folder)):
        found.append(
            info("archive", f"The folder is on a network file system ({kind}), which machines may share")
        )
    return found


async def _denied(archive: Archive, problem: ArchiveDenied) -> Finding:
    """A refusal, with the rule that it asks for, where trying tells."""
    asked = None
    try:
        async with asyncio.timeout(120):
            asked = await archive.rule_asked()
    except (ArchiveError, TimeoutError):
        pass  # then the refusal itself is all that is known
    if asked is not None:
        return error("archive", f"{problem.what}; {asked.what}", f"{asked.remedy}.")
    remedy = f"{problem.next_step}. An archive needs the right to put, get, list and delete."
    return error("archive", problem.what, remedy)
