"""What both endpoints give back, by the output schema of their pages. Keys that fal adds are kept."""

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field


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


class GeneratedVideo(BaseModel):
    """The output of both endpoints: the file, the seed used, and the prompt after any expansion."""

    model_config = ConfigDict(extra="allow", frozen=True)

    video: FalFile
    seed: int
    prompt: str
