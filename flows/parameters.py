"""Parameters of any size, and none that a Prefect server cannot hold.

A server keeps a run's parameters and takes 524,288 bytes of them. What a caller gives beyond that (a data URI, a list
of a thousand requests, a long storyboard) is put aside before the run begins, and the run is given its name: in the
work folder, or in the archive's bucket where several machines share the work. Runs that start elsewhere, from a form
or an event, are refused by the server itself.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Flow
from prefect.settings import get_current_settings
from prefect.utilities.callables import get_call_parameters
from prefect.utilities.visualization import get_task_viz_tracker

from prefect_ltx.batch.standalone import standalone
from prefect_ltx.blocks.dispatch import called
from prefect_ltx.fal import GenerationRequest, plain, storable
from prefect_ltx.fal.sendable import unsendable
from prefect_ltx.film import standalone_storyboard
from prefect_ltx.flows.aside import Aside
from prefect_ltx.flows.batch_report import placed_report
from prefect_ltx.flows.naming import named
from prefect_ltx.reading import scheme_of

P = ParamSpec("P")
R = TypeVar("R")

_SOURCE = "source"
_STORYBOARD = "storyboard"
_BATCH_PARTS = ("defaults", "overrides", "matrix")
_SHOWN = 5


class ParametersInvalid(ValueError):
    """Parameters that cannot be stored or sent. No run was made; nothing was sent or spent."""


class ParametersTooLarge(ValueError):
    """More parameters than a Prefect server takes, and nothing that can be put aside. No run was made; nothing was
    sent or spent."""


_TITLES = {
    "n": "Number of takes",
    "stop": "When to stop",
    "choose": "Who chooses",
    "judge": "Judge",
    "frame_rule": "Frame counts",
    "seed_scope": "What seeds are drawn from",
    "max_seeds": "Most takes where one is refused",
    "max_requests": "Most requests",
    "concurrency": "At fal at once",
    "task_run_per_row_up_to": "Most rows with a task run each",
    "approve": "Ask a person before spending",
    "approve_within_seconds": "Seconds to wait for an approval",
    "choice_timeout_seconds": "Seconds to wait for a person",
    "fresh": "New videos for rows without a seed",
    "source": "File or requests",
    "credentials": "fal Credentials block",
    "ledger": "Generation Ledger block",
    "archive": "Video Archive block",
    "budget": "Spending Budget block",
    "again_after_seconds": "Seconds before a reminder",
}
"""What parameters are called in a run's form; all others by their names, as words."""


class UserFlow(Flow[P, R]):
    """A flow that checks what it is called with, and puts aside what is too large, before its run is made."""

    def __init__(self, *args: Any, **options: Any) -> None:
        name_of = options.get("flow_run_name")
        if callable(name_of):
            options["flow_run_name"] = wraps(name_of)(lambda: named(name_of()))
        super().__init__(*args, **options)
        for name, field in self.parameters.properties.items():
            field["title"] = _TITLES.get(name) or name.replace("_", " ").capitalize()

    def __call__(  # type: ignore[override]  # Prefect tells its types in overloads, one for each kind of function
        self, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any
    ) -> Any:
        """Run the flow, as Prefect's own; to be awaited, and simply called in a synchronous flow."""
        parameters = get_call_parameters(self.fn, args, kwargs)
        if get_task_viz_tracker():
            return cast(Any, Flow.__call__)(
                self, *args, return_state=return_state, wait_for=wait_for, **kwargs
            )
        return called(self._called(parameters, return_state=return_state, wait_for=wait_for))

    async def _called(self, parameters: dict[str, Any], **how: Any) -> Any:
        fitting = await fitted(self, parameters)
        # The base class's own method, by its name: `super()` would take the types of this one.
        return await cast(Any, Flow.__call__)(self, **how, **fitting)

    def with_options(self, **options: Any) -> Any:
        """See Prefect: the same flow with other options."""
        changed = cast(Any, Flow.with_options)(self, **options)
        changed.__class__ = type(self)
        return changed


def flow(**options: Any) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Flow[P, Coroutine[Any, Any, R]]]:
    """Prefect's `@flow`, for a flow that is called with what users have made."""

    def made(function: Callable[P, Coroutine[Any, Any, R]]) -> Flow[P, Coroutine[Any, Any, R]]:
        return UserFlow(function, **options)

    return made


async def fitted(of: "Flow[Any, Any]", parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as a server takes them.

    Raises:
        ParametersInvalid: something in them cannot be stored or sent.
        ParametersTooLarge: they are too large, and nothing of them can be put aside.
        BatchInvalid, StoryboardInvalid: what would be put aside cannot be read.
    """
    found = {name: _repeatable(value) for name, value in parameters.items()}
    if isinstance(report := found.get("report"), str):
        found["report"] = placed_report(report)
    serialized = of.serialize_parameters(found)
    _check(of, serialized)
    most = get_current_settings().server.api.max_parameter_size

    def fits() -> bool:
        # A source with a query is put aside too: a server shows what it keeps, and the query may be a signature.
        return not _is_signed(found.get(_SOURCE)) and (most <= 0 or _size(serialized) <= most)

    if fits():
        return found
    aside = Aside.of(of)
    for step in (_media_aside, _batch_aside, _storyboard_aside):
        found = await step(found, aside)
        serialized = of.serialize_parameters(found)
        if fits():
            return found
    largest = max(serialized, key=lambda name: _size(serialized[name]))
    raise ParametersTooLarge(
        f"The parameters of {of.name} are {_size(serialized):,} bytes as JSON, most of it in {largest}, and a Prefect "
        f"server takes {most:,}. No run was made; nothing was sent or spent. Shorten {largest}, or name a file."
    )


def _repeatable(value: Any) -> Any:
    """A value that may be read twice: of what gives its parts only once, a list."""
    return list(value) if hasattr(value, "__next__") else value


def _check(of: "Flow[Any, Any]", serialized: Mapping[str, Any]) -> None:
    wrong = [f"{storable('.'.join(map(str, path)))}: {why}" for path, why in unsendable(dict(serialized))]
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise ParametersInvalid(
            f"{of.name} cannot be run; nothing was sent or spent: {plain('; '.join(wrong[:_SHOWN]), 1500)}{more}."
        )


def _size(serialized: Any) -> int:
    # As Prefect's server counts it, where every character beyond ASCII is six bytes.
    return len(json.dumps(serialized, separators=(",", ":"), default=str))


def _is_signed(source: Any) -> bool:
    return isinstance(source, str) and scheme_of(source) in ("http", "https") and "?" in source


async def _media_aside(parameters: dict[str, Any], aside: Aside) -> dict[str, Any]:
    """Every data URI of a request as a file."""
    request = parameters.get("request")
    if not isinstance(request, GenerationRequest):
        return parameters
    files = {name: await aside.media(source) for name, source in request.media().items()}
    return parameters | {"request": request.with_media(files)}


async def _batch_aside(parameters: dict[str, Any], aside: Aside) -> dict[str, Any]:
    """A batch with its defaults, overrides and matrix as a file."""
    source = parameters.get(_SOURCE)
    if source is None or "matrix" not in parameters:
        return parameters
    parts = {name: parameters[name] for name in _BATCH_PARTS}
    name, batch = await asyncio.to_thread(standalone, source, **parts)
    file = await aside.document(f"{name}.json", await aside.without_data(batch))
    return parameters | dict.fromkeys(_BATCH_PARTS) | {_SOURCE: file, "name": parameters["name"] or name}


async def _storyboard_aside(parameters: dict[str, Any], aside: Aside) -> dict[str, Any]:
    """A storyboard as a file, called after its title."""
    board = parameters.get(_STORYBOARD)
    if board is None or (isinstance(board, str) and "\n" not in board):
        return parameters
    name, content = standalone_storyboard(board)
    file = await aside.document(f"{name}.yaml", await aside.without_data(content))
    return parameters | {_STORYBOARD: file}
