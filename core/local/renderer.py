"""What turns a job into a clip. The embedded fal ships two; another is plugged in as `module:object`."""

import importlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Protocol, runtime_checkable

from prefect_ltx.fal import GenerationRequest


@dataclass(frozen=True)
class RenderJob:
    """One generation as the renderer sees it: everything decided, the media on disk.

    `prompt` is the text after any expansion; `width`, `height`, `num_frames` and `fps` are what to deliver.
    `folder` is scratch that is deleted after the job. `sheet_lead_in` frames of the sheet open the clip. `media` has
    every media input by its field.
    """

    request_id: str
    request: GenerationRequest
    seed: int
    prompt: str
    width: int
    height: int
    num_frames: int
    fps: Fraction
    video: Path | None
    image: Path | None
    folder: Path
    sheet_lead_in: int = 0
    media: Mapping[str, Path] = field(default_factory=dict)


class RenderCancelled(Exception):
    """The render ended because it was told to; there is no clip."""


class RenderRefused(Exception):
    """The renderer cannot do what this field asks: the request ends with 422, not retryable."""

    def __init__(self, field: str, message: str, error_type: str = "feature_not_supported") -> None:
        """`field` is the request's, `error_type` one of fal's."""
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message
        self.error_type = error_type


Report = Callable[[float, str], None]
"""Called with how far it is (0 to 1) and a line for the request's log."""


@runtime_checkable
class Renderer(Protocol):
    """Makes one clip. `render` runs in a worker thread of its own and may block."""

    def render(self, job: RenderJob, progress: Report, cancelled: threading.Event) -> Path:
        """Return an MP4 in `job.folder`. The same job gives the same bytes.

        What is billed is what the file holds, not what was asked for. Any other exception than these two
        ends the request with fal's internal_server_error, unbilled.

        Raises:
            RenderCancelled: soon after `cancelled` was set.
            RenderRefused: this renderer cannot do it.
        """
        ...


class RendererUnusable(Exception):
    """The renderer that was named cannot be used. The embedded server does not start."""


def load_renderer(spec: "str | Renderer | None") -> Renderer:
    """The renderer that `spec` means.

    None is the ffmpeg renderer; `stored-clip` or `stored-clip:/path/to/clip.mp4` copies one clip;
    `module:object` is imported, and called without arguments where it is a class or a function.

    Raises:
        RendererUnusable: no such module or object, or it has no `render`.
    """
    if spec is not None and not isinstance(spec, str):
        return spec
    if spec is None or spec == "ffmpeg":
        from prefect_ltx.local.ffmpeg_renderer import FfmpegRenderer

        return FfmpegRenderer()
    if spec == "stored-clip" or spec.startswith("stored-clip:"):
        from prefect_ltx.local.stored_clip import StoredClipRenderer

        path = spec.partition(":")[2]
        return StoredClipRenderer(Path(path) if path else None)
    return _imported(spec)


def _imported(spec: str) -> Renderer:
    module_name, colon, object_name = spec.partition(":")
    if not colon or not module_name or not object_name:
        raise RendererUnusable(f"Renderer {spec!r}: give ffmpeg, stored-clip[:PATH] or module:object")
    try:
        found = getattr(importlib.import_module(module_name), object_name)
    except (ImportError, AttributeError) as error:
        raise RendererUnusable(f"Renderer {spec!r} cannot be imported: {error}") from error
    if isinstance(found, type) or not hasattr(found, "render"):
        found = found()
    if not isinstance(found, Renderer):
        raise RendererUnusable(f"Renderer {spec!r} has no render(job, progress, cancelled)")
    return found
