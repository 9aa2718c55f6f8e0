"""What both endpoints give back, read leniently: only `video.url` is needed to keep what was paid for.

Everything else is made storable, counts as unknown where it is out of range, and is named in `oddities`. Keys
that fal adds are kept. `read_video` is the one way in, for the result route, the listing and webhooks.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from prefect_ltx.fal.errors import FalProtocolError
from prefect_ltx.fal.safe_text import plain, storable, storable_json
from prefect_ltx.fal.urls import why_not_fetchable

MAX_FILE_BYTES: Final = 4 << 30
"""No video of these endpoints comes near it: the largest, 2560x1440 and 481 frames, is well under 1 GiB."""

_LONGEST_PROMPT: Final = 100_000
_LONGEST_NAME: Final = 500
_SEEDS: Final = 2**63


class FalFile(BaseModel):
    """A file as fal names it. `url` may be a data URI (`sync_mode`), or signed, so no repr shows it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    url: str = Field(min_length=1)
    content_type: str | None = None
    file_name: str | None = None
    file_size: int | None = None

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        """Only what can hold neither a signed URL nor a whole video."""
        yield from ((name, getattr(self, name)) for name in ("content_type", "file_name", "file_size"))


def _as_on_the_pages(schema: dict[str, Any]) -> None:
    properties = schema["properties"]
    del properties["oddities"]
    for name, kind in (("seed", "integer"), ("prompt", "string")):
        properties[name] = {"title": properties[name]["title"], "type": kind}
    schema["required"] = ["video", "seed", "prompt"]


class GeneratedVideo(BaseModel):
    """The output of both endpoints: the file, the seed used, and the prompt after any expansion.

    `seed` is None unless it is a whole number from 0 to 63 bits; `prompt` is None where fal gave no text;
    `oddities` says in words what else was not as on fal's pages. Its JSON schema is that of the pages.
    """

    model_config = ConfigDict(extra="allow", frozen=True, json_schema_extra=_as_on_the_pages)

    video: FalFile
    seed: int | None = None
    prompt: str | None = None
    oddities: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _leniently(cls, data: object) -> object:
        return _Reading(data).values() if isinstance(data, Mapping) else data


def read_video(data: object) -> GeneratedVideo:
    """The generated video in `data`: JSON of the result route, of a listing's `json_output`, or of a webhook.

    Raises:
        FalProtocolError: there is no `video.url`, or none that could ever be fetched.
    """
    try:
        return GeneratedVideo.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        why = str(first["ctx"]["error"]) if "ctx" in first and "error" in first["ctx"] else first["msg"]
        raise FalProtocolError(f"fal's result holds no video that can be fetched: {plain(why)}") from None


class _Reading:
    """One result on its way to being stored, and what was odd about it."""

    def __init__(self, data: Mapping[Any, Any]) -> None:
        self._data = data
        earlier = data.get("oddities")
        known = [plain(one) for one in earlier] if isinstance(earlier, list | tuple) else []
        self._odd: list[str] = known

    def values(self) -> dict[str, Any]:
        rest = {name: value for name, value in self._data.items() if name not in GeneratedVideo.model_fields}
        extra = storable_json(rest)
        assert isinstance(extra, dict)
        read = {"video": self._file(), "seed": self._seed(), "prompt": self._prompt()}
        return extra | read | {"oddities": tuple(dict.fromkeys(self._odd))}

    def _file(self) -> dict[str, Any]:
        video = self._data.get("video")
        if isinstance(video, list | tuple):
            self._odd.append(f"video came as a list of {len(video)}")
            video = next((one for one in video if _url_of(one)), None)
        if isinstance(video, BaseModel):
            video = video.model_dump()
        if isinstance(video, str):
            self._odd.append("video came as a bare URL")
            video = {"url": video}
        url = _url_of(video)
        if not isinstance(video, Mapping) or not url:
            raise ValueError("video.url is missing")
        if why := why_not_fetchable(url):
            raise ValueError(f"video.url cannot be fetched: {why}")
        extra = storable_json({name: value for name, value in video.items() if name not in _FILE_FIELDS})
        assert isinstance(extra, dict)
        texts = {name: self._name(name, video.get(name)) for name in ("content_type", "file_name")}
        return extra | texts | {"url": url, "file_size": self._size(video.get("file_size"))}

    def _name(self, name: str, value: object) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str):
            self._odd.append(f"video.{name} is not text")
            return None
        return storable(value)[:_LONGEST_NAME]

    def _size(self, value: object) -> int | None:
        if value is None:
            return None
        size = _whole(value)
        if size is None or not 0 < size <= MAX_FILE_BYTES:
            self._odd.append(f"video.file_size {_shown(value)} is no plausible size")
            return None
        return size

    def _seed(self) -> int | None:
        if "seed" not in self._data or self._data["seed"] is None:
            self._odd.append("seed is missing")
            return None
        value = self._data["seed"]
        seed = _whole(value)
        if seed is None:
            self._odd.append(f"seed {_shown(value)} is not a whole number")
        elif not 0 <= seed < _SEEDS:
            self._odd.append(f"seed {_shown(value)} is out of range")
            seed = None
        return seed

    def _prompt(self) -> str | None:
        value = self._data.get("prompt")
        if value is None:
            self._odd.append("prompt is missing")
            return None
        if not isinstance(value, str):
            self._odd.append("prompt is not text")
            return None
        text = storable(value)
        if text != value:
            self._odd.append("prompt held characters that cannot be stored")
        if len(text) > _LONGEST_PROMPT:
            self._odd.append(f"prompt was cut from {len(text)} characters")
        return text[:_LONGEST_PROMPT]


_FILE_FIELDS: Final = frozenset(FalFile.model_fields)


def _url_of(video: object) -> str:
    if isinstance(video, BaseModel):
        video = video.model_dump()
    url = video.get("url") if isinstance(video, Mapping) else video
    return url.strip() if isinstance(url, str) else ""


def _shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 256:
        return f"of {value.bit_length()} bits"
    return plain(repr(value), 40) if isinstance(value, str | int | float) else f"as a {type(value).__name__}"


def _whole(value: object) -> int | None:
    """A whole number, also one that JSON wrote with a point; nothing else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None
