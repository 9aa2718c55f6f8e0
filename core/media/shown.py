"""Pictures and sound as a player shows and plays them: the one place for recipes, films, measurements and posters.

`shown` gives the frames of the stream that a player would choose: upright (ffmpeg turns and mirrors by the file's
display matrix), whole where they were interlaced, and timed from the first of them. `heard` gives the sound that goes
with them: its first sample belongs to the first frame, and where the file has no sound there is silence. `in_bt709`
gives colours as every screen shows them.

Both streams keep the distance that the file gives them, so a graph with `heard` in it has to run on the file's own
clock: `own_clock` says so to ffmpeg, which would start every file at zero.
"""

from typing import Any, Final

from prefect_ltx.media.info import AudioInfo, MediaInfo

SAMPLE_RATE: Final = 48000
WHITE_NITS: Final = 203
"""How bright SDR's white is in HDR (ITU-R BT.2408, table 1): it stays white, what is brighter becomes white."""
EXACT: Final = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
"""Flags with which ffmpeg's scaler keeps colours; its own are off by up to 7 of 255."""
_GAP_SECONDS: Final = 0.02
"""A hole in the sound that is longer is filled with silence; below that, times are only rounded."""
_UNTAGGED: Final = (0, 2)
_BT709: Final = 1
_BT2020: Final = 9
_WIDE: Final = (_BT2020, 11, 12)  # BT.2020, DCI-P3, Display P3
_FULL_RANGE: Final = 2
_PQ, _HLG = 16, 18


def shown(origin: Any, info: MediaInfo) -> Any:
    """The pictures of an input node as a player shows them, the first at time zero."""
    pictures = origin[str(info.stream)]
    if info.interlaced:
        # One frame for each, so that their number and times stay.
        pictures = pictures.filter("bwdif", mode="send_frame", deint="interlaced")
    if info.constant and info.frame_rate:
        # By number: a container rounds times, and some frames have none. The filter `fps` says how long each is shown.
        rate = info.frame_rate
        pictures = pictures.filter("settb", f"{rate.denominator}/{rate.numerator}").filter("setpts", "N")
        return pictures.filter("fps", f"{rate.numerator}/{rate.denominator}", start_time=0)
    return pictures.filter("setpts", "PTS-STARTPTS")


def heard(origin: Any, audio: AudioInfo, start: float) -> Any:
    """The sound of an input node at 48 kHz, from the first frame (at `start` on the file's clock) on."""
    sound = origin[str(audio.stream)].filter("asetpts", f"PTS-({start:.9f})/TB")
    return sound.filter(
        "aresample", SAMPLE_RATE, **{"async": 1, "min_hard_comp": _GAP_SECONDS, "first_pts": 0}
    )


def own_clock(node: Any) -> Any:
    """The same output node, with times as the files give them."""
    return node.global_args("-copyts")


def is_hdr(info: MediaInfo) -> bool:
    """Whether it is PQ or HLG (ISO 23091-2 transfer 16 or 18)."""
    return info.colour[2] in (_PQ, _HLG)


def is_other_colour(info: MediaInfo) -> bool:
    """Whether numbers have to change for BT.709 in limited range; what is not tagged is taken for it."""
    full_range, *tags = info.colour
    if not info.pix_fmt.startswith(("yuv", "nv", "gray", "p0")):
        return True  # RGB, whose matrix says nothing
    return full_range == _FULL_RANGE or any(tag not in (_BT709, *_UNTAGGED) for tag in tags)


def in_bt709(pictures: Any, info: MediaInfo) -> Any:
    """Pictures of a video in the colours of BT.709: limited range, eight bits, 4:2:0."""
    if is_hdr(info):
        pictures = _tone_mapped(pictures, info)
    elif info.colour[1] in _WIDE:
        pictures = _narrowed(pictures, info)
    elif is_other_colour(info):
        pictures = pictures.filter("scale", out_color_matrix="bt709", out_range="tv", flags=EXACT)
    return pictures if info.pix_fmt == "yuv420p" else pictures.filter("format", "yuv420p")


def _tone_mapped(pictures: Any, info: MediaInfo) -> Any:
    """HDR with SDR's white as white; what is not tagged is taken for BT.2020."""
    pictures = _even(pictures, info).filter(
        "zscale",
        transferin="smpte2084" if info.colour[2] == _PQ else "arib-std-b67",
        primariesin="bt709" if info.colour[1] == _BT709 else "bt2020",
        matrixin="bt709" if info.colour[3] == _BT709 else "bt2020nc",
        rangein="full" if info.colour[0] == _FULL_RANGE else "limited",
        transfer="linear",
        npl=WHITE_NITS,
    )
    pictures = pictures.filter("format", "gbrpf32le").filter("zscale", primaries="bt709")
    # Whatever is not brighter than white keeps its numbers: a curve for highlights would dull all of it.
    pictures = pictures.filter("tonemap", "clip", desat=0)
    return pictures.filter("zscale", transfer="bt709", matrix="bt709", range="limited").filter(
        "format", "yuv420p"
    )


def _narrowed(pictures: Any, info: MediaInfo) -> Any:
    """SDR with the primaries of BT.2020 or P3."""
    _, primaries, transfer, matrix = info.colour
    known: dict[str, Any] = {}
    if transfer in _UNTAGGED:
        known["transferin"] = "bt709"
    if matrix in _UNTAGGED:
        known["matrixin"] = "bt2020nc" if primaries == _BT2020 else "bt709"
    return _even(pictures, info).filter(
        "zscale", **known, primaries="bt709", transfer="bt709", matrix="bt709", range="limited"
    )


def _even(pictures: Any, info: MediaInfo) -> Any:
    # zscale takes no half colour samples.
    odd = info.width % 2 or info.height % 2
    return pictures.filter("format", "yuv444p10le") if odd else pictures
