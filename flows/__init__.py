"""Steps composed into flows: one video from either endpoint, a batch of many, and the sweep."""

from prefect_ltx.flows.batch import generate_batch
from prefect_ltx.flows.generate import ingredient_to_video, reference_video_to_video
from prefect_ltx.flows.sweep import sweep

__all__ = ["generate_batch", "ingredient_to_video", "reference_video_to_video", "sweep"]
