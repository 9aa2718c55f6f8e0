"""Requests that arrive as files: a look at a watched place, and a night's batch of all that lie there."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.exceptions import CancelledRun
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed
from pydantic import BaseModel, Field

from prefect_ltx.archive import ArchiveError
from prefect_ltx.batch import MOST_ROWS, BatchInvalid
from prefect_ltx.batch.run import reason_of
from prefect_ltx.fal import FrameRule, plain
from prefect_ltx.flows.batch import generate_batch
from prefect_ltx.flows.cancellation import cancel_paid_job
from prefect_ltx.flows.forms import RecipeChoice
from prefect_ltx.flows.only_one import another_run
from prefect_ltx.flows.parameters import flow
from prefect_ltx.generation.inspection import QualityMode
from prefect_ltx.inbox import Inbox, InboxFile, Record, seed_scope, shown, whole_requests
from prefect_ltx.ledger import LedgerSchemaUnknown, LedgerUnavailable
from prefect_ltx.ledger.life.budget import dollars
from prefect_ltx.settings import SettingsError
from prefect_ltx.tasks.batch import slug
from prefect_ltx.tasks.context import run_logger
from prefect_ltx.tasks.landed import WatchReport, log_report, watch_once

NightlyStatus = Literal["done", "done_before", "incomplete", "refused", "failed"]


class NightlyFile(BaseModel, frozen=True):
    """How one request file ended."""

    name: str
    status: NightlyStatus
    reason: str = ""
    rows: int = 0
    archived: int = 0
    """Rows whose video is in the archive, whichever run bought it."""
    spent_usd: Decimal = Decimal(0)


class NightlyReport(BaseModel):
    """Every request file of the inbox, in the order of their names."""

    inbox: str
    files: list[NightlyFile] = []
    growing: list[str] = []
    """Still being written; the next run has them."""

    @property
    def ok(self) -> bool:
        """Whether every row of every file is in the archive."""
        return all(each.status in ("done", "done_before") for each in self.files)

    @property
    def summary(self) -> str:
        """The night in one line."""
        ran = [each for each in self.files if each.status != "done_before"]
        if not ran:
            return "nothing to do"
        spent = sum((each.spent_usd for each in ran), Decimal(0))
        rows, archived = (sum(each.rows for each in ran), sum(each.archived for each in ran))
        bad = sum(each.status != "done" for each in ran)
        trouble = f", {bad} of them not complete" if bad else ""
        return (
            f"{len(ran)} files{trouble}: {archived} of {rows} rows are in the archive, {dollars(spent)} spent"
        )


def _run_name() -> str:
    place = str(flow_run.parameters.get("inbox", "")).rstrip("/").rpartition("/")[2]
    return f"{flow_run.flow_name} {plain(ascii(place)[1:-1], limit=60)}"


@flow(name="watch-inbox", flow_run_name=_run_name)
async def watch_inbox(
    inbox: Annotated[str, Field(min_length=1)],
    settle_seconds: Annotated[float, Field(ge=0, le=600)] = 5.0,
    most: Annotated[int, Field(ge=1, le=1000)] = 100,
) -> WatchReport:
    """Look once at a folder or bucket, and raise one event for each new reference video or request file.

    An event `ltx.file.landed` starts the run that makes it. A video needs a `defaults.yaml` beside it, which says what
    to make of it. What was told is recorded in the inbox under `.ltx/`, so that any number of watchers tell of a file
    once; the files themselves are never touched. Spends nothing itself.

    Args:
        inbox: A folder or s3://bucket/prefix. It has to be there, and to be writable for the record.
        settle_seconds: How long a local file has to rest before it counts as whole.
        most: New files that one look tells of at most; the next look has the others.

    Raises:
        InboxNotWatched: nothing on this server listens; nothing was told, and the files stay new.
        ArchiveError: the inbox cannot be listed or its record not be written.
    """
    if said := await another_run():
        return Completed(message=said, data=WatchReport(inbox=inbox))  # type: ignore[return-value]
    report = await watch_once(inbox, settle=settle_seconds, most=most)
    log_report(report)
    new = [each for each in report.refused if each.new]
    if new:
        lines = [f"| {_code(each.name)} | {_code(each.problem)} |" for each in new]
        await acreate_markdown_artifact(
            "\n".join(
                [
                    f"**{len(new)} files in {_code(report.inbox)} cannot be used.** Nothing was spent, and they stay "
                    "where they are. Mend or remove them; a changed file is looked at again.",
                    "",
                    "| File | Problem |",
                    "|---|---|",
                    *lines,
                ]
            ),
            key=f"ltx-inbox-{slug(report.inbox)[-60:].strip('-')}",
            description=f"Files that cannot be used in {plain(report.inbox, limit=200)}",
        )
    return Completed(message=report.summary, data=report)  # type: ignore[return-value]


@flow(name="nightly-batch", flow_run_name=_run_name, on_cancellation=[cancel_paid_job])
async def nightly_batch(
    inbox: Annotated[str, Field(min_length=1)],
    credentials: str = "",
    ledger: str = "",
    archive: str = "",
    budget: str = "",
    concurrency: Annotated[int, Field(ge=1, le=40)] = 2,
    recipe: RecipeChoice = "web",
    tags: list[str] | None = None,
    frame_rule: FrameRule = "as_is",
    quality: QualityMode = "warn",
    max_requests: Annotated[int, Field(ge=1)] = MOST_ROWS,
    settle_seconds: Annotated[float, Field(ge=0, le=600)] = 5.0,
    again: bool = False,
) -> NightlyReport:
    """Make the videos of every request file in a folder or bucket that are not made yet, one file after the other.

    Each file is a `generate_batch` of its own, called by the file's name: errors in one stop no other, and what is
    missing is made the next night. A file whose rows are all in the archive is recorded as done under `.ltx/` and
    left where it is; changed, it is run again, and only what is new in it is paid for.

    Args:
        inbox: A folder or s3://bucket/prefix. It has to be there, and to be writable for the record.
        credentials: Name of a fal Credentials block; empty for FAL_KEY and PREFECT_LTX_FAL_URL.
        ledger: Name of a Generation Ledger block; empty for PREFECT_LTX_LEDGER.
        archive: Name of a Video Archive block; empty for PREFECT_LTX_ARCHIVE.
        budget: Name of a Spending Budget block; empty for PREFECT_LTX_BUDGET_USD.
        concurrency: Requests at fal at once. fal runs 2 for a new account, 40 at most.
        recipe: Which renditions to make: web, social, broadcast, review or none.
        tags: Words to find it by in the ledger; budgets may be set for a tag.
        frame_rule: as_is sends the frame count as asked; nearest and floor fit it to 8k+1, as the model works.
        quality: What to do about defects: off, warn, trim (cut a lead-in of the sheet from the renditions), reject
            (archive it, marked, and let the row fail) or next_seed (archive it and buy another take).
        max_requests: The ceiling of each file.
        settle_seconds: How long a local file has to rest before it counts as whole.
        again: Look again at the rows of files that are done, for videos that have left the archive since.

    Raises:
        SettingsError, LedgerError, ArchiveError: what would fail every file. Nothing more was sent.
    """
    log = run_logger()
    async with Inbox(inbox) as place:
        record = await Record.load(place.record)
        files, found = await whole_requests(place, settle=settle_seconds)
        report = NightlyReport(inbox=place.location, growing=[shown(each) for each in found.growing])
        report.files += [
            NightlyFile(name=shown(each.name), status="refused", reason=each.problem)
            for each in found.refused
        ]
        options = {
            "credentials": credentials,
            "ledger": ledger,
            "archive": archive,
            "budget": budget,
            "concurrency": concurrency,
            "recipe": recipe,
            "tags": tags,
            "frame_rule": frame_rule,
            "quality": quality,
            "max_requests": max_requests,
        }
        try:
            for each in files:
                ended = await _one(place, record, each, again, options)
                report.files.append(ended)
                if ended.status != "done_before":
                    log.info("%s: %s %s", ended.name, ended.status, ended.reason)
        except CancelledRun:
            return Cancelled(message="a person cancelled it; what was at fal was cancelled")  # type: ignore[return-value]
    if any(each.status != "done_before" for each in report.files):
        await acreate_markdown_artifact(
            nightly_markdown(report),
            key=f"ltx-nightly-{slug(report.inbox)[-60:].strip('-')}",
            description=report.summary,
        )
    return _end(report)  # type: ignore[return-value]


async def _one(
    place: Inbox, record: Record, file: InboxFile, again: bool, options: dict[str, Any]
) -> NightlyFile:
    name = shown(file.name)
    try:
        sha256 = await place.sha256(file.name)
        if record.is_done(file.name, sha256) and not again:
            return NightlyFile(name=name, status="done_before")
        batch = await generate_batch(place.address(file.name), seed_scope=seed_scope(sha256), **options)
    except (CancelledRun, SettingsError, LedgerUnavailable, LedgerSchemaUnknown):
        raise  # of every file, not of this one
    except (BatchInvalid, ArchiveError) as error:
        return NightlyFile(name=name, status="refused", reason=plain(error, limit=1000))
    except Exception as error:
        return NightlyFile(name=name, status="failed", reason=reason_of(error))
    kept = sum(row.ok for row in batch.rows)
    if batch.ok:
        try:
            await record.mark_done(file.name, sha256, rows=len(batch.rows))
        except ArchiveError as error:  # the next run looks at its rows again, and pays for none
            run_logger().warning("%s is done and could not be recorded as done: %s", name, error)
    failed = next((row for row in batch.rows if not row.ok), None)
    return NightlyFile(
        name=name,
        status="done" if batch.ok else "incomplete",
        reason="" if failed is None else f"{failed.where}: {failed.reason}",
        rows=len(batch.rows),
        archived=kept,
        spent_usd=batch.spent_usd,
    )


def nightly_markdown(report: NightlyReport) -> str:
    """Every file that was run, and how it ended; what needs a person first."""
    ran = [each for each in report.files if each.status != "done_before"]
    ran.sort(key=lambda each: each.status == "done")
    lines = [
        f"| {_code(each.name)} | {each.status} | {each.archived} of {each.rows} | {dollars(each.spent_usd)} "
        f"| {_code(each.reason)} |"
        for each in ran
    ]
    return "\n".join(
        [
            f"**{report.summary}**",
            "",
            "| File | Status | In the archive | Spent | Reason |",
            "|---|---|---|---|---|",
            *lines,
        ]
    )


def _end(report: NightlyReport) -> State[NightlyReport]:
    if report.ok:
        return Completed(message=report.summary, data=report)
    return Completed(
        name="Incomplete", message=f"{report.summary}; the next run does what is missing", data=report
    )


def _code(text: str) -> str:
    """A text from outside as code in a table's cell, where nothing in it is rendered."""
    return f"`{text.replace('`', chr(39)).replace('|', '/')}`" if text else ""
