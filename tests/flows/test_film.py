"""A storyboard through Prefect, the embedded fal and ffmpeg, to one archived film."""

import asyncio
import copy
import runpy
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
import yaml
from film_parts import quietest, samples_of, steepest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from support import answered, submits
from told import told

from prefect_ltx.archive import Archive, Manifest
from prefect_ltx.film import StoryboardInvalid, read_storyboard, take_seeds
from prefect_ltx.flows import storyboard_film
from prefect_ltx.flows.approval import NotApproved
from prefect_ltx.flows.film import FilmIncomplete
from prefect_ltx.flows.film_plan import OverBudget
from prefect_ltx.ledger import Ledger
from prefect_ltx.local import LocalFal
from prefect_ltx.media import verify_video

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # Prefect's own client
]

EXAMPLE = Path(__file__).parents[2] / "examples" / "storyboard"
FRAMES = {"dusk": 17, "sail": 25, "swell": 17, "stairs": 25, "glow": 17, "home": 25}


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The six-shot example, small: its own pictures, 256x128, a few frames a shot."""
    folder = tmp_path_factory.mktemp("storyboard")
    asyncio.run(runpy.run_path(str(EXAMPLE / "draw.py"))["draw"](folder / "images"))
    board: dict[str, Any] = yaml.safe_load((EXAMPLE / "storyboard.yaml").read_text())
    board["resolution"] = {"width": 256, "height": 128}
    board["defaults"]["settings"] = {"video_write_mode": "fast"}
    for shot in board["shots"]:
        shot["frames"] = FRAMES[shot["id"]]
        shot.pop("video", None)
        if shot["id"] == "swell":
            shot["video"] = str(folder / "images" / "swell.mp4")
        if shot.get("transition") not in (None, "cut"):
            shot["transition"] = {"cross_fade": 4}
    for member in board["cast"].values():
        member["images"] = [str(folder / each) for each in member["images"]]
    for place in board["locations"].values():
        place["image"] = str(folder / place["image"])
    return board


@pytest.fixture
def small(media_folder: Path) -> dict[str, Any]:
    """Two shots of nine frames with one picture."""
    return {
        "title": "Small",
        "resolution": {"width": 256, "height": 128},
        "defaults": {"frames": 9, "settings": {"video_write_mode": "fast"}},
        "cast": {"cup": {"look": "a white cup", "images": [str(media_folder / "sheet.png")]}},
        "shots": [{"id": "one", "text": "the cup turns"}, {"id": "two", "text": "the cup falls"}],
    }


async def test_six_shots_become_one_film_and_a_changed_shot_is_made_again_alone(
    example: dict[str, Any], fal: LocalFal, ltx_env: Path
) -> None:
    """The example is one film of exactly its frames with lineage; a changed shot adds one charge, no change none."""
    film = await storyboard_film(example, recipe="none")
    frames = sum(FRAMES.values()) - 3 * 4
    assert (film.frames, Fraction(film.duration_seconds)) == (frames, Fraction(frames, 24))
    await verify_video(film.video, width=256, height=128, frames=frames, fps=24, audio=True)
    rate = Fraction(24)
    samples = samples_of(Path(film.video))
    clips = [samples_of(ltx_env / "archive" / shot.folder / "video.mp4") for shot in film.shots]
    # The shots' own sound is the measure: noise and tones of the stand-in, brought to the film's loudness.
    gain = max(map(abs, samples)) / max(abs(each) for clip in clips for each in clip)
    steep = max(steepest(clip[480:-480]) for clip in clips) * gain
    for shot in film.shots[1:]:
        join = round(shot.start_frame / rate * 48000)
        assert steepest(samples[join - 2400 : join + 2400]) < 1.5 * steep
        assert quietest(samples[join - 4800 : join + 9600]) > 0.01
    with av.open(film.video) as container:
        titles = [each["metadata"]["title"] for each in container.chapters()]
    assert titles == [shot["title"] for shot in example["shots"]]
    assert (len(fal.bill), film.paid_now, film.reused, film.stand_in) == (6, 6, False, True)

    archive = Archive(str(ltx_env / "archive"))
    assert (await archive.verify()).ok
    assert {"video", "poster", "contact_sheet", "preview"} == set(film.files)
    for shot, charge in zip(
        film.shots, {each.request_id: each for each in fal.bill.charges}.values(), strict=True
    ):
        manifest = await archive.manifest(shot.folder)
        assert manifest is not None
        assert manifest.video is not None
        assert (shot.manifest_sha256, shot.video_sha256) == (manifest.sha256, manifest.video.sha256)
        assert charge.request_id
    made = await archive.manifest(film.folder)
    assert made is not None
    assert [each.manifest_sha256 for each in made.made_of] == [each.manifest_sha256 for each in film.shots]
    (asset,) = await told(id=[f"file://{film.video}"])
    upstream = [
        each["prefect.resource.id"] for each in asset["related"] if each["prefect.resource.role"] == "asset"
    ]
    assert upstream == [f"file://{ltx_env}/archive/{each.folder}/video.mp4" for each in film.shots]

    again = await storyboard_film(example, recipe="none")
    assert (again.folder, again.reused, again.paid_now, len(fal.bill)) == (film.folder, True, 0, 6)
    assert again.manifest_sha256 == film.manifest_sha256

    changed = copy.deepcopy(example)
    changed["shots"][4]["text"] = "the lamp goes out; its glass turns dark"
    other = await storyboard_film(changed, recipe="none")
    assert (len(fal.bill), other.paid_now, other.reused, other.frames) == (7, 1, False, frames)
    same = [a.generation_key == b.generation_key for a, b in zip(film.shots, other.shots, strict=True)]
    assert same == [True, True, True, True, False, True]
    assert other.folder != film.folder
    assert submits(fal) == 7
    assert (await archive.verify()).ok


async def test_malformed_storyboard_stops_before_anything_is_sent(
    small: dict[str, Any], fal: LocalFal, ltx_env: Path, tmp_path: Path
) -> None:
    """Problems of two shots and a missing picture are told together; fal has heard nothing."""
    small["shots"][0]["frames"] = 8
    small["shots"][1]["transitoin"] = "cut"
    with pytest.raises(StoryboardInvalid) as caught:
        await storyboard_film(small)
    assert {each.where for each in caught.value.problems} == {"shot 1 (one)", "shot 2 (two)"}
    (tmp_path / "bad.yaml").write_text(
        "title: x\ncast: {a: {look: b, images: [no.png]}}\nshots: [{id: a, text: a}]"
    )
    with pytest.raises(StoryboardInvalid, match=r"line 2: cast a: images\.0: no\.png"):
        await storyboard_film(tmp_path / "bad.yaml")
    assert submits(fal) == 0


async def test_budget_is_checked_for_the_whole_film(
    small: dict[str, Any], fal: LocalFal, ltx_env: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A film that would stop half way is not begun."""
    monkeypatch.setenv("PREFECT_LTX_BUDGET_USD", "0.003")
    with pytest.raises(OverBudget, match="Nothing was sent"):
        await storyboard_film(small)
    assert submits(fal) == 0


async def test_a_shot_that_fails_is_named_and_the_others_are_kept(
    small: dict[str, Any], fal: LocalFal, ltx_env: Path
) -> None:
    """One shot is refused by fal: the run says which and what it cost; run again, only that one is sent."""
    fal.faults.add("job_422", times=1)
    with pytest.raises(FilmIncomplete, match="1 of 2 shots were not made: shot (one|two)"):
        await storyboard_film(small, recipe="none")
    assert len(fal.bill) == 1
    film = await storyboard_film(small, recipe="none")
    assert (film.frames, film.paid_now, len(fal.bill)) == (18, 1, 2)


async def test_plan_is_an_artifact_before_anything_is_sent(
    small: dict[str, Any], fal: LocalFal, ltx_env: Path
) -> None:
    """What the film will cost stands in the UI, shot by shot."""
    small["title"] = "A plan | <b>"
    await storyboard_film(small, recipe="none")
    async with get_client() as client:
        found = await client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["ltx-film-plan"]))
        )
    (text,) = [str(each.data) for each in found if "A plan / &lt;b>" in str(each.data)]
    assert "2 of 2 shots to send, $0.004815 expected" in text


async def test_a_lead_in_of_the_sheet_is_left_out(
    small: dict[str, Any], fal: LocalFal, ltx_env: Path
) -> None:
    """A clip that opens with its sheet loses those frames, with their sound, and the film says so."""
    small["defaults"]["frames"] = 33
    fal.faults.add("sheet_lead_in", times=1, value=5)
    film = await storyboard_film(small | {"defaults": small["defaults"] | {"frames": 33}}, recipe="none")
    assert film.frames == 66 - 5
    assert [each.skipped_frames for each in film.shots].count(5) == 1
    await verify_video(film.video, frames=61, audio=True)


async def test_people_approve_the_plan_and_choose_a_take(
    small: dict[str, Any], fal: LocalFal, ltx_env: Path
) -> None:
    """Nothing is sent before the plan is approved; then a shot's takes wait for a choice, and the film is of it."""
    refused = asyncio.create_task(storyboard_film(small, approve=True, recipe="none"))
    await answered(approve=False)
    with pytest.raises(NotApproved, match="Nothing was sent"):
        await refused
    assert submits(fal) == 0

    small["shots"][1]["takes"] = {"n": 2, "stop": "all", "choose": "person"}
    running = asyncio.create_task(
        storyboard_film(small, approve=True, approval_days=2, animatic_sha256="a" * 64, recipe="none")
    )
    await answered(approve=True, name="Ada")
    async with asyncio.timeout(60):
        while len(fal.bill) < 3:
            await asyncio.sleep(0.2)
    await answered(take=2)
    film = await running
    board = read_storyboard(small)
    seeds = [board.seed_of(shot) for shot in board.shots]
    assert [shot.seed for shot in film.shots] == [seeds[0], take_seeds(seeds[1], 2)[1]]
    assert len(fal.bill) == 3
    # Who approved which plan, when and how long, is in the ledger, and in the manifests of the film and its shots.
    with Ledger(f"sqlite:///{ltx_env / 'ledger.db'}") as ledger:
        (approval,) = ledger.approvals()
        assert len(ledger.find(tag=f"approval:{approval.id}")) == 3
    assert (approval.approved_by, approval.title) == ("Ada", "The film " + board.title)
    assert (approval.valid_until - approval.approved_at).days == 2
    manifests = [Manifest.from_bytes(path.read_bytes()) for path in ltx_env.rglob("manifest.json")]
    assert len(manifests) == 4
    assert {(each.approval.id, each.approval.plan) for each in manifests if each.approval} == {
        (approval.id, approval.plan)
    }
    assert all(each.approval for each in manifests)
