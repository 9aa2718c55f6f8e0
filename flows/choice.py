"""A person's choice: the flow pauses, shows the takes, and goes on with the one that was chosen."""

from typing import Any, Literal, cast

from prefect.artifacts import acreate_markdown_artifact
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.input.run_input import keyset_from_base_key
from pydantic import Field, create_model

from prefect_ltx.flows.naming import in_markdown, unmarked
from prefect_ltx.flows.take_row import Take, TakeRow
from prefect_ltx.tasks.context import run_logger

POLL_SECONDS = 2


class TakeChoice(RunInput):
    """What a person is asked: the number of a take. In the form only takes without defects can be chosen."""

    take: int = Field(description="The number of the take to go on with.")
    note: str = Field(default="", description="Why; kept in the run's log.")


class NobodyChose(Exception):
    """The time for choosing ran out. Every take is archived; the same run again asks again and pays nothing."""


async def person_chooses(row: TakeRow, *, label: str, timeout: float) -> Take:
    """Pause the flow run until somebody chose; `timeout` in seconds. `draw_posters` comes first.

    Raises:
        NobodyChose: the time ran out.
    """
    passed = row.passed
    key = f"take-{row.group[:12]}"
    await publish_comparison(row, label=label)
    form = _form(
        [take.number for take in passed], f"Choose a take of {in_markdown(label)}.\n\n{row.choice_markdown()}"
    )
    try:
        answer = await cast(Any, pause_flow_run)(
            wait_for_input=form, timeout=int(timeout), poll_interval=POLL_SECONDS, key=key
        )
    except FlowPauseTimeout:
        raise NobodyChose(
            f"Nobody chose a take of {label} within {timeout:g} s. All {len(row.takes)} takes are paid for and "
            "archived: run again to be asked again, it pays nothing."
        ) from None
    if answer is None:
        # A run that is tried again passes a pause that was answered before, and Prefect gives no answer then.
        answer = await form.aload(keyset_from_base_key(f"paused-{key}"))
    run_logger().info(
        "Take %d of %s was chosen%s", answer.take, label, f": {answer.note}" if answer.note else ""
    )
    return row.choose(answer.take)


async def publish_comparison(row: TakeRow, *, label: str) -> None:
    """The takes side by side as an artifact; published again after a choice it is the next version of itself."""
    await acreate_markdown_artifact(
        row.markdown(),
        key=f"ltx-takes-{row.group[:12]}",
        description=f"{len(row.takes)} takes of {unmarked(label)}",
    )


def _form(numbers: list[int], description: str) -> type[TakeChoice]:
    """The form with just these numbers to choose from; the server refuses any other."""
    choice = Literal[tuple(numbers)]  # type: ignore[valid-type]
    field = (choice, Field(default=numbers[0], description="The number of the take to go on with."))
    form = create_model("TakeChoice", __base__=TakeChoice, take=cast(Any, field))
    return form.with_initial_data(description=description)
