"""Where the runs of a deployment keep what must last, as far as the server and this shell can tell.

A run's places come from, in this order: the blocks that its parameters name, the environment in its job variables or
its pool's template, the worker's own environment (which nobody here can see), the places of the shell that deployed
(`places.DEPLOYED`, for process pools), and the defaults below the worker's home.
"""

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from prefect_ltx.blocks import GenerationLedger, VideoArchive
from prefect_ltx.blocks.machines import ONE_MACHINE_POOLS
from prefect_ltx.deployments.changes import Place
from prefect_ltx.durability import machine, transience
from prefect_ltx.ledger.database import Database
from prefect_ltx.places import DEPLOYED, Kind, is_local, is_relative, origin
from prefect_ltx.settings import Settings, SettingsError

_ROLES: Final[Mapping[str, tuple[str, Kind]]] = {
    "ledger": ("PREFECT_LTX_LEDGER", "ledger"),
    "archive": ("PREFECT_LTX_ARCHIVE", "archive"),
    "unfinished work": ("PREFECT_LTX_HOME", "path"),
}
_ELSEWHERE: Final = ("PREFECT_LTX_", "envFrom", "secretRef", "task_definition", "taskDefinition")
"""What in a pool's template may bring settings that cannot be read from here."""


class Pool(NamedTuple):
    """A work pool's type, and its base job template."""

    type: str
    template: Mapping[str, Any]


class Kept(NamedTuple):
    """The places of one deployment's runs, and why a run would lose what it collects or refuse to begin."""

    places: list[Place]
    problem: str


async def pool_of(client: PrefectClient, name: str) -> Pool:
    """The pool as it is, or as it will be made."""
    try:
        found = await client.read_work_pool(name)
    except ObjectNotFound:
        return Pool("process", {})
    return Pool(found.type, found.base_job_template)


def shell_places(settings: Settings) -> tuple[dict[str, str], list[str]]:
    """The environment variable for job variables that carries this shell's own places; and what it leaves out.

    Only what is set here: a default below this machine's home is no other machine's. A password stays out, because the
    API shows job variables to everybody. A worker's own settings win over it, and it counts on this machine only.
    """
    chosen = {
        "PREFECT_LTX_HOME": str(settings.home) if "home" in settings.model_fields_set else "",
        "PREFECT_LTX_LEDGER": settings.ledger,
        "PREFECT_LTX_ARCHIVE": settings.archive,
    }
    left = [name for name, text in chosen.items() if name == "PREFECT_LTX_LEDGER" and _has_secret(text)]
    written = {name: text for name, text in chosen.items() if text and name not in left}
    if not written:
        return {}, left
    return {
        DEPLOYED: json.dumps({**written, "host": socket.gethostname(), "machine": machine()}, sort_keys=True)
    }, left


async def kept_by(
    client: PrefectClient,
    settings: Settings,
    pool: Pool,
    parameters: Mapping[str, Any],
    job_variables: Mapping[str, Any],
) -> Kept:
    """Where the runs of a deployment with these parameters and job variables keep ledger, archive and work."""
    variables = pool.template.get("variables", {}).get("properties", {}).get("env", {}).get("default") or {}
    environ = {**variables, **(job_variables.get("env") or {})}
    places, problems = [], []
    for role, (variable, kind) in _ROLES.items():
        if role != "unfinished work" and (name := parameters.get(role)):
            place, problem = await _of_block(client, role, str(name), kind)
        elif text := str(environ.get(variable) or ""):
            place = Place(
                name=role, place=_shown(text), source=f"{variable} in job variables or the work pool"
            )
            problem = f"{variable} is the relative place {text} there" if is_relative(kind, text) else ""
        elif pool.type in ONE_MACHINE_POOLS:
            place, problem = _of_shell(settings, role, variable)
        else:
            place = Place(name=role, place="", source="the environment of its runs")
            known = any(each in json.dumps(dict(pool.template)) for each in _ELSEWHERE)
            problem = (
                ""
                if known or role == "unfinished work"
                else f"nothing says where runs on the {pool.type} pool keep the {role}"
            )
        if pool.type not in ONE_MACHINE_POOLS and role == "ledger" and place.place.startswith("sqlite"):
            problem = (
                problem
                or f"the ledger {place.place} is one machine's, and the {pool.type} pool's runs share no disk"
            )
        places.append(place)
        if problem:
            problems.append(problem)
    return Kept(places, "; ".join(problems))


async def _of_block(client: PrefectClient, role: str, name: str, kind: Kind) -> tuple[Place, str]:
    block = GenerationLedger if role == "ledger" else VideoArchive
    slug = block.get_block_type_slug()
    source = f"the block {slug}/{name}"
    try:
        found = await client.read_block_document_by_name(
            name=name, block_type_slug=slug, include_secrets=True
        )
    except ObjectNotFound:
        return Place(name=role, place="", source=source), f"the block {slug}/{name} does not exist"
    text = str(found.data.get(block.place_field, ""))
    problem = f"the block {slug}/{name} holds the relative place {text}" if is_relative(kind, text) else ""
    return Place(name=role, place=_shown(text), source=source), problem


def _of_shell(settings: Settings, role: str, variable: str) -> tuple[Place, str]:
    source = f"{origin(variable)}, unless the worker's environment says otherwise"
    try:
        text = {
            "ledger": lambda: settings.ledger_url,
            "archive": lambda: settings.archive_location,
            "unfinished work": lambda: str(settings.home / "work"),
        }[role]()
        settings.require_home()
    except SettingsError as problem:
        return Place(name=role, place="", source=source), str(problem).partition(". Nothing was")[0]
    kind: Kind = _ROLES[role][1]
    place = Place(name=role, place=_shown(text), source=source)
    if not is_local(kind, text):
        return place, ""
    path = Database(text).file if kind == "ledger" else Path(text)
    why = transience(path) if path is not None else None
    if path is None or (why is None and _can_be_made(path)):
        return place, ""
    if why is None:
        return place, f"the {role} cannot be written to {path}"
    place = place.model_copy(update={"note": why.what})
    # What a person chose, or what a system clears one day, is said; a container's own disk is nobody's choice.
    is_default = variable not in os.environ and path.is_relative_to(settings.home)
    lost = why.kind == "run" or (why.kind == "container" and is_default and role != "unfinished work")
    return place, f"the {role} {path} is {why.what}" if lost else ""


def _can_be_made(path: Path) -> bool:
    there = next((each for each in (path, *path.parents) if each.exists()), Path("/"))
    return (there == path or there.is_dir()) and os.access(there, os.W_OK)


def _has_secret(url: str) -> bool:
    try:
        return bool(url) and make_url(url).password is not None
    except (ArgumentError, ValueError):
        return bool(url)


def _shown(text: str) -> str:
    if "://" not in text:
        return text
    try:
        return (
            make_url(text).set(query={}).render_as_string(hide_password=True) if _has_secret(text) else text
        )
    except (ArgumentError, ValueError):
        return "a URL that cannot be read"
