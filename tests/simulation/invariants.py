"""What must be true at the end of every history, whatever happened in it. Pure: each reads one snapshot."""

from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal

from snapshot import Job, Row, Snapshot
from world import PRICE, Want

Invariant = Callable[[Snapshot], Iterator[str]]
INVARIANTS: list[Invariant] = []

OURS = "team"


def invariant(check: Invariant) -> Invariant:
    """One that every history has to hold."""
    INVARIANTS.append(check)
    return check


def broken(snapshot: Snapshot) -> list[str]:
    """Every violation, with the name of what it breaks."""
    return [f"{check.__name__}: {what}" for check in INVARIANTS for what in check(snapshot)]


@invariant
def nothing_failed_in_a_way_that_nobody_explains(found: Snapshot) -> Iterator[str]:
    """Runs end with a video or an error of ours that says what happened; a sweep never meets what it does not
    expect; and once the world is well nobody waits for hours."""
    yield from found.failures


@invariant
def a_purchase_is_charged_once(found: Snapshot) -> Iterator[str]:
    """A video (account, request and seed) is charged once at most. What was not ours to prevent does not count: a
    message that the network brought twice, and fal taking one POST for two."""
    twice = Counter((post.prompt, post.seed) for post in found.posts if post.fate == "doubled")
    charged = Counter((job.prompt, job.seed) for job in _made(found))
    for purchase, count in charged.items():
        allowed = 1 + twice[purchase] + found.double_accepts
        if count > allowed:
            yield f"{purchase} was charged {count} times, at most {allowed} of them not ours"


@invariant
def a_run_buys_one_video(found: Snapshot) -> Iterator[str]:
    """Runs without a seed buy a video each at most, however often they are killed and tried again."""
    for prompt in sorted({want.prompt for want in found.wants if want.seed is None}):
        runs = sum(want.prompt == prompt for want in found.wants)
        seeds = {job.seed for job in _made(found) if job.prompt == prompt}
        if len(seeds) > runs:
            yield f"{runs} runs of {prompt!r} bought {len(seeds)} different videos"


@invariant
def who_lives_keeps_his_video(found: Snapshot) -> Iterator[str]:
    """A run without a seed goes on with another's video only where that one failed, was killed or was stopped."""
    if not found.clocks_jump and not found.stopped:
        yield from found.robbed


@invariant
def a_refusal_is_not_paid_for_again_and_again(found: Snapshot) -> Iterator[str]:
    """What fal refuses and bills all the same costs no more than once for each try of a run."""
    for prompt in sorted({job.prompt for job in found.jobs}):
        tries = sum(want.tries for want in found.wants if want.prompt == prompt)
        refused = [job for job in found.jobs if job.prompt == prompt and job.status != 200 and job.charged]
        extra = sum(post.fate == "doubled" for post in found.posts if post.prompt == prompt)
        if len(refused) > tries + extra + found.double_accepts:
            yield f"{prompt!r} was refused and billed {len(refused)} times in {tries} tries"


@invariant
def only_runs_submit(found: Snapshot) -> Iterator[str]:
    """A sweep, a poller, a person's cancel and whoever only collects never send a submit."""
    for post in found.posts:
        if post.who.startswith(("sweep", "poller", "person", "finish", "stranger")):
            yield f"{post.who} submitted {post.prompt!r}"


@invariant
def a_paid_video_is_kept(found: Snapshot) -> Iterator[str]:
    """What was charged and is finished is in the archive with fal's bytes, or a person is asked about that very
    request: a parked row names it (or, one request for each such row, knows no id), or it is named as a second charge
    or as nobody's. What fal no longer has is lost, and a row says so."""
    kept = {each.request_id: each for each in found.archive if not each.problems}
    strays = {request_id for request_id, _ in found.strays}
    unnamed = Counter(
        (row.prompt, row.seed) for row in found.rows if row.state == "PARKED" and row.request_id is None
    )
    for job in _made(found):
        archived = kept.get(job.id)
        if archived is not None:
            if job.sha256 is not None and archived.video_sha256 != job.sha256:
                yield f"request {job.id} is archived with other bytes than fal made"
            continue
        if job.id in strays or job.id in found.orphans:
            continue
        if any(row.request_id == job.id and row.state in ("PARKED", "LOST") for row in found.rows):
            continue  # whether it may be LOST is judged by nothing_is_lost_that_fal_still_has
        if unnamed[job.prompt, job.seed]:
            unnamed[job.prompt, job.seed] -= 1
            continue
        yield f"request {job.id} ({job.prompt!r}, seed {job.seed}) is paid for and nowhere: {_rows_of(found, job)}"


@invariant
def what_is_archived_is_not_fetched_again(found: Snapshot) -> Iterator[str]:
    """No run fails at a download of what another task has archived meanwhile."""
    for want in found.wants:
        for end in want.ends:
            if end.startswith("FalDownloadError") and "its video is in the archive" in end:
                yield f"{want.run_id}: {end}"


@invariant
def nothing_is_lost_that_fal_still_has(found: Snapshot) -> Iterator[str]:
    """A row is LOST only where fal has deleted the result or the file of its request; for a while also where fal itself
    said so although it was not."""
    for row in found.rows:
        job = _job_of(found, row)
        if job is not None and job.gone:
            continue
        if row.state == "LOST":
            yield f"{row.id} is LOST, and fal has request {row.request_id}"
        for event in (event for each, event in found.lost if each == row.id):
            if not {"false_404", "result_404", "expired_file"} & found.faults.keys():
                yield f"{row.id} was LOST by {event}, and fal has request {row.request_id}"


@invariant
def every_row_has_come_to_rest(found: Snapshot) -> Iterator[str]:
    """In the end a row is closed, archived, parked for a person or lost; nobody holds it."""
    for row in found.rows:
        if row.account != _account(found):
            continue
        if row.state in ("INTENDED", "UNKNOWN", "SUBMITTED", "COMPLETED", "COLLECTED"):
            yield f"{row.id} is still {row.state}: {row.reason}"


@invariant
def what_is_archived_verifies(found: Snapshot) -> Iterator[str]:
    """Each manifest names files that are there with its bytes; each archived row has its manifest; no video lies
    there without one."""
    for each in found.archive:
        for problem in each.problems:
            yield f"{each.folder}: {problem}"
    folders = {each.folder: each for each in found.archive}
    for row in found.rows:
        if row.state == "ARCHIVED":
            if row.folder not in folders:
                yield f"{row.id} is ARCHIVED in {row.folder}, which has no manifest"
            elif folders[row.folder].video_sha256 != row.sha256:
                yield f"{row.id} is ARCHIVED with other bytes than were collected"


@invariant
def a_request_belongs_to_one_row(found: Snapshot) -> Iterator[str]:
    """No two live rows have one request of fal's, and no two live rows one key."""
    live = [row for row in found.rows if row.state not in ("RELEASED", "FAILED", "CANCELLED", "WRITTEN_OFF")]
    for request_id, count in Counter(row.request_id for row in live if row.request_id).items():
        if count > 1:
            yield f"request {request_id} is in {count} live rows"
    for purchase, count in Counter((row.account, row.prompt, row.seed) for row in live).items():
        if count > 1:
            yield f"{purchase} has {count} live rows"


@invariant
def the_budget_holds(found: Snapshot) -> Iterator[str]:
    """What was charged passes the budget by no more than what fal billed beyond the bound of each request, and what
    nobody could prevent (see `a_purchase_is_charged_once`)."""
    if found.budget is None:
        return
    upper = max((row.upper for row in found.rows), default=Decimal(0))
    beyond = sum((max(job.charged - upper, Decimal(0)) for job in found.jobs), Decimal(0))
    twice = sum(post.fate == "doubled" for post in found.posts) + found.double_accepts
    charged = sum((job.charged for job in found.jobs), Decimal(0))
    if charged > found.budget + beyond + twice * upper:
        yield f"{charged} dollars were charged under a budget of {found.budget}"


@invariant
def an_absurd_bill_stops_buying(found: Snapshot) -> Iterator[str]:
    """Once the ledger knows a bill of many times its bound, nothing is sent until a person has looked."""
    upper = {row.id: row.upper for row in found.rows}
    absurd = ""
    for row, event, detail in found.history:
        if event == "PostStarted" and absurd not in ("", row):
            yield f"{row} was sent after the bill of {absurd} was known"
        if event == "Settled" and Decimal(str(detail.get("usd", 0))) > 3 * upper[row]:
            absurd = absurd or row


@invariant
def an_id_that_was_heard_is_asked_of_nobody(found: Snapshot) -> Iterator[str]:
    """Where the answers to all submits of a video came back whole, to processes that lived on or died once the id was
    kept, no person is asked whether fal has it."""
    if found.disk_full or found.double_accepts:
        return
    lived = [who for who, *_ in found.heard if found.deaths.get(who, _ID_KEPT) == _ID_KEPT]
    for row in found.rows:
        same = {each.id for each in found.rows if (each.prompt, each.seed) == (row.prompt, row.seed)}
        posts = [each for each, event, _ in found.history if event == "PostStarted" and each in same]
        heard = [each for each in found.heard if each[1:] == (row.prompt, row.seed) and each[0] in lived]
        if row.state == "PARKED" and posts and len(heard) == len(posts):
            yield f"{row.id} is PARKED, and the answers to its {len(posts)} submits were heard: {row.reason}"


_ID_KEPT = "checkpoint after-reply 1"


@invariant
def a_run_is_refused_for_good_once(found: Snapshot) -> Iterator[str]:
    """What fal refuses whatever is tried, and may bill, is not sent again by the same run."""
    refused: Counter[tuple[str | None, str, int | None]] = Counter()
    for row in found.rows:
        job = _job_of(found, row)
        if (
            row.state == "FAILED"
            and job is not None
            and job.status == 422
            and "file_download_error" not in row.reason
        ):
            refused[row.flow_run_id, row.prompt, row.seed] += 1
    for run, count in refused.items():
        if count > 1:
            yield f"{run} was refused for good {count} times"


@invariant
def a_dead_upload_is_not_sent_again(found: Snapshot) -> Iterator[str]:
    """Once the ledger knows that fal could not read an upload, no new generation is begun with it."""
    runs = {row.id: row.flow_run_id for row in found.rows}
    for url, at, refused in found.unread if not found.clocks_jump else ():
        for row in found.rows:
            # Who had looked already may be slow; slower yet the run that waits for the lost reply to its own submit.
            slow = 200 if row.flow_run_id == runs[refused] else 100
            if row.image_url == url and row.created > at + slow:
                yield f"{row.id} was begun {row.created - at:.0f} s after fal could not read {url}"


@invariant
def the_sums_are_the_bill(found: Snapshot) -> Iterator[str]:
    """Where the billing can be read in the end, each row's cost is what fal charged for its request."""
    if {"billing_forbidden", "billing_missing"} & found.stays or "billing_missing" in found.faults:
        return
    for row in found.rows:
        job = _job_of(found, row)
        if job is None or not job.charged or row.settled == job.charged:
            continue
        yield f"{row.id} is settled at {row.settled} by {row.settled_by}, and fal charged {job.charged}"


@invariant
def no_secret_is_told(found: Snapshot) -> Iterator[str]:
    """No key is in a log line, an error, a note, a row, a row's history or a manifest."""
    for text in found.words:
        for secret in found.secrets:
            if secret in text:
                yield f"a key is in {text[:200]!r}"


@invariant
def what_was_wanted_is_had_or_explained(found: Snapshot) -> Iterator[str]:
    """Liveness: once the world is well, a run of what was wanted ends with its video, unless money, a person or fal
    stands in its way; then its error says which, and it is true."""
    for want in found.wants:
        if not want.ends:
            yield f"{want.run_id} never came to an end"
        elif not want.archived:
            error = want.ends[-1].partition(":")[0]
            is_true = _REASONS.get(error)
            if is_true is None or not is_true(found, want):
                yield f"{want.run_id} cannot be had in a world that is well: {want.ends[-1]}"


def _budget_is_used(found: Snapshot, want: Want) -> bool:
    upper = max((row.upper for row in found.rows), default=PRICE)
    taken = sum((row.held if row.settled is None else row.settled for row in found.rows), Decimal(0))
    return found.budget is not None and taken + upper > found.budget


def _bill_was_absurd(found: Snapshot, want: Want) -> bool:
    upper = max((row.upper for row in found.rows), default=PRICE)
    return any(job.charged > 3 * upper for job in found.jobs)


def _person_is_asked(found: Snapshot, want: Want) -> bool:
    return any(row.prompt == want.prompt and row.state == "PARKED" for row in found.rows)


def _video_is_lost(found: Snapshot, want: Want) -> bool:
    return any(row.prompt == want.prompt and row.state == "LOST" for row in found.rows)


def _fal_ended_it(found: Snapshot, want: Want) -> bool:
    return any(job.prompt == want.prompt and job.status != 200 for job in found.jobs)


def _fal_refused_it(found: Snapshot, want: Want) -> bool:
    # A file that fal could not read is uploaded again, now that the world is well; fal's own host is trusted for a day.
    unread = "file_download_error" in want.ends[-1] and not found.is_fal
    return _fal_ended_it(found, want) and not unread


def _any_of_them(found: Snapshot, want: Want) -> bool:
    return any(is_true(found, want) for is_true in (_budget_is_used, _bill_was_absurd, _fal_refused_it))


def _another_account_was_here(found: Snapshot, want: Want) -> bool:
    return found.strangers


_REASONS: dict[str, Callable[[Snapshot, Want], bool]] = {
    "BudgetExceeded": _budget_is_used,
    "SpendingStopped": _bill_was_absurd,
    "GenerationParked": _person_is_asked,
    "PaidVideoLost": _video_is_lost,
    "GenerationEnded": _fal_refused_it,
    "FalGenerationFailed": _fal_ended_it,
    "FalValidationError": _fal_refused_it,
    "row parked": _person_is_asked,
    "row lost": _video_is_lost,
    "row cancelled": _fal_ended_it,
    "row failed": _any_of_them,
    "row not_started": _any_of_them,
    "AccountUnclear": _another_account_was_here,
}
"""The errors that may stand at the end, and whether what they say is so."""


def _made(found: Snapshot) -> list[Job]:
    """Jobs of ours that ended with a video and were charged."""
    return [job for job in found.jobs if job.account == OURS and job.status == 200 and job.charged]


def _account(found: Snapshot) -> str:
    """The account of our rows: that of most."""
    counted = Counter(row.account for row in found.rows)
    return counted.most_common(1)[0][0] if counted else ""


def _job_of(found: Snapshot, row: Row) -> Job | None:
    return next((job for job in found.jobs if job.id == row.request_id), None)


def _rows_of(found: Snapshot, job: Job) -> str:
    rows = [row for row in found.rows if (row.prompt, row.seed) == (job.prompt, job.seed)]
    return "; ".join(f"{row.id[:8]} {row.state} {row.request_id} {row.reason}" for row in rows) or "no row"
