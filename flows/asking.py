"""What a person is asked, and what became of it: an answer counts for what was shown, however often the run begins.

A run that has a deployment is suspended: its process ends, so that no worker has to live until somebody answers, and
the answer starts it again from its beginning. Any other run waits in its process. Both find the answer again after a
retry. A question that was asked in vain is asked anew; where nobody answered, nothing was agreed to.
"""

import math
from typing import Any, TypeVar

from prefect import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import apause_flow_run, asuspend_flow_run
from prefect.input import RunInput
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL
from pydantic import ConfigDict, ValidationError

from prefect_ltx.tasks.context import run_logger

Answer = TypeVar("Answer", bound=RunInput)

POLL_SECONDS = 2
WHERE = (
    "To answer, open this run in the Prefect UI and press Resume: a button at the top right, or in the menu ⋮ there. "
    "What the form says when you send it is what happens."
)
_KINDS = ("paused", "suspended")


def must_say(*names: str) -> ConfigDict:
    """Fields that have to be in an answer though the form fills them in: Prefect's server keeps no empty answer, so
    that nobody could tell it from none."""

    def required(schema: dict[str, Any]) -> None:
        schema["required"] = sorted({*schema.get("required", []), *names})

    return ConfigDict(json_schema_extra=required)


class NobodyAnswered(Exception):
    """The time for an answer ran out, the run was resumed without one, or there is nowhere to ask."""


class NoServerToAskOn(Exception):
    """A person answers in Prefect's UI, and no Prefect server is configured."""


def ui_address() -> str:
    """Where a person answers: the address of Prefect's UI, or of its server where that one is not set.

    Raises:
        NoServerToAskOn: only a temporary server would be started, whose UI nobody could find.
    """
    if not PREFECT_API_URL.value():
        raise NoServerToAskOn(
            "A person decides in Prefect's UI, so a Prefect server is needed: start one with `prefect server start` "
            "and name it in PREFECT_API_URL. Nothing was sent or spent."
        )
    return str(PREFECT_UI_URL.value() or PREFECT_API_URL.value())


async def asked(form: type[Answer], *, key: str, timeout: float) -> Answer:
    """The person's answer to `form`, from before or by asking now; `timeout` in seconds.

    Args:
        key: names what is shown, so that an answer to something else never counts: put its digest in.

    Raises:
        NobodyAnswered: the time ran out, somebody set the run going without an answer, or no server is configured.
        prefect.exceptions.Pause: the run is suspended; it has to pass through.
    """
    run = _this_run()
    answer, name = await _known(form, run, key)
    if answer is not None:
        run_logger().info("Going on with the answer that was given before")
        return answer
    if not PREFECT_API_URL.value():
        raise NobodyAnswered(
            "no Prefect server is configured to ask on (PREFECT_API_URL), and `--plan --approve` at a shell did not "
            "approve it either"
        )
    run_logger().info("Waiting for a person. %s", WHERE)
    seconds = max(1, math.ceil(timeout))
    if run.deployment_id is not None and run.parent_task_run_id is None:
        # Raises Pause unless this very question is answered.
        await asuspend_flow_run(wait_for_input=form, timeout=seconds, key=name)
    else:
        try:
            await apause_flow_run(wait_for_input=form, timeout=seconds, poll_interval=POLL_SECONDS, key=name)
        except FlowPauseTimeout:
            raise NobodyAnswered(f"nobody answered within {timeout:g} s") from None
    # Prefect's own answer is a form with its defaults where nobody answered: that would be a yes that nobody said.
    answer, _ = await _known(form, run, key)
    if answer is None:
        raise NobodyAnswered("the run was set going without an answer")
    return answer


def _this_run() -> FlowRun:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise RuntimeError("A person can only be asked from within a flow run. Nothing was sent or spent.")
    return context.flow_run


async def _known(form: type[Answer], run: FlowRun, key: str) -> tuple[Answer | None, str]:
    """The answer that this run has for the question, and the name under which it is asked next.

    A name is used once: Prefect lets no question with the same name through a second time.
    """
    found: dict[str, Any] = {}
    async with get_client() as client:
        for kind in _KINDS:
            inputs = await client.filter_flow_run_input(
                run.id, key_prefix=f"{kind}-{key}", limit=200, exclude_keys=set()
            )
            found |= {each.key.removeprefix(f"{kind}-"): each.decoded_value for each in inputs}
    number, name = 1, key
    while any(each.startswith(f"{name}-") and each.removeprefix(f"{name}-") in _PARTS for each in found):
        if (value := found.get(f"{name}-response")) is not None:
            try:
                return form(**value), name
            except (ValidationError, TypeError):
                run_logger().warning("The answer to %s does not fit what is shown now: asked again", name)
        number += 1
        name = f"{key}-{number}"
    return None, name


_PARTS = ("schema", "description", "response")
