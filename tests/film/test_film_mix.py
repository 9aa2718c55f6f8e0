"""Music, voices and words of a film: levels that are measured, no click, and words that are there on their frames."""

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from film_parts import samples_of, steepest, tone_clip
from PIL import Image

from prefect_ltx.film import Clip, join_clips
from prefect_ltx.film.captions import font_for, missing_letters
from prefect_ltx.film.mix import Mix, MusicTrack, VoiceTrack
from prefect_ltx.film.webvtt import Cue, hls_subtitles, hls_with_subtitles, webvtt
from prefect_ltx.media import BITEXACT, MediaInvalid, generator, measure_loudness, run_ffmpeg, target
from prefect_ltx.media.sound_file import bring_sound, read_sound

NOTE = 1000
"""Hz of the music, which the shots' tones have no part of."""
FORMATS = {
    "wav": {"c:a": "pcm_s16le"},
    "mp3": {"c:a": "libmp3lame", "b:a": "192k", "format": "mp3"},
    "m4a": {"c:a": "aac", "b:a": "192k"},
    "flac": {"c:a": "flac", "format": "flac"},
    "ogg": {"c:a": "libvorbis", "q:a": 8, "format": "ogg"},
}


async def sound_file(path: Path, *, tone: int = NOTE, seconds: float = 3.0, level: float = 0.2) -> Path:
    """A steady tone in the format that the suffix names."""
    wave = f"aevalsrc='{level}*sin(2*PI*{tone}*t)':s=44100:d={seconds}"
    options: dict[str, Any] = {**FORMATS[path.suffix[1:]], **BITEXACT}
    await run_ffmpeg(target(generator(wave).audio, path=path, **options))
    return path


async def music(folder: Path, name: str = "music.wav", *, seconds: float = 3.0, **how: Any) -> MusicTrack:
    path = await bring_sound(await sound_file(folder / name, seconds=seconds), folder / "music.mov")
    plain = {"level": 0, "fade_in": 0, "fade_out": 0, "duck": 12, "loop": False}
    return MusicTrack(path=path, seconds=read_sound(folder / name).seconds, **(plain | how))


async def clips(folder: Path, tones: Sequence[int | None], frames: int = 48) -> list[Clip]:
    return [
        Clip(await tone_clip(folder / f"{place}.mp4", frames=frames, tone=tone), f"shot-{place}")
        for place, tone in enumerate(tones)
    ]


def part(samples: Sequence[float], tone: int, begin: float, end: float) -> float:
    """How loud one tone is between two times, as the amplitude of its wave."""
    piece = samples[round(begin * 48000) : round(end * 48000)]
    turns = [2 * math.pi * tone * place / 48000 for place in range(len(piece))]
    real = sum(value * math.cos(turn) for value, turn in zip(piece, turns, strict=True))
    imaginary = sum(value * math.sin(turn) for value, turn in zip(piece, turns, strict=True))
    return 2 * math.hypot(real, imaginary) / len(piece)


def decibels(one: float, other: float) -> float:
    return 20 * math.log10(one / other)


@pytest.mark.parametrize(
    ("duck", "file"),
    [(12, "a.wav"), (6, "a.mp3"), (20, "a.flac"), (3.5, "a.m4a"), (12, "a.ogg"), (0, "a.wav")],
)
async def test_music_ducks_by_the_stated_level_where_a_shot_is_heard(
    tmp_path: Path, duck: float, file: str
) -> None:
    """Silence, a tone, silence: below the tone the music is so many decibels lower, before and after it is not."""
    track = await music(tmp_path, file, seconds=6, duck=duck)
    film = await join_clips(
        await clips(tmp_path, (None, 220, None)),
        tmp_path / "film.mp4",
        fps=Fraction(24),
        loudness=None,
        mix=Mix(music=track),
    )
    samples = samples_of(film.path)
    before, under, after = (part(samples, NOTE, at, at + 0.5) for at in (0.7, 2.75, 5.2))
    assert decibels(before, under) == pytest.approx(duck, abs=0.25)
    assert decibels(before, after) == pytest.approx(0, abs=0.25)
    assert before == pytest.approx(0.2, rel=0.05)
    # The shot's own sound is what it was: ffmpeg makes two channels of one 3 dB softer.
    assert part(samples, 220, 2.75, 3.25) == pytest.approx(0.4 / math.sqrt(2), rel=0.05)


async def test_music_ducks_under_a_voice_and_the_whole_has_one_loudness(tmp_path: Path) -> None:
    """A voice begins on its frame, at its level; it and the music are levelled together, so the distance stays."""
    voice = await bring_sound(
        await sound_file(tmp_path / "voice.mp3", tone=440, seconds=1.5), tmp_path / "v.mov"
    )
    how: dict[str, Any] = {"fps": Fraction(24)}
    mix = Mix(
        music=await music(tmp_path, seconds=6, level=-6, duck=9),
        voices=[VoiceTrack(path=voice, seconds=1.5, level=6, frame=50)],
    )
    silent = await clips(tmp_path, (None, None, None))
    plain = await join_clips(silent, tmp_path / "plain.mp4", loudness=None, mix=mix, **how)
    samples = samples_of(plain.path)
    assert part(samples, NOTE, 0.7, 1.2) == pytest.approx(0.2 * 10 ** (-6 / 20), rel=0.05)
    assert decibels(part(samples, NOTE, 0.7, 1.2), part(samples, NOTE, 2.6, 3.1)) == pytest.approx(
        9, abs=0.25
    )
    assert part(samples, 440, 2.6, 3.1) == pytest.approx(0.2 * 10 ** (6 / 20), rel=0.05)
    start = round(50 / 24 * 48000)
    assert part(samples, 440, (start - 4800) / 48000, (start - 480) / 48000) < 0.002
    assert part(samples, 440, (start + 2400) / 48000, (start + 6720) / 48000) > 0.3
    levelled = await join_clips(silent, tmp_path / "loud.mp4", loudness=-18, mix=mix, **how)
    loudness = await measure_loudness(levelled.path)
    assert loudness is not None
    assert loudness.integrated == pytest.approx(-18, abs=0.5)
    samples = samples_of(levelled.path)
    assert decibels(part(samples, NOTE, 0.7, 1.2), part(samples, NOTE, 2.6, 3.1)) == pytest.approx(
        9, abs=0.25
    )


async def test_nothing_clicks_where_shots_music_and_voices_begin_and_end(tmp_path: Path) -> None:
    """At cuts, at a voice's ends, where music is faded, looped or over: no step that the waves do not make."""
    voice = await bring_sound(
        await sound_file(tmp_path / "voice.wav", tone=330, seconds=0.7), tmp_path / "v.mov"
    )
    for name, how in {
        "over": {"seconds": 2.2},
        "faded": {"seconds": 6, "fade_in": 1, "fade_out": 1.5},
        "long": {"seconds": 9, "duck": 30},
    }.items():
        track = await music(tmp_path, f"{name}.wav", **how)
        film = await join_clips(
            await clips(tmp_path, (220, 262, None), frames=41),
            tmp_path / f"{name}.mp4",
            fps=Fraction(24),
            loudness=None,
            mix=Mix(music=track, voices=[VoiceTrack(path=voice, seconds=0.7, level=0, frame=83)]),
        )
        samples = samples_of(film.path)
        # The steepest that tones of these levels can be together: 2 pi f a / 48000 each.
        most = 2 * math.pi * (262 * 0.4 + NOTE * 0.2 + 330 * 0.2) / 48000
        assert steepest(samples) < 1.5 * most, name
    if_faded = samples_of(tmp_path / "faded.mp4")
    assert part(if_faded, NOTE, 4.2, 4.4) < 0.1


async def test_looped_music_is_heard_to_the_end(tmp_path: Path) -> None:
    """One that is shorter than the film begins again; without `loop` it is over."""
    for loop, heard in ((True, 0.2), (False, 0.0)):
        film = await join_clips(
            await clips(tmp_path, (None, None)),
            tmp_path / f"{loop}.mp4",
            fps=Fraction(24),
            loudness=None,
            mix=Mix(music=await music(tmp_path, seconds=1.5, loop=loop)),
        )
        assert part(samples_of(film.path), NOTE, 3.2, 3.7) == pytest.approx(heard, abs=0.02)


def lit(path: Path) -> list[bool]:
    """Of each frame, whether something bright is in its lower part."""
    found = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            grey = frame.to_image().convert("L")
            width, height = grey.size
            found.append(int(grey.crop((0, height // 2, width, height)).getextrema()[1]) > 120)
    return found


async def dark_clip(path: Path, frames: int, fps: str) -> Path:
    picture = generator(f"color=c=black:s=256x144:r={fps}").video
    how = {"c:v": "libx264", "preset": "ultrafast", "pix_fmt": "yuv420p", "frames:v": frames, **BITEXACT}
    await run_ffmpeg(target(picture, path=path, **how))
    return path


@pytest.mark.parametrize("fps", ["24", "24000/1001", "30", "12"])
@pytest.mark.parametrize(
    "text",
    [
        "There you are.",
        "':%{pts} \\ [in]drawtext=text=x,\n;é",
        "-i /etc/passwd 100% 'a' \"b\" $(touch x) a long line that has to go on in another one and yet one more",
    ],
)
async def test_words_appear_and_vanish_on_the_frame(tmp_path: Path, fps: str, text: str) -> None:
    """Whatever they say and at any rate: on their first frame, not on the one after their last, nothing elsewhere."""
    shots = [Clip(await dark_clip(tmp_path / f"{n}.mp4", 20, fps), f"shot-{n}") for n in range(2)]
    cues = [Cue(3, 9, text), Cue(19, 21, "x"), Cue(39, 40, text)]
    film = await join_clips(shots, tmp_path / "film.mp4", fps=Fraction(fps), burn_in=cues)
    on = {frame for cue in cues for frame in range(cue.start, cue.end)}
    assert lit(film.path) == [frame in on for frame in range(40)]


async def test_a_film_of_silent_shots_with_words_alone_has_no_sound(tmp_path: Path) -> None:
    """Words bring no sound with them."""
    shots = [Clip(await dark_clip(tmp_path / "a.mp4", 12, "24"), "a")]
    film = await join_clips(shots, tmp_path / "film.mp4", fps=Fraction(24), burn_in=[Cue(0, 12, "x")])
    assert film.info.audio is None


@pytest.mark.parametrize("fps", ["24", "24000/1001", "30000/1001", "25", "60"])
def test_webvtt_cues_are_on_their_frames(fps: str) -> None:
    """A player that shows a cue from its time on shows it on its first frame and no longer on the one after."""
    rate = Fraction(fps)
    text = webvtt([Cue(n, n + 1 + n % 7, f"cue <b>{n} & -->") for n in range(0, 400, 7)], rate)
    lines = text.split("\n\n")
    assert lines[0] == "WEBVTT"
    assert text.count("-->") == len(lines) - 1

    def milliseconds(stamp: str) -> int:
        hours, minutes, seconds = stamp.split(":")
        return round((int(hours) * 3600 + int(minutes) * 60 + float(seconds)) * 1000)

    for n, cue in zip(range(0, 400, 7), lines[1:], strict=True):
        begin, _, end = cue.splitlines()[1].partition(" --> ")
        shown = [
            frame for frame in range(450) if milliseconds(begin) <= frame / rate * 1000 < milliseconds(end)
        ]
        assert shown == list(range(n, n + 1 + n % 7))


def test_hls_names_the_subtitles() -> None:
    """The playlist of one whole file, and the one that puts it beside the video."""
    assert "#EXTINF:5.041667,\nsubtitles.vtt\n#EXT-X-ENDLIST" in hls_subtitles(
        "subtitles.vtt", Fraction(121, 24)
    )
    text = hls_with_subtitles("hls.m3u8", "s.m3u8", "pt-BR", bits_a_second=1000, size=(64, 32))
    assert 'LANGUAGE="pt-BR"' in text
    assert text.endswith('SUBTITLES="subs"\nhls.m3u8\n')


def test_letters_that_a_font_has_not_are_named() -> None:
    """So that nobody finds boxes on a film that is paid for."""
    font = font_for(576, 0.05)
    assert missing_letters(font, "Grüße, Ωμέγα!") == ""
    assert missing_letters(font, "日本 a") == "日本"


@pytest.mark.parametrize("name", ["picture.png", "list.m3u8", "text.wav", "empty.mp3", "video.mp4"])
async def test_what_is_no_sound_is_refused(tmp_path: Path, name: str) -> None:
    """A picture, a playlist, a text, nothing, a film without sound: one line, nothing is opened because of it."""
    path = tmp_path / name
    if name.endswith("png"):
        Image.new("RGB", (8, 8)).save(path)
    elif name.endswith("mp4"):
        await dark_clip(path, 4, "24")
    else:
        path.write_text("" if name.startswith("empty") else "#EXTM3U\nfile:///etc/passwd\n")
    with pytest.raises(MediaInvalid) as caught:
        read_sound(path)
    assert "\n" not in str(caught.value)
