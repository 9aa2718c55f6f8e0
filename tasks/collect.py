"""Download a finished generation, verified."""

from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from prefect_ltx.blocks.dispatch import task
from prefect_ltx.blocks.services import BlockNames, services_for
from prefect_ltx.generation import CollectedVideo, collect, hold, outcome
from prefect_ltx.generation.store import collected_before
from prefect_ltx.ledger import State
from prefect_ltx.tasks.context import current_owner, run_logger
from prefect_ltx.tasks.handle import GenerationHandle
from prefect_ltx.tasks.policy import free_to_repeat


@task(
    name="download video",
    cache_policy=NO_CACHE,
    retries=5,
    retry_delay_seconds=exponential_backoff(2),
    retry_jitter_factor=0.5,
    retry_condition_fn=free_to_repeat,
)
async def download_video(
    handle: GenerationHandle, *, credentials: str = "", ledger: str = "", archive: str = ""
) -> CollectedVideo:
    """Download the video of a completed generation to this machine: length and sha256 checked, decoded in full.

    A download that is here already is not made again, and one that was cut off is resumed. What is archived comes
    from the archive, whether fal still has it or not.

    Args:
        handle: what `await_generation` gave.
        credentials: name of a `FalCredentials` block; empty for the environment's account.
        ledger: name of a `GenerationLedger` block; empty for the environment's ledger.
        archive: name of a `VideoArchive` block; empty for the environment's archive.

    Raises:
        PaidVideoLost: fal made the video and no longer has it; it is not bought again by itself.
        ArchiveError: it is archived, and cannot be read there.
        FalDownloadError, FalUnavailable: the network, after six tries; the video is still at fal.
    """
    names = BlockNames(credentials=credentials, ledger=ledger, archive=archive)
    async with (
        services_for(names) as services,
        hold(services, handle.generation_id, current_owner()) as generation,
    ):
        if generation.state is State.ARCHIVED:
            video = await collected_before(services, generation)
        else:
            video = await collect(services, outcome(generation))
    log = run_logger()
    log.info("Downloaded %s: %d bytes, sha256 %s", video.path, video.size, video.sha256[:12])
    for difference in video.differences:
        log.warning("fal delivered %s", difference)
    return video
