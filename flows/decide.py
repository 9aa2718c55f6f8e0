"""What needs a person: shown as an artifact with all that is known, and decided by a form."""

from typing import Any, Literal

from prefect.artifacts import acreate_markdown_artifact
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import BaseModel

from prefect_ltx.blocks.services import BlockNames, services_for
from prefect_ltx.flows.forms import GenerationName
from prefect_ltx.flows.naming import code_block, in_markdown, words_of
from prefect_ltx.flows.parameters import flow
from prefect_ltx.generation import Services
from prefect_ltx.ledger import Generation, Resolved, State
from prefect_ltx.ledger.life.budget import dollars
from prefect_ltx.tasks.context import run_logger

Decision = Literal["adopt", "absent", "write_off"]
NEEDS_A_PERSON = (State.PARKED, State.LOST)
_NEXT = {
    "adopt": "The next sweep collects its video; running the request again does, too",
    "absent": "Its budget is free; running the request again sends it",
    "write_off": "The money counts as spent; running the request again buys the video again",
}


class DecisionRefused(Exception):
    """What was decided does not fit what is known of the generation. Nothing was changed, sent or spent."""


class Decided(BaseModel, frozen=True):
    """What became of a generation that a person decided about."""

    generation_id: str
    before: str
    after: str
    counts_as_spent_usd: str


def _run_name() -> str:
    given: dict[str, Any] = dict(flow_run.parameters)
    return f"{str(given['decision']).replace('_', ' ')}: generation {str(given['generation'])[:18]}"


@flow(name="decide-generation", flow_run_name=_run_name)
async def decide_generation(
    generation: GenerationName,
    decision: Decision,
    request_id: str = "",
    name: str = "",
    credentials: str = "",
    ledger: str = "",
) -> Decided:
    """Decide about a generation that is parked or lost: nobody but a person can. Sends and buys nothing.

    Look at fal's request list first: is there a request with this prompt and seed from that time?

    Args:
        generation: The ledger's id of it, as the artifact "needs a person" shows it, or fal's request id.
        decision: adopt: it is the request below, whose video will be collected. absent: it never ran, nothing is owed.
            write_off: give it up; the money counts as spent.
        request_id: With adopt, fal's id of the request.
        name: Who decides; kept in the ledger's history.
        credentials: Name of a fal Credentials block; empty for FAL_KEY and PREFECT_LTX_FAL_URL.
        ledger: Name of a Generation Ledger block; empty for PREFECT_LTX_LEDGER.

    Raises:
        DecisionRefused: it is not parked or lost any more, or the request is missing or another generation's.
        GenerationNotFound, AnotherAccount: the ledger has no such generation, or it is another account's.
    """
    if (decision == "adopt") != bool(request_id.strip()):
        raise DecisionRefused(
            "adopt needs fal's request id, and the other decisions none. Nothing was changed, sent or spent."
        )
    async with services_for(BlockNames(credentials=credentials, ledger=ledger, archive=None)) as services:
        row = await services.ledger.get(generation.strip())
        by = " ".join(name.split())[:200] or "a person in the Prefect UI"
        said = await services.ledger.record(
            row.id, Resolved(choice=decision, request_id=request_id.strip() or None, by=by), actor=by
        )
        after = await services.ledger.get(row.id)
    if after.state is row.state:
        raise DecisionRefused(
            f"Generation {row.id} stays {row.state}: {said.because}. Nothing was changed, sent or spent."
        )
    what = f"Generation {row.id} was {row.state} and is {after.state} now, decided by {by}. {_NEXT[decision]}"
    run_logger().info("%s", what)
    decided = Decided(
        generation_id=row.id,
        before=str(row.state),
        after=str(after.state),
        counts_as_spent_usd=dollars(after.held_usd),
    )
    return Completed(message=what, data=decided)  # type: ignore[return-value]  # the caller gets the state's data


async def publish_needs_a_person(services: Services) -> list[Generation]:
    """One artifact of everything that waits for a person; gives those rows, the oldest first."""
    rows = [
        row
        for row in await services.ledger.find(states=NEEDS_A_PERSON)
        if services.ledger.is_ours(row) and row.state in NEEDS_A_PERSON
    ]
    rows.sort(key=lambda row: row.created_at)
    if rows:
        await acreate_markdown_artifact(
            needs_a_person_markdown(rows),
            key="ltx-needs-a-person",
            description=_heading(rows),
        )
    return rows


def _heading(rows: list[Generation]) -> str:
    return "1 generation needs a person" if len(rows) == 1 else f"{len(rows)} generations need a person"


def needs_a_person_markdown(rows: list[Generation]) -> str:
    """Each with its scene, its price and what is known, and how to decide."""
    parts = [
        f"**{_heading(rows)}.** Nobody can tell whether fal ran them (parked), or fal no longer "
        "has the video (lost).",
        "Look for each at fal (dashboard, Requests), by its time, prompt and seed. Then decide: open the deployment "
        "**decide-generation**, press Run, and give the generation's id with *adopt* and the request's id, with "
        "*absent* where it never ran, or with *write_off* to give it up. At a shell it is "
        "`prefect-ltx ledger resolve`.",
    ]
    for row in rows[:50]:
        prompt = str(row.body.get("prompt", ""))
        lines = [
            f"**{in_markdown(words_of(prompt, 80))}**",
            "| | |",
            "|---|---|",
            f"| Generation | `{row.id}` |",
            f"| State | {str(row.state).lower()}: {in_markdown(row.reason or 'no reason is known')} |",
            f"| May have cost | {dollars(row.held_usd)} |",
            f"| Sent | {row.posted_at:%Y-%m-%d %H:%M:%S} UTC |",
            f"| Seed | {row.seed} |",
        ]
        if row.request_id:
            lines.append(f"| Request at fal | `{row.request_id}` |")
        parts.append("\n".join([lines[0], "", *lines[1:]]))
        parts.append(code_block(prompt))
    if len(rows) > 50:
        parts.append(f"… and {len(rows) - 50} more")
    return "\n\n".join(parts)
