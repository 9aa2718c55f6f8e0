"""What there is at the end of a history, as plain values: fal's truth, ledger, archive, and what was said."""

import hashlib
import json
import re
import sqlite3
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from world import OTHER_SECRET, SECRET, Want, World

from prefect_ltx.local.bill import Bill
from prefect_ltx.local.store import DATABASE_NAME

_OWNER = re.compile(r"(?:second )?machine:(\d+):\w+")
"""How an owner is named in a row's history."""


@dataclass(frozen=True)
class Job:
    """A request as fal knows it."""

    id: str
    account: str
    prompt: str
    seed: int | None
    state: str
    status: int | None
    gone: str | None
    sha256: str | None
    """Of the file it made."""
    charged: Decimal


@dataclass(frozen=True)
class Row:
    """A generation as the ledger knows it."""

    id: str
    prompt: str
    seed: int | None
    state: str
    request_id: str | None
    reason: str
    account: str
    owner: str | None
    held: Decimal
    settled: Decimal | None
    settled_by: str | None
    upper: Decimal
    sha256: str | None
    folder: str | None
    flow_run_id: str | None
    image_url: str
    created: float
    """Unix seconds by the ledger's clock."""


@dataclass(frozen=True)
class Archived:
    """A folder of the archive with its manifest."""

    folder: str
    generation_id: str
    request_id: str
    problems: tuple[str, ...]
    video_sha256: str | None
    """Of the bytes that are there."""


@dataclass(frozen=True)
class Post:
    """A submit that reached fal."""

    who: str
    fate: str
    prompt: str
    seed: int | None


@dataclass
class Snapshot:
    """See the module."""

    jobs: list[Job] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    strays: list[tuple[str, str]] = field(default_factory=list)
    """Request id and kind."""
    archive: list[Archived] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    """Videos in the archive that no manifest names."""
    posts: list[Post] = field(default_factory=list)
    wants: list[Want] = field(default_factory=list)
    faults: dict[str, Any] = field(default_factory=dict)
    stays: frozenset[str] = frozenset()
    budget: Decimal | None = None
    secrets: tuple[str, ...] = (SECRET, OTHER_SECRET)
    words: list[str] = field(default_factory=list)
    """Every log line, error and note, and all texts of ledger and archive."""
    failures: list[str] = field(default_factory=list)
    history: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    """What happened to the rows, in order: row, event, its detail."""
    lost: list[tuple[str, str]] = field(default_factory=list)
    """Every row that ever became LOST, with the event that made it so."""
    unread: list[tuple[str, float, str]] = field(default_factory=list)
    """Every file that fal said it could not read, when the ledger learned of it, and of which row."""
    robbed: list[str] = field(default_factory=list)
    """Rows that another run went on with although their own had not failed, nor was killed or stopped."""
    clocks_jump: bool = False
    """Whether a lease may have ended, or not been renewed, while its owner lived."""
    stopped: bool = False
    is_fal: bool = False
    heard: list[tuple[str, str, int | None]] = field(default_factory=list)
    """Submits whose acceptance came back whole: who sent it, prompt, seed."""
    deaths: dict[str, str] = field(default_factory=dict)
    """Where each process that was killed died."""
    strangers: bool = False
    """Whether another account used the ledger, and nobody has named ours."""
    disk_full: bool = False
    cancelled: bool = False
    double_accepts: int = 0
    orphans: frozenset[str] = frozenset()
    """Request ids that the last sweep named as nobody's."""


def taken(world: World) -> Snapshot:
    """The world as it is now."""
    world.note_service_faults()
    found = Snapshot(
        wants=world.wants,
        faults=world.trouble.faults,
        stays=world.trouble.stays,
        budget=world.trouble.budget_usd,
        failures=list(world.failures),
        cancelled="person cancels" in world.chance.happened.values(),
        double_accepts=world.faults.fired("double_accept"),
    )
    _fal(world, found)
    _ledger(world, found)
    _archive(world, found)
    for who, fate, body in world.network.seen:
        data = json.loads(body)
        found.posts.append(Post(who, fate, data["prompt"], data.get("seed")))
    for who, body in world.network.answered:
        data = json.loads(body)
        found.heard.append((who, data["prompt"], data.get("seed")))
    found.deaths = world.deaths
    found.strangers = not world.trouble.account_name and any(
        each.name.startswith("stranger") for each in world.processes.values()
    )
    # Leases go by the one machine's clock, or by the database's, which does not jump.
    by_machine = len(world.machines) == 1 and any(world.trouble.clock_jumps)
    not_renewed = {"ledger full", "ledger locked", "commit fails"} & set(world.chance.happened.values())
    found.clocks_jump = by_machine or bool(not_renewed)
    found.stopped = "process stopped" in world.chance.happened.values()
    found.is_fal = world.trouble.service == "fal"
    found.disk_full = world.trouble.disk_full is not None
    found.words += world.words.texts
    if world.reports:
        found.orphans = frozenset(world.reports[-1].orphans)
    return found


def _fal(world: World, found: Snapshot) -> None:
    charges = {each.request_id: each.usd for each in Bill(world.folder / "fal").charges}
    for row in _read(world.folder / "fal" / DATABASE_NAME, "SELECT * FROM requests ORDER BY seq"):
        body = json.loads(row["body"])
        files = _read(
            world.folder / "fal" / DATABASE_NAME,
            "SELECT sha256 FROM files WHERE request_id = ?",
            row["request_id"],
        )
        found.jobs.append(
            Job(
                row["request_id"],
                row["key_id"],
                body["prompt"],
                body.get("seed"),
                row["state"],
                row["status_code"],
                row["gone"],
                files[0]["sha256"] if files else None,
                charges.get(row["request_id"], Decimal(0)),
            )
        )


def _ledger(world: World, found: Snapshot) -> None:
    file = world.folder / "ledger.db"
    for row in _read(file, "SELECT * FROM ltx_generation ORDER BY created_at, id"):
        body = json.loads(row["body"])
        found.rows.append(
            Row(
                row["id"],
                body["prompt"],
                body.get("seed"),
                row["state"],
                row["request_id"],
                row["reason"] or "",
                row["account"],
                row["owner"],
                _usd(row["held_nano"]),
                None if row["settled_nano"] is None else _usd(row["settled_nano"]),
                row["settled_by"],
                _usd(row["price_upper_nano"]),
                row["sha256"],
                row["folder"],
                row["flow_run_id"],
                body["image_url"],
                row["created_at"],
            )
        )
        found.words.append(repr(tuple(row)))
    harmed = {pid for pid, each in world.processes.items() if each.name in world.deaths or each.fails_commit}
    whose: dict[str, tuple[int | None, str]] = {}  # and who said that he left it behind
    for row in _read(file, "SELECT * FROM ltx_event ORDER BY id"):
        pid, left_by = whose.get(row["generation_id"], (None, ""))
        left = left_by not in ("", row["actor"])  # nobody takes another's lease to have ended by his own word
        if row["event"] == "Adopted" and pid is not None and pid not in harmed and not left:
            found.robbed.append(f"{row['generation_id']} of {world.processes[pid].name} by {row['actor']}")
        if row["event"] == "LeftBehind":
            whose[row["generation_id"]] = (pid, row["actor"])
        elif row["event"] in ("Intended", "Claimed", "Adopted"):
            match = _OWNER.fullmatch(row["actor"])
            whose[row["generation_id"]] = (int(match[1]) if match else None, "")
        found.words.append(repr(tuple(row)))
        found.history.append((row["generation_id"], row["event"], json.loads(row["detail"])))
        if row["event"] == "RemoteFailed" and "file_download_error" in row["detail"]:
            url = next(each.image_url for each in found.rows if each.id == row["generation_id"])
            found.unread.append((url, row["at"], row["generation_id"]))
        if row["to_state"] == "LOST" != row["from_state"]:
            found.lost.append((row["generation_id"], row["event"]))
    found.strays = [
        (row["request_id"], row["kind"]) for row in _read(file, "SELECT * FROM ltx_stray ORDER BY request_id")
    ]


def _archive(world: World, found: Snapshot) -> None:
    root = world.folder / "archive"
    named: set[Path] = set()
    for path in sorted(root.rglob("manifest.json")):
        text = path.read_text()
        found.words.append(text)
        data = json.loads(text)
        problems, video = [], None
        for file in data["files"]:
            place = path.parent / file["name"]
            named.add(place)
            if not place.is_file():
                problems.append(f"{file['name']} is missing")
                continue
            sha256 = hashlib.sha256(place.read_bytes()).hexdigest()
            if file["role"] == "video":
                video = sha256
            if sha256 != file["sha256"]:
                problems.append(f"{file['name']} has other bytes than its manifest says")
        found.archive.append(
            Archived(
                path.parent.relative_to(root).as_posix(),
                data["generation_id"],
                data["request_id"],
                tuple(problems),
                video,
            )
        )
    found.unlisted = [
        path.relative_to(root).as_posix() for path in sorted(root.rglob("video.mp4")) if path not in named
    ]


def _read(file: Path, query: str, *values: object) -> list[sqlite3.Row]:
    connection = sqlite3.connect(file)
    connection.row_factory = sqlite3.Row
    try:
        return connection.execute(query, values).fetchall()
    finally:
        connection.close()


def _usd(nano: int) -> Decimal:
    return Decimal(nano) / 10**9
