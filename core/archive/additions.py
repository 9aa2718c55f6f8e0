"""What was added to an archived generation later: further renditions, in files and a document of their own.

A manifest is written once and stays what it was. An addition lies beside it, names the manifest and the video that it
belongs to, and carries a hash of itself. Its files lie in a folder of their own below the generation's, so nothing is
overwritten. Like a manifest it is written last: files that no addition names do not count.
"""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from prefect_ltx.archive.backend import Backend, StoredFile
from prefect_ltx.archive.errors import ArchiveConflict, ManifestUnreadable
from prefect_ltx.archive.keys import MANIFEST_NAME, check_key
from prefect_ltx.archive.manifest import ArchivedFile, Manifest, _in_utc, _no_number
from prefect_ltx.archive.manifest_records import SHA256
from prefect_ltx.archive.reading import read_documents, read_small

_NAME: Final = re.compile(r"(?P<folder>.+)/addition-[a-z0-9-]{1,120}\.json")


class Addition(BaseModel):
    """Renditions that were made of an archived video after its manifest was written. Holds no secret."""

    model_config = ConfigDict(extra="allow")

    schema_version: Literal[1] = 1
    generation_key: str
    generation_id: str = ""
    manifest_sha256: str = SHA256
    """Of the manifest that it belongs to."""
    video_sha256: str = SHA256
    """Of the file that its renditions were made of."""
    recipe: str = Field(max_length=200)
    recipe_sha256: str = SHA256
    lead_in_frames: int = Field(default=0, ge=0, le=2**31)
    files: list[ArchivedFile]
    tools: dict[str, str] = Field(default_factory=dict)
    stand_in: bool = False
    created_at: Annotated[AwareDatetime, AfterValidator(_in_utc)]
    folder: str
    """Of its files, below the generation's own."""
    sha256: str = Field(default="", description="Of this document without this field.")

    @model_validator(mode="after")
    def _files_in_its_folder(self) -> Self:
        check_key(self.folder)
        for each in self.files:
            if not each.name.startswith(f"{self.folder}/"):
                raise ValueError(f"{each.name!a} is not in the addition's own folder")
        return self

    def hashed(self) -> Self:
        """The same with its hash."""
        return self.model_copy(update={"sha256": _hash(self.model_dump(mode="json"))})

    def to_bytes(self) -> bytes:
        """The file's content."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str = "addition.json") -> Self:
        """Read one; `name` is what an error calls it.

        Raises:
            ManifestUnreadable: it cannot be read, or is not what its own hash says.
        """
        try:
            found = json.loads(data, parse_constant=_no_number)
            json.dumps(found, ensure_ascii=False).encode()
            addition = cls.model_validate(found)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or "the whole"
            raise ManifestUnreadable(f"{name} is no addition: {place}: {first['msg']}") from error
        except (ValueError, RecursionError) as error:
            raise ManifestUnreadable(f"{name} is no addition: not JSON") from error
        if addition.sha256 != _hash(found):
            raise ManifestUnreadable(f"{name} was altered: its own sha256 differs")
        return addition

    def belongs_to(self, manifest: Manifest) -> bool:
        """Whether it was made for this manifest and its video."""
        video = manifest.video
        return (
            self.manifest_sha256 == manifest.sha256
            and self.generation_key == manifest.generation_key
            and video is not None
            and self.video_sha256 == video.sha256
        )


def addition_name(recipe: str, recipe_sha256: str, video_sha256: str, lead_in_frames: int) -> str:
    """What tells one addition of a generation from another: the same video by the same recipe has one name."""
    words = re.sub(r"[^a-z0-9]+", "-", recipe.lower()).strip("-")[:40] or "recipe"
    what = json.dumps([recipe_sha256, video_sha256, lead_in_frames])
    return f"{words}-{hashlib.sha256(what.encode()).hexdigest()[:16]}"


def addition_key(folder: str, name: str) -> str:
    """Where an addition of a generation's folder lies."""
    return check_key(f"{folder}/addition-{name}.json")


def addition_keys(keys: Iterable[str]) -> list[str]:
    """Those keys that are an addition of a folder that has a manifest, sorted."""
    there = set(keys)
    return sorted(key for key in there if (folder := folder_of(key)) and f"{folder}/{MANIFEST_NAME}" in there)


def folder_of(key: str) -> str:
    """The generation's folder that an addition lies in; empty for the key of anything else."""
    found = _NAME.fullmatch(key)
    return found["folder"] if found else ""


async def read_additions(
    backend: Backend, keys: list[str], manifests: Mapping[str, Manifest], *, despite_errors: bool = True
) -> AsyncIterator[tuple[str, Addition | ManifestUnreadable]]:
    """Yield each key with its addition, or with the reason why it does not count.

    `manifests` are those of the folders; an addition to another manifest than the one that is there does not count.
    """
    async for key, found in read_documents(backend, keys, Addition.from_bytes, despite_errors=despite_errors):
        manifest = manifests.get(folder_of(key))
        if isinstance(found, Addition) and (manifest is None or not found.belongs_to(manifest)):
            if manifest is not None:
                yield key, ManifestUnreadable(f"{backend.url(key)} is an addition to another manifest")
            continue
        yield key, found


async def additions_of(backend: Backend, folder: str, manifest: Manifest) -> list[Addition]:
    """Those of one generation, by name; what cannot be read or belongs to another one is left out.

    Raises:
        ArchiveError: one cannot be read now.
    """
    keys = addition_keys(await backend.list(f"{folder}/"))
    return [
        found
        async for _, found in read_additions(backend, keys, {folder: manifest})
        if isinstance(found, Addition)
    ]


async def write_addition(backend: Backend, folder: str, name: str, addition: Addition) -> StoredFile:
    """Write an addition whose files are there; the one that is there already stands (`existed`).

    Raises:
        ArchiveError: it cannot be written now.
    """
    key = addition_key(folder, name)
    try:
        return await backend.put_bytes(key, addition.to_bytes(), content_type="application/json")
    except ArchiveConflict:
        there = await read_small(backend, key)
        return StoredFile(key=key, size=len(there), sha256=hashlib.sha256(there).hexdigest(), existed=True)


def _hash(document: Mapping[str, Any]) -> str:
    plain = {name: value for name, value in document.items() if name != "sha256"}
    text = json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
