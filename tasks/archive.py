"""Put a finished generation into the archive, for good."""

from collections.abc import Sequence

from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from prefect_ltx.archive import QualityRecord
from prefect_ltx.blocks.dispatch import task
from prefect_ltx.blocks.services import BlockNames, services_for
from prefect_ltx.generation import (
    ArchivedGeneration,
    CollectedVideo,
    archived,
    archived_before,
    clean_up,
    hold,
    store,
)
from prefect_ltx.ledger import State
from prefect_ltx.media import Rendition
from prefect_ltx.tasks.context import current_owner, run_logger
from prefect_ltx.tasks.handle import GenerationHandle
from prefect_ltx.tasks.policy import free_to_repeat


@task(
    name="archive video",
    cache_policy=NO_CACHE,
    retries=4,
    retry_delay_seconds=exponential_backoff(2),
    retry_jitter_factor=0.5,
    retry_condition_fn=free_to_repeat,
)
async def archive_video(
    handle: GenerationHandle,
    video: CollectedVideo,
    renditions: Sequence[Rendition] = (),
    *,
    quality: QualityRecord | None = None,
    credentials: str = "",
    ledger: str = "",
    archive: str = "",
) -> ArchivedGeneration:
    """Write the video, its renditions and, last, its manifest to the archive, and close the ledger's row.

    What is there already is given back as it is.

    Args:
        handle: what `submit_generation` gave.
        video: what `download_video` gave.
        renditions: what `postprocess_video` gave.
        quality: what `inspect_video` found, for the manifest.
        credentials: name of a `FalCredentials` block; empty for the environment's account.
        ledger: name of a `GenerationLedger` block; empty for the environment's ledger.
        archive: name of a `VideoArchive` block; empty for the environment's archive.

    Raises:
        ArchiveError: the archive refused or cannot be reached; the video stays on this machine, and the next
            run or sweep resumes from there.
        PaidVideoWaits: the work folder cannot be used, or renditions cannot be signed; nothing is lost either.
    """
    names = BlockNames(credentials=credentials, ledger=ledger, archive=archive)
    async with (
        services_for(names) as services,
        hold(services, handle.generation_id, current_owner()) as generation,
    ):
        if generation.state is State.ARCHIVED:
            found = await archived_before(services, generation)
            clean_up(services, generation.id)
            run_logger().info("In the archive already: %s/%s", found.archive, found.folder)
            return found
        manifest = await store(services, generation, video, renditions, quality)
        generation = await services.ledger.get(generation.id)
        found = archived(generation, manifest, location=services.archive.location, reused=False)
    run_logger().info("Archived in %s/%s: %d files", found.archive, found.folder, len(found.files))
    return found
