"""Steps composed into flows: one video from either endpoint, a batch, takes, a film, watched folders, the
event-driven pair, the poller, the sweep, the spend report and the decision about what needs a person.

Each is built when it is first asked for: making the form of one costs a tenth of a second.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from prefect_ltx.flows.batch import generate_batch
    from prefect_ltx.flows.decide import decide_generation
    from prefect_ltx.flows.deferred import finish_generation, submit_only
    from prefect_ltx.flows.film import storyboard_film
    from prefect_ltx.flows.generate import ingredient_to_video, reference_video_to_video
    from prefect_ltx.flows.inbox import nightly_batch, watch_inbox
    from prefect_ltx.flows.poll import poll_in_flight
    from prefect_ltx.flows.rendering import render_archive
    from prefect_ltx.flows.spend import spend_report
    from prefect_ltx.flows.sweeping import sweep
    from prefect_ltx.flows.takes import best_of_takes

__all__ = [
    "best_of_takes",
    "decide_generation",
    "finish_generation",
    "generate_batch",
    "ingredient_to_video",
    "nightly_batch",
    "poll_in_flight",
    "reference_video_to_video",
    "render_archive",
    "spend_report",
    "storyboard_film",
    "submit_only",
    "sweep",
    "watch_inbox",
]

_FILES: Final = {
    "best_of_takes": "takes",
    "decide_generation": "decide",
    "finish_generation": "deferred",
    "generate_batch": "batch",
    "ingredient_to_video": "generate",
    "nightly_batch": "inbox",
    "poll_in_flight": "poll",
    "reference_video_to_video": "generate",
    "render_archive": "rendering",
    "spend_report": "spend",
    "storyboard_film": "film",
    "submit_only": "deferred",
    "sweep": "sweeping",
    "watch_inbox": "inbox",
}
"""In which file each flow is. No file has a flow's name: importing it would put the module in the flow's place."""


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    flow = globals()[name] = getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
    return flow


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
