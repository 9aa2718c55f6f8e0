"""Prefect as this installation has it: versions that do not work together, the server, its clock and its pools."""

from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, requires, version
from time import time
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from prefect_ltx.doctor import Finding, error, info, ok, warning
from prefect_ltx.doctor.account import SKEW_WARNS

if TYPE_CHECKING:
    from prefect.client.schemas.objects import WorkPool

OLDEST = Version("3.9")
"""3.8 holds neither FastAPI (its server does not start with 0.155) nor SQLAlchemy (its scheduler fails with 2.1)."""


def check_versions(versions: dict[str, str] | None = None) -> list[Finding]:
    """Releases that do not work together: an old Prefect, or another library than Prefect itself declares.

    `versions` stands for what is installed.
    """
    have = versions if versions is not None else installed()
    prefect = Version(have["prefect"])
    found = [ok("prefect", f"Prefect {prefect}, FastAPI {have['fastapi']}, SQLAlchemy {have['sqlalchemy']}")]
    if prefect < OLDEST:
        found.append(error("prefect", f"Prefect {prefect} is too old", f"pip install 'prefect>={OLDEST},<4'"))
        return found
    for requirement in _declared():
        name = canonicalize_name(requirement.name)
        if name in have and not requirement.specifier.contains(have[name], prereleases=True):
            what = f"{requirement.name} {have[name]} with Prefect {prefect}, which asks for {requirement.specifier}"
            found.append(
                error(
                    "prefect",
                    f"{what}: its server may not start",
                    f"pip install '{requirement.name}{requirement.specifier}'",
                )
            )
    return found


def _declared() -> list[Requirement]:
    declared = [Requirement(line) for line in requires("prefect") or []]
    return [each for each in declared if each.marker is None or each.marker.evaluate({"extra": ""})]


def installed() -> dict[str, str]:
    """The releases that Prefect's server depends on most; 0 for one that is missing."""
    found = {}
    for name in ("prefect", "fastapi", "starlette", "sqlalchemy", "pydantic", "websockets"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "0"
    return found


async def check_server() -> tuple[list[Finding], str | None]:
    """The server in use; and how it is known that several machines work for it, where it is."""
    from prefect.settings import PREFECT_API_URL

    url = PREFECT_API_URL.value()
    if not url:
        return [
            warning(
                "prefect",
                "PREFECT_API_URL is not set: each run starts a temporary server, which takes 10 to 30 s and loses "
                "part of the history",
                "Run `prefect server start`, then `prefect config set PREFECT_API_URL=http://127.0.0.1:4200/api`.",
            )
        ], None
    try:
        return await _asked(str(url))
    except Exception as problem:
        return [
            error(
                "prefect",
                f"The Prefect server {url} does not answer: {type(problem).__name__}: {problem}",
                "Start it with `prefect server start`, or correct PREFECT_API_URL (and PREFECT_API_AUTH_STRING).",
            )
        ], None


async def _asked(url: str) -> tuple[list[Finding], str | None]:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    async with get_client() as client:
        answer = await client._client.get("/health")
        answer.raise_for_status()
        theirs = await client.api_version()
        found = [ok("prefect", f"The server {url} answers; it runs Prefect {theirs}")]
        found += _difference(Version(installed()["prefect"]), Version(theirs))
        found += _clock(answer.headers.get("date"))
        pools = await client.read_work_pools()
        try:
            await client.read_block_type_by_slug("fal-credentials")
        except ObjectNotFound:
            remedy = "Run `prefect block register -m prefect_ltx.blocks`, or `prefect-ltx deploy`."
            found.append(info("prefect", "The server does not know this package's blocks", remedy))
    elsewhere = [pool for pool in pools if pool.type not in ("process", "prefect-agent")]
    if not elsewhere:
        return found, None
    names = ", ".join(f"{pool.name} ({pool.type})" for pool in elsewhere)
    return [*found, info("prefect", f"Work pools whose runs do not share a disk: {names}")], _machines(
        elsewhere
    )


def _machines(pools: "list[WorkPool]") -> str | None:
    # Other teams have pools on the same server: only one that deployments of ours would use says anything.
    ours = [pool for pool in pools if pool.name.startswith("ltx")]
    return f"the work pool {ours[0].name} is of type {ours[0].type}" if ours else None


def _difference(ours: Version, theirs: Version) -> list[Finding]:
    if (ours.major, ours.minor) == (theirs.major, theirs.minor):
        return []
    what = f"This machine has Prefect {ours} and the server {theirs}"
    if theirs < ours:
        return [
            warning("prefect", f"{what}: a server should not be older than its clients", "Update the server.")
        ]
    return [info("prefect", what)]


def _clock(date: str | None) -> list[Finding]:
    if not date:
        return []
    skew = parsedate_to_datetime(date).timestamp() + 0.5 - time()
    if abs(skew) < SKEW_WARNS:
        return []
    what = f"The Prefect server's clock and this machine's differ by {abs(skew):.0f} s: schedules are late or early"
    return [warning("clock", what, "Switch time synchronisation on for both.")]
