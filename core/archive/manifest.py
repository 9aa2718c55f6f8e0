"""What made a video: the last file written into a generation's folder, and the only one readers trust.

A file that no manifest names does not count. A manifest is written once; readers of version 1 ignore fields
they do not know, and refuse a higher `schema_version`.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PrivateAttr,
    ValidationError,
    field_validator,
)

from prefect_ltx.archive.errors import ManifestUnreadable
from prefect_ltx.archive.keys import check_key
from prefect_ltx.archive.manifest_records import SHA256, Ancestor, ApprovalRecord, QualityRecord
from prefect_ltx.fal.safe_text import strip_url

SCHEMA_VERSION: Final = 1
_MOST_USD: Final = 10**12
_PLACES: Final = 30
_ADDRESS = re.compile(r"\s*(data:|[a-z][a-z0-9+.-]*://)\S*\s*", re.IGNORECASE)


def _price(value: Decimal) -> Decimal:
    """A price or a number of units: what is beyond any bill is no number, and would be written out in full."""
    exponent = value.as_tuple().exponent
    if (
        not value.is_finite()
        or not 0 <= value <= _MOST_USD
        or not isinstance(exponent, int)
        or exponent < -_PLACES
    ):
        raise ValueError(f"not a number from 0 to {_MOST_USD} with at most {_PLACES} decimal places")
    return value


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("not a time of the calendar") from None


def _file_name(value: str) -> str:
    return check_key(value)


Price = Annotated[Decimal, AfterValidator(_price)]
Size = Annotated[int, Field(ge=0, le=2**63 - 1)]


class InputFile(BaseModel):
    """A media input, by content: `field` is fal's name for it, such as `image_url`."""

    model_config = ConfigDict(extra="allow")

    field: str
    sha256: str = SHA256
    size: Size
    content_type: str
    name: str = ""


class ArchivedFile(BaseModel):
    """A file in the generation's folder: `role` is `video`, or the rendition's name such as `poster`."""

    model_config = ConfigDict(extra="allow")

    role: str
    name: Annotated[str, AfterValidator(_file_name)]
    sha256: str = SHA256
    size: Size
    content_type: str
    facts: dict[str, JsonValue] = Field(default_factory=dict)


class Manifest(BaseModel):
    """Everything that explains and reproduces one archived generation. Holds no secret and no signed URL."""

    model_config = ConfigDict(extra="allow")

    schema_version: Literal[1] = SCHEMA_VERSION
    generation_key: str = Field(description="sha256 over account, endpoint and the request with its content.")
    generation_id: str = Field(default="", description="The ledger's id of the generation.")
    endpoint: str
    account: str = Field(description="Fingerprint of the fal account, not its key.")
    request: dict[str, JsonValue] = Field(
        description="The body sent to fal; media by content or bare address."
    )
    request_id: str = Field(description="fal's id of the request.")
    seed: int = Field(ge=-(2**63), lt=2**63, description="The seed that made the video.")
    prompt_sent: str
    prompt_expanded: str = Field(default="", description="The prompt as fal expanded it, where it did.")
    price_expected_usd: Price
    price_billed_usd: Price | None = Field(default=None, description="None: not known when written.")
    billable_units: Price | None = None
    inputs: list[InputFile] = Field(default_factory=list)
    files: list[ArchivedFile]
    asked: dict[str, JsonValue] = Field(default_factory=dict)
    delivered: dict[str, JsonValue] = Field(default_factory=dict)
    differences: list[str] = Field(
        default_factory=list, description="In which ways the delivery is not what was asked."
    )
    quality: QualityRecord | None = Field(
        default=None, description="What quality control found; None where it did not look."
    )
    approval: ApprovalRecord | None = Field(
        default=None, description="Who approved buying it; None where nobody was asked."
    )
    made_of: list[Ancestor] = Field(
        default_factory=list, description="Archived generations that this video was made of, in order."
    )
    tools: dict[str, str] = Field(default_factory=dict, description="Versions of what worked on it.")
    stand_in: bool = Field(default=False, description="Made by a stand-in server, not by the model.")
    created_at: Annotated[AwareDatetime, AfterValidator(_in_utc)]
    folder: str = Field(description="The generation's folder in the archive.")
    tags: list[str] = Field(default_factory=list)

    _written: bytes | None = PrivateAttr(default=None)

    @field_validator("request", "asked", mode="after")
    @classmethod
    def _bare_addresses(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        return {name: _without_query(name, each) for name, each in value.items()}

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str = "manifest.json") -> Self:
        """Read a manifest; `name` is what an error calls it.

        Raises:
            ManifestUnreadable: no JSON, fields missing or wrong, or a newer schema version.
        """
        try:
            found = json.loads(data, parse_constant=_no_number)
            if b"\\u" in data or b"\xed" in data:  # else it cannot hold half a surrogate pair
                json.dumps(found, ensure_ascii=False).encode()
            version = found.get("schema_version") if isinstance(found, dict) else None
            if isinstance(version, int) and version > SCHEMA_VERSION:
                raise ManifestUnreadable(f"{name} has schema version {version}; this package reads up to 1")
            manifest = cls.model_validate(found)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or "the whole"
            raise ManifestUnreadable(f"{name} is no manifest: {place}: {first['msg']}") from error
        except UnicodeEncodeError as error:
            raise ManifestUnreadable(f"{name} is no manifest: it holds half a surrogate pair") from error
        except (ValueError, RecursionError) as error:
            raise ManifestUnreadable(f"{name} is no manifest: not JSON") from error
        manifest._written = data
        return manifest

    def to_bytes(self) -> bytes:
        """Return the file's content: as it was read, or written for the first time (UTF-8 JSON, indented)."""
        if self._written is not None:
            return self._written
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False).encode() + b"\n"

    def written_as(self, data: bytes) -> None:
        """Remember what was written for it: `to_bytes` and `sha256` speak of that from now on."""
        self._written = data

    @property
    def sha256(self) -> str:
        """The sha256 of the file's content."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def video(self) -> ArchivedFile | None:
        """The file that fal delivered, where the manifest names one."""
        return self.file("video")

    def file(self, role: str) -> ArchivedFile | None:
        """The first file with a role, or None."""
        return next((each for each in self.files if each.role == role), None)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy; a changed copy is not the file that was read."""
        copied = super().model_copy(update=update, deep=deep)
        if update:
            copied._written = None
        return copied


def manifest_schema() -> dict[str, Any]:
    """The JSON schema of `manifest.json` as it is written."""
    schema = Manifest.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_document() -> str:
    """The text of `docs/manifest.schema.json`."""
    return json.dumps(manifest_schema(), indent=2, ensure_ascii=False) + "\n"


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _without_query(name: str, value: JsonValue) -> JsonValue:
    # A prompt is kept to the letter; everything else that is an address loses what may sign it.
    if isinstance(value, str):
        return strip_url(value) if _ADDRESS.fullmatch(value) and "prompt" not in name else value
    if isinstance(value, list):
        return [_without_query(name, each) for each in value]
    if isinstance(value, dict):
        return {each: _without_query(each, inner) for each, inner in value.items()}
    return value
