"""Inputs to fal's storage, once for each content and account."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from prefect_ltx.generation.inputs import InputMedia, MediaDigest, fetch_input
from prefect_ltx.generation.progress import tell
from prefect_ltx.generation.services import Services

TRUSTED_SECONDS = 24 * 3600
"""How long an upload at fal is used without another look: fal may delete files, and a run without them is billed."""
UPLOAD_REUSE_SECONDS = 6 * 24 * 3600
"""fal promises "at least 7 days" for its files (fal-protocol §6.3); ours are used a day less."""


class UploadedMedia(BaseModel, frozen=True):
    """A file on fal's storage, by content.

    `url` is fal's public file address, without a signature; fal deletes it in its own time, so what identifies
    the media is `sha256`.
    """

    url: str
    sha256: str
    size: int
    content_type: str
    reused: bool
    """True where these bytes were uploaded before and nothing was sent."""


async def upload(
    services: Services, source: str | InputMedia, *, kind: Literal["video", "image", "any"] = "any"
) -> UploadedMedia:
    """Bring a source to fal unless fal has the same bytes from this account already. Free, and safe to retry.

    What was read and hashed before is not read again, and stays where it is.

    Raises:
        FalRequestInvalid: the source is missing, unreadable or of the wrong kind.
        FalUploadError, FalUnavailable: fal's storage refused or cannot be reached; nothing was spent.
    """
    if isinstance(source, InputMedia):
        uploaded = await _upload_once(services, source.path, source.digest)
        source.check_unchanged()
        return uploaded
    media = await fetch_input(services, source, kind=kind)
    try:
        return await upload(services, media)
    finally:
        media.discard()


async def _upload_once(services: Services, path: Path, digest: MediaDigest) -> UploadedMedia:
    ledger, account = services.ledger, services.account
    url = await _still_there(services, digest.sha256)
    reused = url is not None
    if url is None:
        tell("upload", "", f"uploading {digest.name}")
        url = await services.client.upload(path, content_type=digest.content_type, file_name=digest.name)
        await ledger.save_upload(
            account,
            digest.sha256,
            url,
            content_type=digest.content_type,
            size=digest.size,
            expires_at=services.runtime.time() + UPLOAD_REUSE_SECONDS,
        )
    return UploadedMedia(
        url=url, sha256=digest.sha256, size=digest.size, content_type=digest.content_type, reused=reused
    )


async def _still_there(services: Services, sha256: str) -> str | None:
    """Where these bytes are at fal from before; None where they never were, or are not given out any more.

    An old upload is looked at before it is used, and one on another server always: an embedded fal comes back on
    another port, or with an empty data folder.
    """
    ledger, account = services.ledger, services.account
    stored = await ledger.stored_upload(account, sha256)
    if stored is None:
        return None
    trusted = services.client.hosts.is_fal and stored.age < TRUSTED_SECONDS
    if trusted or await services.client.has_file(stored.url):
        return stored.url
    await ledger.forget_upload(account, sha256, stored.url)
    return None
