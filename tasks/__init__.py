"""The steps of a generation as Prefect tasks, each useful alone in anybody's own flow.

Importing this package registers a listener: what a ledger in this process writes becomes a Prefect event.
"""

from prefect_ltx.tasks import life as _life  # noqa: F401 - watches the ledger
from prefect_ltx.tasks.archive import archive_video
from prefect_ltx.tasks.collect import download_video
from prefect_ltx.tasks.generate import submit_generation
from prefect_ltx.tasks.handle import GenerationHandle
from prefect_ltx.tasks.inspect import inspect_video
from prefect_ltx.tasks.policy import GenerationCachePolicy
from prefect_ltx.tasks.postprocess import postprocess_video
from prefect_ltx.tasks.upload import upload_media
from prefect_ltx.tasks.wait import await_generation

__all__ = [
    "GenerationCachePolicy",
    "GenerationHandle",
    "archive_video",
    "await_generation",
    "download_video",
    "inspect_video",
    "postprocess_video",
    "submit_generation",
    "upload_media",
]
