"""What libav may open and decode: the options that say so before it looks at a single byte, for PyAV and for ffmpeg.

Opening a file already decodes: libav runs a stream's decoder to learn what its header leaves out, and some demuxers
open a second one for what is nested in the file. So what is not read here is refused by libav itself, by name, before
that (`format_whitelist`, `codec_whitelist`, `protocol_whitelist` of ffmpeg's AVFormatContext and AVCodecContext).

The demuxer is the one that the file's first bytes name (`magic`), the codecs are those of `limits`.
"""

from typing import Final

from prefect_ltx.media.limits import AUDIO_CODECS, VIDEO_CODECS
from prefect_ltx.media.magic import MediaFormat

PROTOCOLS: Final = "file,pipe"

_OTHER_DECODERS: Final = (
    # libav lists decoders by their own names, which are not always the codec's. None of these needs a device.
    "aac_fixed", "ac3_fixed", "libdav1d", "libaom-av1", "libopus", "libvorbis", "libvpx", "libvpx-vp9", "mp2float",
    "mp3float", "mpegvideo",
)  # fmt: skip
DECODERS: Final = ",".join(sorted(VIDEO_CODECS | AUDIO_CODECS | frozenset(_OTHER_DECODERS)))
"""The decoders that may run, as libav's option takes them."""


def opening_options(known: MediaFormat) -> dict[str, str]:
    """The options with which a file of this format is opened; for `av.open` and, as they are, for an ffmpeg input."""
    return {
        "protocol_whitelist": PROTOCOLS,
        "format_whitelist": known.demuxer,
        "codec_whitelist": DECODERS,
    }


def decoding_options() -> dict[str, str]:
    """The options of a PyAV codec context that decodes: it is opened apart from its container."""
    return {"codec_whitelist": DECODERS}
