"""Steps composed into flows: one video from either endpoint, a batch, takes, a film, watched folders, the
event-driven pair, the poller, the sweep and the spend report."""

from prefect_ltx.flows.batch import generate_batch
from prefect_ltx.flows.deferred import finish_generation, submit_only
from prefect_ltx.flows.film import storyboard_film
from prefect_ltx.flows.generate import ingredient_to_video, reference_video_to_video
from prefect_ltx.flows.inbox import nightly_batch, watch_inbox
from prefect_ltx.flows.poll import poll_in_flight
from prefect_ltx.flows.spend import spend_report
from prefect_ltx.flows.sweep import sweep
from prefect_ltx.flows.takes import best_of_takes

__all__ = [
    "best_of_takes",
    "finish_generation",
    "generate_batch",
    "ingredient_to_video",
    "nightly_batch",
    "poll_in_flight",
    "reference_video_to_video",
    "spend_report",
    "storyboard_film",
    "submit_only",
    "sweep",
    "watch_inbox",
]
