"""A person's choice: the flow shows the takes, waits, and goes on with the one that was chosen."""

import hashlib
from typing import Any, Literal, cast

from prefect.artifacts import acreate_markdown_artifact
from prefect.input import RunInput
from pydantic import Field, create_model

from prefect_ltx.flows.asking import WHERE, NobodyAnswered, asked, must_say
from prefect_ltx.flows.naming import in_markdown, unmarked
from prefect_ltx.flows.take_row import Take, TakeRow
from prefect_ltx.tasks.context import run_logger


class TakeChoice(RunInput):
    """What a person is asked: the number under a picture. The form offers every take, those with findings marked."""

    model_config = must_say("take")

    take: int = Field(description="The number of the take to go on with.")
    none_of_them: bool = Field(
        default=False,
        title="None of them",
        description="On: no take is used, and the run ends. All of them stay in the archive.",
    )
    note: str = Field(default="", title="Note", description="Why; kept in the run's log and in the ledger.")


class NobodyChose(Exception):
    """The time for choosing ran out. Every take is archived; the same run again asks again and pays nothing."""


async def person_chooses(row: TakeRow, *, label: str, timeout: float) -> tuple[Take | None, str]:
    """Ask until somebody chose a take or "none of them" (None), and why; `timeout` in seconds.

    `draw_posters` comes first.

    Raises:
        NobodyChose: the time ran out.
    """
    await publish_comparison(row, label=label)
    form = _form(row, f"**Choose a take of {in_markdown(label)}.** {WHERE}\n\n{row.choice_markdown()}")
    # Findings are shown too: an answer to another picture of the takes is another answer.
    shown = hashlib.sha256(f"{row.group} {[take.defects for take in row.takes]}".encode()).hexdigest()
    try:
        answer = await asked(form, key=f"take-{shown[:16]}", timeout=timeout)
    except NobodyAnswered as error:
        raise NobodyChose(
            f"Nobody chose a take of {label}: {error}. All {len(row.takes)} takes are paid for and "
            "archived: run again to be asked again, it pays nothing."
        ) from None
    note = f": {answer.note}" if answer.note else ""
    if answer.none_of_them:
        run_logger().warning("No take of %s was chosen%s", label, note)
        return None, answer.note
    run_logger().info("Take %d of %s was chosen%s", answer.take, label, note)
    return row.choose(answer.take), answer.note


async def publish_comparison(row: TakeRow, *, label: str) -> None:
    """The takes side by side as an artifact; published again after a choice it is the next version of itself."""
    await acreate_markdown_artifact(
        row.markdown(),
        key=f"ltx-takes-{row.group[:12]}",
        description=f"{len(row.takes)} takes of {unmarked(label)}",
    )


def _form(row: TakeRow, description: str) -> type[TakeChoice]:
    """The form with just these numbers to choose from; the server refuses any other."""
    choice = Literal[tuple(take.number for take in row.takes)]  # type: ignore[valid-type]
    best = (row.passed or row.takes)[0].number
    text = "The number under its picture above."
    field = (choice, Field(default=best, title="Take", description=text))
    form = create_model("TakeChoice", __base__=TakeChoice, take=cast(Any, field))
    return form.with_initial_data(description=description)
