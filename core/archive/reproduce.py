"""From a manifest back to a request that makes the same video.

The prompt is the one that fal expanded, expansion is off and the seed is the one that made the video. Media are
known by content only, so they stand as `sha256:<hex>` until files are given. It is a request like any other: at
fal it is a new generation, and paid for.
"""

import asyncio
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from prefect_ltx.archive.errors import ArchiveNotFound
from prefect_ltx.archive.manifest import Manifest
from prefect_ltx.fal import (
    FalRequestInvalid,
    GenerationRequest,
    ReferenceVideoRequest,
    endpoint_model,
    parse_request,
)

PLACEHOLDER: Final = "sha256:"


def reproduce(manifest: Manifest) -> GenerationRequest:
    """The request that gives a manifest's video again; media fields are `sha256:<hex>`.

    Raises:
        FalRequestInvalid: the manifest's request is not one that this version knows, or it has no request: a film
            is made again by its shots.
    """
    model = endpoint_model(manifest.endpoint)
    if manifest.made_of and model is None:
        made_of = ", ".join(each.generation_id for each in manifest.made_of)
        raise FalRequestInvalid(
            f"{manifest.folder} was made of other generations here, not by one request",
            next_step=f"Take one of them ({made_of}), or run the storyboard in its manifest's request",
        )
    known = (model or ReferenceVideoRequest).model_fields
    body: dict[str, JsonValue] = {name: value for name, value in manifest.request.items() if name in known}
    extra = {name: value for name, value in manifest.request.items() if name not in known}
    media = {each.field: f"{PLACEHOLDER}{each.sha256}" for each in manifest.inputs}
    extra |= {name: source for name, source in media.items() if name not in known}
    body |= {
        "prompt": manifest.prompt_expanded or manifest.prompt_sent,
        "enable_prompt_expansion": False,
        "seed": manifest.seed,
        **{name: source for name, source in media.items() if name in known},
    }
    return parse_request({**body, "extra_arguments": extra}, manifest.endpoint)


async def fill_media(request: GenerationRequest, files: Iterable[Path | str]) -> GenerationRequest:
    """The request with each `sha256:` placeholder replaced by the file that has this content.

    Raises:
        ArchiveNotFound: none of the files has it; every missing field is named.
    """
    wanted = {
        field: source.removeprefix(PLACEHOLDER)
        for field, source in request.media().items()
        if source.startswith(PLACEHOLDER)
    }
    there = {await asyncio.to_thread(_sha256, Path(path)): str(path) for path in files}
    missing = sorted(f"{field} (sha256 {sha256})" for field, sha256 in wanted.items() if sha256 not in there)
    if missing:
        raise ArchiveNotFound(
            f"None of the {len(there)} files is {', '.join(missing)}",
            next_step="Give the files that the video was made of; their names do not matter",
        )
    return request.with_media({field: there[sha256] for field, sha256 in wanted.items()})


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
