"""Archived videos as Prefect assets: where each is, and what it was made from.

The events are those that Prefect's own `@materialize` sends, sent by hand after archiving, because an asset's key
must be known before a task runs and a generation's folder is not. A key is the video's place in the archive
(`s3://bucket/prefix/folder/video.mp4`, `file:///archive/folder/video.mp4`); an input's is its `s3://` place, or
`sha256://` and its content where it came from anywhere else. Never a URL that is signed or expires.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from prefect_ltx.generation.inputs import MediaDigest
from prefect_ltx.ledger import Generation
from prefect_ltx.tasks.events import emit, generation_payload

MATERIALIZED: Final = "prefect.asset.materialization.succeeded"
REFERENCED: Final = "prefect.asset.referenced"

_LONGEST_KEY: Final = 512
_REFUSED: Final = re.compile(r"[\s\0#?&%\"'<>\[\]{}|\\^`]")
"""What Prefect allows in no asset key."""


def emit_archived_video(generation: Generation) -> None:
    """Tell Prefect that an archived generation's video exists, and what it was made from; never raises."""
    if generation.location is None or generation.folder is None:
        return
    media = {
        field: MediaDigest.model_validate(each) for field, each in generation.asked.get("media", {}).items()
    }
    inputs = {input_key(each): each.name or field for field, each in media.items()}
    emit_asset(
        asset_key(generation.location, generation.folder, "video.mp4"),
        name=f"{generation.endpoint.rsplit('/', 1)[-1]}, seed {generation.seed}",
        made_from=inputs,
        by="fal",
        metadata={
            **{
                name: value
                for name, value in generation_payload(generation).items()
                if name not in ("attended", "state", "reason")
            },
            "sha256": generation.sha256,
            "size": generation.size,
            "inputs": {field: f"sha256:{each.sha256}" for field, each in media.items()},
        },
        once=generation.id,
        run_id=generation.flow_run_id,
    )


def emit_asset(
    key: str,
    *,
    name: str,
    made_from: Mapping[str, str] | Sequence[str],
    metadata: Mapping[str, JsonValue],
    once: str,
    by: str = "prefect-ltx",
    run_id: str | None = None,
) -> None:
    """Tell Prefect that an asset was made, and reference what it was made from; never raises.

    Args:
        key: the asset, from `asset_key`.
        name: what people call it.
        made_from: keys of the assets upstream, with their names where there are any.
        metadata: the event's payload.
        once: what makes this materialization the one that it is; told again, it is the same event.
        by: what made it.
        run_id: the flow run that made it: what many assets of it are made from is referenced once in it.
    """
    if not key:
        return
    names = made_from if isinstance(made_from, Mapping) else dict.fromkeys(made_from, "")
    upstream = {each: words for each, words in names.items() if each}
    for each, words in upstream.items():
        emit(REFERENCED, each, name=words, once=f"{run_id or once} {each}")
    related = [
        {"prefect.resource.id": each, "prefect.resource.role": "asset"} for each in dict.fromkeys(upstream)
    ]
    related.append({"prefect.resource.id": by, "prefect.resource.role": "asset-materialized-by"})
    emit(MATERIALIZED, key, name=name, payload=metadata, related=related, once=once)


def asset_key(location: str, folder: str, name: str) -> str:
    """The key of a file in an archive; characters that Prefect allows in no key become `_`.

    Empty where it would be longer than Prefect takes (512 characters).
    """
    root = location if "://" in location else f"file://{Path(location).expanduser().absolute().as_posix()}"
    key = _REFUSED.sub("_", f"{root.rstrip('/')}/{folder}/{name}")
    return key if len(key) <= _LONGEST_KEY else ""


def input_key(media: MediaDigest) -> str:
    """The key of an input: its place on S3, or its content."""
    place = _REFUSED.sub("_", media.source)
    return place if place and len(place) <= _LONGEST_KEY else f"sha256://{media.sha256}"
