"""ffmpeg and probing: what a media file is, whether it is whole, and what is made of it.

ffmpeg-python builds graphs between `source` and `target`; `run_ffmpeg` runs them in one process of ours.
"""

from prefect_ltx.media.binary import ffmpeg_binary, ffmpeg_version
from prefect_ltx.media.demo import make_reference_clip, make_reference_sheet
from prefect_ltx.media.errors import FfmpegFailed, MediaError, MediaInvalid
from prefect_ltx.media.files import sha256_file
from prefect_ltx.media.graph import BITEXACT, frame_rate, generator, nowhere, source, target
from prefect_ltx.media.info import AudioInfo, MediaInfo
from prefect_ltx.media.last_frame import last_frame
from prefect_ltx.media.limits import DEFAULT_LIMITS, Limits
from prefect_ltx.media.loudness import Loudness, measure_loudness
from prefect_ltx.media.magic import MediaFormat, MediaKind, sniff, sniff_bytes
from prefect_ltx.media.panels import WHOLE, Panel, find_panels, read_picture
from prefect_ltx.media.probe import probe
from prefect_ltx.media.process import FfmpegRun, Progress, run_ffmpeg
from prefect_ltx.media.recipe import (
    AudioFile,
    ContactSheet,
    HlsVideo,
    LoudnessTarget,
    Output,
    Poster,
    Preview,
    ProxyVideo,
    Recipe,
    Scale,
    SocialVideo,
    Thumbnails,
    Trim,
    WebVideo,
)
from prefect_ltx.media.recipes import RECIPES, RecipeUnreadable, read_recipe, recipe_named
from prefect_ltx.media.references import Converted, as_reference, plain_picture
from prefect_ltx.media.renditions import Rendition, render_renditions
from prefect_ltx.media.verify import verify_audio, verify_image, verify_video

__all__ = [
    "BITEXACT",
    "DEFAULT_LIMITS",
    "RECIPES",
    "WHOLE",
    "AudioFile",
    "AudioInfo",
    "ContactSheet",
    "Converted",
    "FfmpegFailed",
    "FfmpegRun",
    "HlsVideo",
    "Limits",
    "Loudness",
    "LoudnessTarget",
    "MediaError",
    "MediaFormat",
    "MediaInfo",
    "MediaInvalid",
    "MediaKind",
    "Output",
    "Panel",
    "Poster",
    "Preview",
    "Progress",
    "ProxyVideo",
    "Recipe",
    "RecipeUnreadable",
    "Rendition",
    "Scale",
    "SocialVideo",
    "Thumbnails",
    "Trim",
    "WebVideo",
    "as_reference",
    "ffmpeg_binary",
    "ffmpeg_version",
    "find_panels",
    "frame_rate",
    "generator",
    "last_frame",
    "make_reference_clip",
    "make_reference_sheet",
    "measure_loudness",
    "nowhere",
    "plain_picture",
    "probe",
    "read_picture",
    "read_recipe",
    "recipe_named",
    "render_renditions",
    "run_ffmpeg",
    "sha256_file",
    "sniff",
    "sniff_bytes",
    "source",
    "target",
    "verify_audio",
    "verify_image",
    "verify_video",
]
