"""A film with music, a voice and subtitles, from the storyboard to its files, manifest and HLS."""

import copy
import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import av
import pytest
import yaml
from film_parts import samples_of
from PIL import Image, ImageChops
from support import submits

from prefect_ltx.archive import Archive
from prefect_ltx.film import StoryboardInvalid
from prefect_ltx.flows import storyboard_film
from prefect_ltx.flows.film_edit import write_editing_timeline
from prefect_ltx.local import LocalFal
from prefect_ltx.media import (
    BITEXACT,
    HlsVideo,
    LoudnessTarget,
    Recipe,
    generator,
    measure_loudness,
    run_ffmpeg,
    sha256_file,
    target,
)

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # Prefect's own client
]

otio: Any = pytest.importorskip("opentimelineio", reason="the extra timeline")

HLS = Recipe(name="hls", loudness=LoudnessTarget(lufs=-16), outputs=(HlsVideo(),))
HOSTILE = "':%{pts}\\ [in]drawtext=text=x,\nsecond; <i>&"


@pytest.fixture
async def sounds(tmp_path: Path) -> dict[str, Path]:
    found = {}
    for name, tone, seconds in (("music.wav", 1000, 4.0), ("it's a voice.wav", 440, 0.5)):
        wave = generator(f"aevalsrc='0.3*sin(2*PI*{tone}*t)':s=48000:d={seconds}").audio
        await run_ffmpeg(target(wave, path=tmp_path / name, **{"c:a": "pcm_s16le", **BITEXACT}))
        found[name.partition(".")[0]] = tmp_path / name
    return found


@pytest.fixture
def board(sounds: dict[str, Path], media_folder: Path) -> dict[str, Any]:
    return {
        "title": "Heard",
        "resolution": {"width": 256, "height": 128},
        "audio": False,
        "defaults": {"frames": 25, "settings": {"video_write_mode": "fast"}},
        "music": {"file": str(sounds["music"]), "level": -6, "duck": 12, "fade_out": 0.5},
        "subtitles": {"language": "de", "burn_in": True},
        "cast": {"cup": {"look": "a white cup", "images": [str(media_folder / "sheet.png")]}},
        "shots": [
            {
                "id": "one",
                "text": "the cup turns",
                "takes": {"n": 2, "stop": "all"},
                "subtitles": [{"text": HOSTILE, "at": 5, "until": 10}],
            },
            {
                "id": "two",
                "text": "the cup falls",
                "voice": {"file": str(sounds["it's a voice"]), "at": 3},
                "subtitles": [{"text": "Und aus ist es nun."}],
            },
        ],
    }


def changed(one: Path, other: Path) -> list[int]:
    """How many pixels are clearly different in the lower third of each frame of two films."""
    found = []
    with av.open(str(one)) as first, av.open(str(other)) as second:
        for frames in zip(first.decode(video=0), second.decode(video=0), strict=True):
            a, b = (frame.to_image().convert("L").crop((0, 85, 256, 128)) for frame in frames)
            found.append(sum(ImageChops.difference(a, b).histogram()[80:]))
    return found


async def test_a_film_has_music_a_voice_and_subtitles(
    board: dict[str, Any], sounds: dict[str, Path], fal: LocalFal, ltx_env: Path, tmp_path: Path
) -> None:
    """One mix at the recipe's loudness, WebVTT beside it and in the HLS, all of it in the manifest; no paths."""
    film = await storyboard_film(board, recipe=HLS)
    assert film.frames == 50
    folder = ltx_env / "archive" / film.folder
    loudness = await measure_loudness(Path(film.video))
    assert loudness is not None
    assert loudness.integrated == pytest.approx(-16, abs=0.6)
    assert max(map(abs, samples_of(Path(film.video))[:24000])) > 0.05

    assert {"subtitles", "subtitles_playlist", "hls", "hls_media", "hls_subtitled"} <= set(film.files)
    text = (folder / "subtitles.vtt").read_text()
    assert "00:00:00.208 --> 00:00:00.416\n':%{pts}\\ [in]drawtext=text=x, second; &lt;i&gt;&amp;\n" in text
    assert "00:00:01.041 --> 00:00:02.083\nUnd aus ist es nun.\n" in text
    master = (folder / "hls_subtitled.m3u8").read_text()
    assert 'LANGUAGE="de"' in master
    for name in ("hls.m3u8", "subtitles.m3u8"):
        assert name in master
        assert (folder / name).is_file()
    with av.open(str(folder / "hls_subtitled.m3u8"), options={"allowed_extensions": "ALL"}) as container:
        assert len(container.streams.video) == 1

    manifest = json.loads((folder / "manifest.json").read_text())
    lineage = manifest["film"]
    assert lineage["music"]["sha256"] == sha256_file(sounds["music"])
    assert (lineage["music"]["duck"], lineage["music"]["level"]) == (12, -6)
    (voice,) = lineage["voices"]
    assert (voice["shot"], voice["frame"], voice["sha256"]) == (
        "two",
        28,
        sha256_file(sounds["it's a voice"]),
    )
    assert (lineage["subtitles"]["burnt_in"], len(lineage["subtitles"]["cues"])) == (True, 2)
    assert str(tmp_path) not in (folder / "manifest.json").read_text()
    assert (await Archive(str(ltx_env / "archive")).verify()).ok

    # Words come and go on their frames, measured against the same film without them.
    plain = copy.deepcopy(board)
    plain["subtitles"]["burn_in"] = False
    other = await storyboard_film(plain, recipe=HLS)
    assert (other.paid_now, other.folder != film.folder, submits(fal)) == (0, True, 3)
    words = changed(Path(film.video), Path(other.video))
    assert [each > 20 for each in words] == [5 <= frame < 10 or frame >= 25 for frame in range(50)]

    # For the editor: its length, its takes, and every file that it names is there.
    back: Any = otio.adapters.read_from_file(str(write_editing_timeline(film, tmp_path / "film.otio")))
    assert back.duration() == otio.opentime.RationalTime(50, 24)
    shots = list(back.tracks[0].find_clips())
    assert [[*clip.media_references()] for clip in shots] == [["take 1", "take 2"], ["take 1"]]
    assert [track.name for track in back.tracks] == ["Shots", "Music", "Voices"]
    for clip in back.find_clips():
        for reference in clip.media_references().values():
            assert Path(unquote(urlsplit(reference.target_url).path)).is_file()

    again = await storyboard_film(board, recipe=HLS)
    assert (again.reused, again.folder) == (True, film.folder)


async def test_sounds_and_fonts_are_looked_at_before_anything_is_sent(
    board: dict[str, Any], fal: LocalFal, ltx_env: Path, tmp_path: Path
) -> None:
    """Missing, no sound, no font, beyond the shot: each by its place, nothing is sent; a signature is not shown."""
    (tmp_path / "text.mp3").write_text("#EXTM3U\n/etc/passwd\n")
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.ttf", "PNG")
    board["music"]["file"] = "text.mp3"
    board["subtitles"]["font"] = "picture.ttf"
    board["shots"][0]["voice"] = f"{fal.url}/files/none.wav?X-Amz-Signature=needle-in-haystack"
    board["shots"][1]["voice"] = "no.wav"
    path = tmp_path / "board.yaml"
    path.write_text(yaml.safe_dump(board))
    with pytest.raises(StoryboardInvalid) as caught:
        await storyboard_film(path)
    fields = [(each.where, each.field) for each in caught.value.problems]
    assert fields == [
        ("", "music.file"),
        ("", "subtitles.font"),
        ("shot 1 (one)", "voice"),
        ("shot 2 (two)", "voice"),
    ]
    assert "needle" not in str(caught.value)
    board["shots"][0] |= {"subtitles": [{"text": "a", "at": 25}, {"text": "a", "at": 4, "until": 4}]}
    board["shots"][1] |= {"voice": {"file": "no.wav", "at": 25}}
    with pytest.raises(StoryboardInvalid) as caught:
        await storyboard_film(board)
    fields = [(each.where, each.field) for each in caught.value.problems]
    assert fields == [
        ("shot 1 (one)", "subtitles.0.at"),
        ("shot 1 (one)", "subtitles.1.until"),
        ("shot 2 (two)", "voice.at"),
    ]
    assert submits(fal) == 0
