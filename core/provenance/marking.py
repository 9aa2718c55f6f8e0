"""Every rendition says how it came to be before it is archived; fal's own file is never altered."""

import asyncio
import shutil
from pathlib import Path
from typing import Final

from prefect_ltx.media import Rendition, sha256_file
from prefect_ltx.provenance.mp4 import Mp4Malformed, Outcome, write_marked_mp4
from prefect_ltx.provenance.pictures import marked_jpeg, marked_webp
from prefect_ltx.provenance.signing import SIGNED_TYPES, Signer, sign_file
from prefect_ltx.provenance.source_type import comment, source_type, xmp_packet

_PICTURES: Final = {"image/jpeg": marked_jpeg, "image/webp": marked_webp}
_MOST_PICTURE_BYTES: Final = 256 << 20


async def mark_rendition(
    rendition: Rendition, folder: Path, *, stand_in: bool, signer: Signer | None = None
) -> Rendition:
    """A copy of a rendition in `folder`, marked with its IPTC digital source type and signed where asked.

    MP4 and M4A get the comment and XMP, JPEG and WebP get XMP; a signature comes last. What cannot carry a mark
    (playlists, subtitles, segments that are pointed into) is given back as it is, without the fact
    `digital_source_type`.

    Raises:
        SigningFailed: signing was asked for and did not work.
        OSError: the copy cannot be written.
    """
    return await asyncio.to_thread(_mark, rendition, folder, source_type(stand_in=stand_in), signer)


def _mark(rendition: Rendition, folder: Path, kind: str, signer: Signer | None) -> Rendition:
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / rendition.path.name
    facts = dict(rendition.facts)
    outcome = _written(rendition, out, kind)
    if outcome == "left":
        shutil.copyfile(rendition.path, out)
    else:
        facts["digital_source_type"] = kind
    # Signing moves data, which a file that a playlist points into does not bear ("appended").
    if signer is not None and outcome == "tagged" and rendition.content_type in SIGNED_TYPES:
        signed = out.with_name(f"signed-{out.name}")
        sign_file(out, signed, signer=signer, source_type=kind, title=out.name)
        signed.replace(out)
        facts["c2pa"] = "signed"
    return rendition.model_copy(
        update={"path": out, "facts": facts, "sha256": sha256_file(out), "size": out.stat().st_size}
    )


def _written(rendition: Rendition, out: Path, kind: str) -> Outcome:
    xmp = xmp_packet(kind)
    if rendition.content_type in ("video/mp4", "audio/mp4"):
        try:
            return write_marked_mp4(rendition.path, out, comment=comment(kind), xmp=xmp)
        except Mp4Malformed:
            return "left"
    mark = _PICTURES.get(rendition.content_type)
    if mark is None or rendition.size > _MOST_PICTURE_BYTES:
        return "left"
    data = mark(rendition.path.read_bytes(), xmp)
    if data is None:
        return "left"
    out.write_bytes(data)
    return "tagged"
