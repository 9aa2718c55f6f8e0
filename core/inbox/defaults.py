"""`defaults.yaml` beside dropped videos: what to make of each of them.

```yaml
prompt: A clay figure dances, studio light.   # fal's fields, as in a batch
num_frames: 49
resolution: 768x448
recipe: web                                   # and how the run is made
tags: [dance]
```

A video is made by the nearest one: of its own folder, else of a folder above it in the inbox.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from prefect_ltx.batch import BatchInvalid, read_batch
from prefect_ltx.fal import MEDIA_KINDS, FrameRule, ReferenceVideoRequest
from prefect_ltx.inbox.place import DEFAULTS_NAMES, Inbox
from prefect_ltx.media import recipe_named
from prefect_ltx.reading import Fault, Unreadable, read_yaml, text_of

MOST_BYTES: Final = 64 << 10
_MOST_VALUES: Final = 10_000
_SEEDS: Final = 2**31
_MEDIA: Final = tuple(name for name in MEDIA_KINDS if name != "video_url")


class DefaultsInvalid(Exception):
    """The defaults cannot be used as they are; the message names the file and every problem."""


class RunOptions(BaseModel):
    """How the run is made, with the flows' own defaults. All of them go into the event, so that a trigger can name
    each."""

    model_config = ConfigDict(extra="forbid")

    recipe: str = "web"
    tags: list[str] = []
    frame_rule: FrameRule = "as_is"
    quality: Literal["off", "warn", "trim", "reject", "next_seed"] = "warn"


class Defaults:
    """The fields and options of one `defaults.yaml`."""

    def __init__(self, name: str, fields: Mapping[str, Any], options: RunOptions) -> None:
        """Use `load`."""
        self.name = name
        self.fields = dict(fields)
        self.options = options.model_dump()

    @classmethod
    async def load(cls, inbox: Inbox, name: str) -> "Defaults":
        """Read the defaults called `name` in the inbox.

        Raises:
            DefaultsInvalid: it is no mapping of fields that can be used for a video.
            ArchiveError: it cannot be read.
        """
        data = await inbox.read(name, MOST_BYTES)
        if data is None:
            raise DefaultsInvalid(f"{name} is larger than {MOST_BYTES >> 10} KB")
        given = _mapping(name, data)
        try:
            options = RunOptions.model_validate(
                {key: given.pop(key) for key in RunOptions.model_fields if key in given}
            )
            recipe_named(options.recipe)
        except ValidationError as error:
            what = "; ".join(f"{each['loc'][0]}: {each['msg']}" for each in error.errors(include_input=False))
            raise DefaultsInvalid(f"{name}: {what}") from None
        except ValueError as error:
            raise DefaultsInvalid(f"{name}: {error}") from None
        folder = inbox.address(name).rpartition("/")[0]
        _check(name, given)
        for field in _MEDIA:
            if isinstance(source := given.get(field), str) and source[:1] not in ("", "/", "~"):
                given[field] = source if "://" in source else f"{folder}/{source.removeprefix('./')}"
        return cls(name, given, options)

    def request_for(self, video: str, sha256: str) -> ReferenceVideoRequest:
        """The request for one video. Without a seed in the defaults it is drawn from the video's bytes, so that the
        same bytes are the same request, and are paid for once.

        Raises:
            DefaultsInvalid: the fields and the video do not make a valid request.
        """
        drawn = int(sha256[:16], 16) % _SEEDS
        try:
            batch = read_batch(
                [{"video_url": video}],
                defaults={"seed": drawn, **self.fields},
                endpoint="reference-video-to-video",
            )
        except BatchInvalid as error:
            what = "; ".join(f"{each.column or each.where}: {each.what}" for each in error.problems)
            raise DefaultsInvalid(f"{self.name}: {what}") from None
        request = batch.rows[0].request
        assert isinstance(request, ReferenceVideoRequest)
        return request


def defaults_name(video: str, names: frozenset[str]) -> str | None:
    """The defaults that hold for a video: the nearest of `names` (all files of the inbox), or None."""
    folder = video.rpartition("/")[0]
    while True:
        for each in DEFAULTS_NAMES:
            name = f"{folder}/{each}" if folder else each
            if name in names:
                return name
        if not folder:
            return None
        folder = folder.rpartition("/")[0]


def _mapping(name: str, data: bytes) -> dict[str, Any]:
    try:
        document = read_yaml(text_of(data), most=_MOST_VALUES, aliases=False)
    except Unreadable as error:
        raise DefaultsInvalid(f"{name}: {error}") from None
    if document.faults:
        what = "; ".join(_told(each) for each in document.told())
        raise DefaultsInvalid(f"{name}: {what}")
    if not isinstance(document.value, dict):
        raise DefaultsInvalid(f"{name} is not a mapping of fields to values")
    return {key: value for key, value in document.value.items() if value is not None}


def _told(fault: Fault) -> str:
    place = f" (line {fault.place.line})" if fault.place else ""
    return f"{'.'.join(map(str, fault.path)) or 'the whole'}: {fault.what}{place}"


def _check(name: str, fields: Mapping[str, Any]) -> None:
    """Refuse what would be read as something else on its way: through events and run parameters, which are kept."""
    if "video_url" in fields:
        raise DefaultsInvalid(f"{name}: video_url is the dropped video; it has no default")
    for field in _MEDIA:
        source = fields.get(field)
        if isinstance(source, str) and ("?" in source or "#" in source or source[:5].lower() == "data:"):
            raise DefaultsInvalid(
                f"{name}: {field} is kept in events, so it has no query and no data; use a path or s3://"
            )
    if _holds_template(fields):
        raise DefaultsInvalid(f"{name}: __prefect_kind is Prefect's own and no field of a request")


def _holds_template(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(str(key) == "__prefect_kind" or _holds_template(each) for key, each in value.items())
    return isinstance(value, list) and any(map(_holds_template, value))
