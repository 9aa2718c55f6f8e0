"""About sixty clips as phones, cameras, editors and other people's tools make them, each drawn by ffmpeg in an instant.

All show the same, so that what comes out can be compared with what went in: 96x64 pixels (as shown, in square ones), on
grey ground patches of red, green, blue and white, every half second a flash over the upper half, and with each flash a
beep. `Awkward` says how a clip is made of the plain one, and what a player shows of it.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from subprocess import run
from typing import Final

from prefect_ltx.media import ffmpeg_binary

RATE: Final = 20
SECONDS: Final = 1.5
FLASH: Final = 0.1
EVERY: Final = 0.5
PATCHES: Final = {
    "red": (192, 48, 48),
    "green": (48, 160, 64),
    "blue": (48, 64, 176),
    "white": (255, 255, 255),
}
"""From left to right in the lower half of the picture."""


@dataclass(frozen=True)
class Awkward:
    """A clip: its file's name, ffmpeg's arguments (`{S}` is the plain clip, `{name}` another one), and what is shown.

    `frames` are those shown (None: the muxer's affair), `lag` is by how many seconds its beeps come after its flashes
    (None: it has no sound, or sound of another length), `first` is when the first flash begins, in seconds from the
    first frame. `turned` says how the picture is turned, and its sound ends after `sounds` seconds.
    """

    name: str
    make: str
    frames: int | None = round(RATE * SECONDS)
    lag: float | None = 0.0
    first: float = 0.0
    turned: str = ""
    colours: bool = True
    sounds: float = SECONDS

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as shown."""
        return (64, 96) if self.turned in ("left", "right") else (96, 64)


_EXACT: Final = ":flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"


def _tags(primaries: str, transfer: str, matrix: str, span: str = "tv") -> str:
    return f"-color_primaries {primaries} -color_trc {transfer} -colorspace {matrix} -color_range {span}"


def _hdr(transfer: str) -> str:
    return (
        f"-vf scale=in_color_matrix=bt709{_EXACT},format=gbrp,"
        "setparams=color_primaries=bt709:color_trc=bt709:colorspace=gbr:range=pc,"
        "zscale=t=linear:npl=203,format=gbrpf32le,"
        f"zscale=t={transfer}:p=bt2020:m=bt2020nc:r=limited:npl=203,format=yuv420p10le"
    )


def _x265(transfer: str) -> str:
    tags = f"colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc:log-level=none"
    return f"-c:v libx265 -preset ultrafast -crf 2 -x265-params {tags} -c:a copy"


X264: Final = "-c:v libx264 -preset ultrafast -crf 8"
_S: Final = "-i {S} -c copy"
_NEW: Final = f"{X264} -pix_fmt yuv420p -c:a copy"
_AGAIN: Final = f"-i {{S}} {_NEW}"
_UNEVEN: Final = """-i {S} -vf "select='if(lt(t,0.75),mod(n+1,4),1)'" -fps_mode vfr"""
_HIDE: Final = "-ss 0.35"
_MAPPED: Final = "-map 0:v -map 1:a -c copy"
_LATE_SOUND: Final = f"-i {{S}} -itsoffset 0.2 -i {{S}} {_MAPPED}"
_LATE_PICTURE: Final = f"-itsoffset 0.2 -i {{S}} -i {{S}} {_MAPPED}"
_NOISE: Final = "-f lavfi -i anoisesrc=a=0.5:r=48000:d=1.5 -i {S} -map 0:a -map 1:v -map 0:a -map 1:a"
_THIRD: Final = f"{_NOISE} -c:v copy -c:a aac -disposition:a 0 -disposition:a:2 default"
_BOTH: Final = "-f lavfi -i color=gray:s=64x64:r=5:d=1 -i {S} -map 0:v -map 1:v -map 1:a"
_INTERLACED: Final = "-vf setfield=tff -flags +ilme+ildct"
_ASIDE: Final = "-avoid_negative_ts disabled"

CLIPS: Final[tuple[Awkward, ...]] = (
    Awkward("plain.mp4", _S),
    Awkward("plain.mov", _S),
    Awkward("plain.mkv", _S),
    Awkward("silent.mp4", "-i {S} -an -c copy", lag=None),
    # Start times.
    Awkward("late-sound.mp4", _LATE_SOUND, lag=0.2),
    Awkward("late-sound.mkv", _LATE_SOUND, lag=0.2),
    Awkward("late-sound.mov", _LATE_SOUND, lag=0.2),
    Awkward("late-picture.mp4", _LATE_PICTURE, lag=-0.2),
    Awkward("late-picture.mkv", _LATE_PICTURE, lag=-0.2),
    Awkward("both-late.mkv", f"-itsoffset 0.5 -i {{S}} -itsoffset 0.7 -i {{S}} {_MAPPED}", lag=0.2),
    Awkward("late-fragments.mp4", f"{_LATE_SOUND} -movflags frag_keyframe+empty_moov", lag=0.2),
    Awkward("late.ts", _LATE_SOUND, lag=0.2),
    Awkward("sound-ends-early.mp4", "-i {S} -c:v copy -af atrim=end=0.8 -c:a aac", sounds=0.8),
    Awkward("sound-goes-on.mp4", f"-i {{S}} -vf trim=end=1 {_NEW}", frames=RATE),
    # Frames that come unevenly.
    Awkward("uneven.mp4", f"{_UNEVEN} {_NEW}", frames=27),
    Awkward("uneven.mkv", f"{_UNEVEN} {_NEW}", frames=27),
    Awkward(
        "uneven.webm",
        f"{_UNEVEN} -c:v libvpx -deadline realtime -b:v 2M -c:a libopus",
        frames=27,
        colours=False,
    ),
    Awkward("uneven-turned.mp4", "-display_rotation 90 -i {uneven.mp4} -c copy", frames=27, turned="left"),
    Awkward("uneven-turned.mkv", "-display_rotation 270 -i {uneven.mkv} -c copy", frames=27, turned="right"),
    Awkward("uneven-late.mp4", f"-i {{uneven.mp4}} -itsoffset 0.2 -i {{S}} {_MAPPED}", frames=27, lag=0.2),
    Awkward("uneven-fragments.mp4", "-i {uneven.mp4} -c copy -movflags frag_keyframe+empty_moov", frames=27),
    Awkward(
        "slides.mkv", f"""-i {{S}} -vf "select='not(mod(n,10))'" -fps_mode vfr {_NEW}""", frames=3, lag=None
    ),
    Awkward("hole.mp4", f"""-i {{S}} -vf "select='not(between(n,13,22))'" -fps_mode vfr {_NEW}""", frames=20),
    Awkward("ntsc.mp4", f"-i {{S}} -vf fps=30000/1001 {_NEW}", frames=45),
    # Edit lists, times below zero, fragments.
    Awkward("edited.mp4", f"{_HIDE} {_S}", frames=23, first=0.15),
    Awkward("hides-one.mp4", f"-ss 0.05 {_S}", frames=29),
    Awkward("edited.mov", f"{_HIDE} {_S}", frames=23, first=0.15),
    Awkward("edited-turned.mp4", f"-display_rotation 180 {_HIDE} {_S}", frames=23, first=0.15, turned="over"),
    Awkward("cut.mkv", f"-ss 0.7 {_S}", frames=None),
    Awkward("below-zero.mkv", f"-itsoffset -0.4 {_S} {_ASIDE}"),
    Awkward("below-zero.mp4", f"-itsoffset -0.4 {_S} {_ASIDE}", frames=22, first=0.1),
    Awkward("no-edit-list.mp4", f"{_S} -use_editlist 0", lag=None),
    Awkward("fragments.mp4", f"{_S} -movflags frag_keyframe+empty_moov+default_base_moof"),
    Awkward("fragment-a-frame.mp4", f"{_S} -movflags frag_every_frame+empty_moov", lag=0.02),
    Awkward("encoded-fragments.mp4", f"{_AGAIN} -movflags frag_every_frame+empty_moov", lag=0.02),
    # Several streams.
    Awkward("still-first.mkv", "-i {still.png} -i {S} -map 0:v -map 1:v -map 1:a -c copy"),
    Awkward(
        "cover.mp4",
        "-i {still.png} -i {S} -map 1:v -map 0:v -map 1:a -c copy -disposition:v:1 attached_pic",
    ),
    Awkward(
        "second-picture.mkv",
        f"{_BOTH} {X264} -c:v:1 copy -c:a copy -disposition:v:0 0 -disposition:v:1 default",
    ),
    Awkward("third-sound.mkv", _THIRD),
    Awkward("third-sound.mp4", _THIRD),
    # Turned and mirrored, oblong, interlaced.
    Awkward("turned.mp4", f"-display_rotation 90 {_S}", turned="left"),
    Awkward("turned.mkv", f"-display_rotation 90 {_S}", turned="left"),
    Awkward("mirrored.mp4", f"-display_hflip {_S}", turned="mirrored"),
    Awkward("mirrored.mkv", f"-display_hflip {_S}", turned="mirrored"),
    Awkward("anamorphic.mp4", f"-i {{S}} -vf scale=72:64,setsar=4/3 {_NEW}"),
    Awkward("anamorphic.mkv", f"-i {{S}} -vf scale=128:64,setsar=3/4 {_NEW}"),
    Awkward("anamorphic-turned.mp4", "-display_rotation 90 -i {anamorphic.mp4} -c copy", turned="left"),
    Awkward("interlaced.mp4", f"-i {{S}} {_INTERLACED} {_NEW}"),
    Awkward("interlaced.mkv", f"-i {{S}} {_INTERLACED} -c:v mpeg2video -q:v 2 -c:a copy"),
    # Colour.
    Awkward("pq.mp4", f"-i {{S}} {_hdr('smpte2084')} {_x265('smpte2084')}"),
    Awkward("hlg.mp4", f"-i {{S}} {_hdr('arib-std-b67')} {_x265('arib-std-b67')}"),
    Awkward(
        "pq.mkv", f"-i {{S}} {_hdr('smpte2084')} {X264} {_tags('bt2020', 'smpte2084', 'bt2020nc')} -c:a copy"
    ),
    Awkward(
        "bt601.mp4",
        f"-i {{S}} -vf scale=in_color_matrix=bt709:out_color_matrix=bt601{_EXACT} {_NEW} {_tags(*['smpte170m'] * 3)}",
    ),
    Awkward(
        "full-range.mp4",
        f"-i {{S}} -vf scale=out_range=pc{_EXACT},format=yuvj420p {X264} {_tags(*['bt709'] * 3, span='pc')} -c:a copy",
    ),
    Awkward(
        "wide.mp4",
        "-i {S} -vf setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv,"
        f"zscale=p=bt2020:t=2020_10:m=bt2020nc {_NEW} {_tags('bt2020', 'bt2020-10', 'bt2020nc')}",
    ),
    Awkward("ten-bits.mp4", f"-i {{S}} {X264} -pix_fmt yuv420p10le -c:a copy"),
    Awkward("yuv444.mp4", f"-i {{S}} {X264} -pix_fmt yuv444p -c:a copy"),
    Awkward(
        "rgb.mov", f"-i {{S}} -vf scale=in_color_matrix=bt709{_EXACT} -c:v qtrle -pix_fmt rgb24 -c:a copy"
    ),
    Awkward("prores.mov", "-i {S} -c:v prores_ks -profile:v 0 -pix_fmt yuv422p10le -c:a copy"),
    Awkward(
        "mjpeg.mov",
        f"-i {{S}} -vf scale=in_color_matrix=bt709:out_color_matrix=bt601:out_range=pc{_EXACT},format=yuvj444p "
        "-c:v mjpeg -q:v 1 -c:a copy",
    ),
    # Codecs and containers.
    Awkward("vp9.webm", "-i {S} -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 2M -c:a libopus"),
    Awkward("av1.mkv", "-i {S} -c:v libsvtav1 -preset 12 -crf 10 -svtav1-params lp=1 -c:a flac"),
    Awkward("mpeg4.mov", "-i {S} -c:v mpeg4 -q:v 2 -bf 2 -c:a pcm_s16le"),
    Awkward("plain.ts", _S),
    Awkward("mpeg2.ts", "-i {S} -c:v mpeg2video -q:v 2 -c:a mp2"),
    Awkward("mpeg4.avi", "-i {S} -c:v mpeg4 -q:v 2 -c:a mp3"),
    Awkward("h264.avi", f"-i {{S}} {X264} -c:a pcm_s16le"),
)


def make_all(folder: Path) -> None:
    """Draw every clip into a folder; takes some seconds."""
    boxes = ",".join(
        f"drawbox=x={16 + 16 * at}:y=40:w=16:h=16:t=fill:c=0x{r:02x}{g:02x}{b:02x}"
        for at, (r, g, b) in enumerate(PATCHES.values())
    )
    flash = f"drawbox=h=32:t=fill:c=white:enable='lt(mod(t+0.001,{EVERY}),{FLASH})'"
    picture = f"color=gray:s=96x64:r={RATE}:d={SECONDS},format=gbrp,{boxes},{flash}"
    picture += f",scale=out_color_matrix=bt709:out_range=tv{_EXACT},format=yuv420p"
    beep = f"aevalsrc='0.5*sin(2*PI*1000*t)*lt(mod(t,{EVERY}),{FLASH})':s=48000:d={SECONDS}"
    plain = f"{X264} -bf 2 -g 10 {_tags('bt709', 'bt709', 'bt709')} -c:a aac"
    _ffmpeg("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", beep, *shlex.split(plain), folder / "S.mp4")
    _ffmpeg("-f", "lavfi", "-i", "color=red:s=96x64", "-frames:v", "1", folder / "still.png")
    for clip in CLIPS:
        arguments = shlex.split(clip.make)
        _ffmpeg(*(_named(each, folder) for each in arguments), folder / clip.name)


def _named(argument: str, folder: Path) -> str:
    if argument == "{S}":
        return str(folder / "S.mp4")
    return str(folder / argument[1:-1]) if argument.startswith("{") else argument


def _ffmpeg(*arguments: str | Path) -> None:
    command = [ffmpeg_binary(), "-nostdin", "-y", "-loglevel", "error", *map(str, arguments)]
    run(command, check=True, timeout=60, capture_output=True)
