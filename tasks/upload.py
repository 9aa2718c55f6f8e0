"""Bring an input to fal."""

from typing import Literal

from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from prefect_ltx.blocks.dispatch import task
from prefect_ltx.blocks.services import BlockNames, services_for
from prefect_ltx.generation import InputMedia, UploadedMedia, upload
from prefect_ltx.tasks.context import run_logger
from prefect_ltx.tasks.policy import free_to_repeat


# Not Prefect's cache but the ledger remembers uploads: by content and account, and only while fal keeps the file.
@task(
    name="upload media",
    task_run_name="upload {label}",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=exponential_backoff(2),
    retry_jitter_factor=0.5,
    retry_condition_fn=free_to_repeat,
)
async def upload_media(
    source: str | InputMedia,
    *,
    kind: Literal["video", "image", "any"] = "any",
    credentials: str = "",
    ledger: str = "",
    label: str = "media",
) -> UploadedMedia:
    """Bring a local path, `s3://`, `https://` or data URI to a URL that fal can read, once for each content.

    Args:
        source: where the media is, read on the machine that runs the task; or what was read and hashed before.
        kind: what the field needs; checked before anything is sent.
        credentials: name of a `FalCredentials` block; empty for the environment's account.
        ledger: name of a `GenerationLedger` block; empty for the environment's ledger.
        label: what the task run is called in the UI; the source itself may hold a signature.

    Raises:
        FalRequestInvalid: the media is missing, unreadable or of the wrong kind.
        FalUploadError, FalUnavailable: fal's storage, after four tries; nothing was spent.
    """
    async with services_for(BlockNames(credentials=credentials, ledger=ledger, archive=None)) as services:
        uploaded = await upload(services, source, kind=kind)
    run_logger().debug(
        "%s %s: %d bytes, sha256 %s",
        label,
        "is at fal already" if uploaded.reused else "uploaded",
        uploaded.size,
        uploaded.sha256[:12],
    )
    return uploaded
