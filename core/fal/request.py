"""What the request models of all endpoints have in common: media, the wire body, checked copies, a repr without
secrets.

A request is a value: it does not change, and the `with_…` methods give a new, checked one. `body()` is what is
POSTed. Documented fields are held to fal's pages; fields that fal has added since travel in `extra_arguments`.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError, model_validator

from prefect_ltx.fal import fields as f
from prefect_ltx.fal._extra_media import extra_media, redacted, refuse_hidden_media
from prefect_ltx.fal.errors import FalRequestInvalid
from prefect_ltx.fal.frames import FrameRule, snap_num_frames
from prefect_ltx.fal.problems import invalid_request
from prefect_ltx.fal.safe_text import strip_url


def _extras_in_schema(schema: dict[str, Any], model: type["GenerationRequest"]) -> None:
    fields = schema["properties"]
    taken = [name for name in fields if name not in model.ADDED_FIELDS]
    fields["extra_arguments"]["propertyNames"] = {"not": {"enum": taken}}


class GenerationRequest(BaseModel):
    """A request to one endpoint. A new endpoint is a subclass in a file of its own, with the class variables below,
    and one line in `endpoints.py` (or one call of `register_endpoint`)."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        hide_input_in_errors=True,
        json_schema_extra=_extras_in_schema,
    )

    ENDPOINT: ClassVar[str]
    """The full id at fal."""
    CATEGORY: ClassVar[str] = "video-to-video"
    ABOUT: ClassVar[str] = "Generate video using LTX-2.3"
    MEDIA_FIELDS: ClassVar[tuple[str, ...]]
    """The documented fields that hold media, in the page's order."""
    MEDIA_KINDS: ClassVar[Mapping[str, f.MediaKind]] = MappingProxyType({})
    """What those of them hold that `fields.MEDIA_KINDS` does not name."""
    ADDED_FIELDS: ClassVar[tuple[str, ...]] = ()
    """Fields that fal added after the first release of this package. They are sent only where they are not their
    default, so that the body and the key of an older request stay what they were."""
    STRENGTH_FIELD: ClassVar[str] = ""
    """The field that a table's column `strength` means, where it means none of fal's own."""
    SHEET_FIELD: ClassVar[str] = ""
    """The media field that holds a reference sheet, whose panels the video keeps; empty without one."""
    AUTO_SIZE: ClassVar[tuple[int, int] | None] = None
    """(width, height) of "auto" where the endpoint has one size for it; None where it follows the inputs."""

    if TYPE_CHECKING:
        # For the type checker only: a form shows a base's fields first, and the pages order them differently.
        prompt: f.Prompt
        num_frames: f.NumFrames
        resolution: f.Resolution
        frames_per_second: f.FramesPerSecond
        generate_audio: f.GenerateAudio
        seed: f.Seed
        enable_prompt_expansion: f.PromptExpansion
        video_quality: f.Quality
        video_write_mode: f.WriteMode
        sync_mode: f.SyncMode
        extra_arguments: f.ExtraArguments

    @classmethod
    def reference_field(cls) -> str:
        """The media field whose video the result follows: the first that holds one; empty where none does."""
        return next((name for name in cls.MEDIA_FIELDS if f.media_kind(name) == "video"), "")

    @property
    def has_direct_control(self) -> bool:
        """Whether the request brings the control signal itself: then fal honours sizes (fal-2026-11-26 §1)."""
        return False

    def media(self) -> dict[str, str]:
        """The media that are set, by field name: documented fields in the page's order, then `…_url` fields of
        `extra_arguments`."""
        documented = {name: url for name in self.MEDIA_FIELDS if (url := getattr(self, name)) is not None}
        return documented | extra_media(self.extra_arguments)

    def with_media(self, urls: Mapping[str, str]) -> Self:
        """The same request with these media replaced.

        Raises:
            FalRequestInvalid: when a name is neither one of `MEDIA_FIELDS` nor a media field of
                `extra_arguments`, or a URL is blank.
        """
        in_extras = extra_media(self.extra_arguments).keys() & urls.keys()
        if unknown := sorted(set(urls) - set(self.MEDIA_FIELDS) - in_extras):
            raise FalRequestInvalid(f"{', '.join(unknown)}: not a media field of {self.ENDPOINT}")
        update: dict[str, object] = {name: url for name, url in urls.items() if name not in in_extras}
        if in_extras:
            update["extra_arguments"] = self.extra_arguments | {name: urls[name] for name in in_extras}
        return self._changed(update)

    def with_seed(self, seed: int) -> Self:
        """The same request with this seed."""
        return self._changed({"seed": seed})

    def with_frames(self, rule: FrameRule) -> Self:
        """The same request with its frame count snapped by `rule`."""
        return self._changed({"num_frames": snap_num_frames(self.num_frames, rule)})

    def body(self) -> dict[str, JsonValue]:
        """The wire body: every default filled in but those of `ADDED_FIELDS`, None left out, `extra_arguments`
        beside the rest. Text is sent as the user wrote it."""
        body: dict[str, JsonValue] = self.model_dump(
            mode="json", exclude={"extra_arguments"}, exclude_none=True
        )
        for name in self.ADDED_FIELDS:
            if body.get(name) == type(self).model_fields[name].default:
                body.pop(name, None)
        return body | self.extra_arguments

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        """The fields, with media URLs cut before their query: these may be signed."""
        for name, value in super().__repr_args__():
            if name in self.MEDIA_FIELDS and value:
                yield name, strip_url(str(value))
            elif name == "extra_arguments":
                yield name, redacted(value)
            else:
                yield name, value

    def _changed(self, update: Mapping[str, object]) -> Self:
        current = {name: getattr(self, name) for name in self.model_fields_set}
        try:
            return type(self).model_validate(current | dict(update))
        except ValidationError as error:
            raise invalid_request(error, type(self), self.ENDPOINT) from None

    @model_validator(mode="before")
    @classmethod
    def _added_fields_leave_the_extras(cls, data: Any) -> Any:
        # Files and presets from before name them in extra_arguments, where alone they could be sent then.
        extras = data.get("extra_arguments") if isinstance(data, Mapping) else None
        if not isinstance(extras, Mapping):
            return data
        moved = {name: extras[name] for name in cls.ADDED_FIELDS if name in extras and data.get(name) is None}
        if not moved:
            return data
        rest = {name: value for name, value in extras.items() if name not in moved}
        moved = {name: value for name, value in moved.items() if value is not None}
        return {**data, **moved, "extra_arguments": rest}

    @model_validator(mode="after")
    def _extras_are_extra(self) -> Self:
        taken = sorted(set(self.extra_arguments) & set(type(self).model_fields))
        if taken:
            raise ValueError(f"extra_arguments may not repeat a documented field: {', '.join(taken)}")
        refuse_hidden_media(self.extra_arguments)
        return self
