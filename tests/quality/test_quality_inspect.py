"""What is found in clips whose defects are known, because the test drew them."""

import shutil
from pathlib import Path

import pytest
from quality_clips import HEIGHT, RATE, WIDTH, Clips

from prefect_ltx.fal import INGREDIENT, REFERENCE_VIDEO
from prefect_ltx.media import generator, make_reference_clip, run_ffmpeg, target, verify_image
from prefect_ltx.quality import QualityFinding, QualityReport, finding_pictures, inspect

SHOT = f"testsrc2=s={WIDTH}x{HEIGHT}:r={RATE}"
TONE = "sine=f=220:r=48000"
BLACK = f"color=black:s={WIDTH}x{HEIGHT}:r={RATE}"


async def found(video: Path, **asked: object) -> list[QualityFinding]:
    return [*(await inspect(video, asked=asked, endpoint=REFERENCE_VIDEO)).findings]


def only(report: QualityReport) -> QualityFinding:
    assert [each.kind for each in report.findings] == [report.findings[0].kind]
    return report.findings[0]


async def test_a_good_clip_has_no_findings(clips: Clips) -> None:
    """Motion, a tone and exactly what was asked: nothing to say."""
    video = await clips.generated(SHOT, TONE)
    asked = {"width": WIDTH, "height": HEIGHT, "num_frames": 49, "frames_per_second": RATE, "audio": True}
    report = await inspect(video, asked=asked, endpoint=INGREDIENT)
    assert report.findings == ()
    assert report.sound
    assert (report.frames, report.fps) == (49, "24")
    assert report.measures["mean_change"] > 0


@pytest.mark.parametrize("lead_in", [0, 1, 3, 42])
async def test_a_lead_in_of_the_sheet_is_found_to_the_frame(clips: Clips, sheet: Path, lead_in: int) -> None:
    """The finding ends exactly where the shot begins; a clip without a lead-in has none."""
    video = await clips.opened_by(sheet, lead_in, 60)
    report = await inspect(video, asked={}, endpoint=INGREDIENT, sheet=sheet)
    if lead_in == 0:
        assert report.findings == ()
        return
    finding = only(report)
    assert (finding.kind, finding.start_frame, finding.end_frame) == ("sheet_lead_in", 0, lead_in)
    assert finding.end_seconds == pytest.approx(lead_in / RATE, abs=1e-6)
    assert finding.score is not None
    assert finding.score > 0.9


async def test_a_sheet_that_never_goes_away_is_one_finding(clips: Clips, sheet: Path) -> None:
    """A clip that shows the sheet for ever is called that, and not frozen as well."""
    video = await clips.opened_by(sheet, 60, 60)
    finding = only(await inspect(video, asked={}, endpoint=INGREDIENT, sheet=sheet))
    assert (finding.kind, finding.severity, finding.end_frame) == ("sheet_throughout", "error", 60)


@pytest.mark.parametrize(("lead_in", "kind"), [(8, "sheet_lead_in"), (40, "sheet_throughout")])
async def test_a_single_panel_is_found_too(clips: Clips, sheet: Path, lead_in: int, kind: str) -> None:
    """The leak may be one panel that fills the frame."""
    # The location panel of the sheet: full width, at the bottom.
    video = await clips.opened_by(sheet, lead_in, 40, crop="720:160:24:272")
    finding = only(await inspect(video, asked={}, endpoint=INGREDIENT, sheet=sheet))
    assert (finding.kind, finding.end_frame) == (kind, lead_in)
    assert "panel" in finding.message


async def test_the_sheet_is_looked_for_in_ingredient_clips_only(clips: Clips, sheet: Path) -> None:
    """The other endpoint may be given the same picture as a style anchor."""
    video = await clips.opened_by(sheet, 5, 30)
    report = await inspect(video, asked={}, endpoint=REFERENCE_VIDEO, sheet=sheet)
    assert not report.of("sheet_lead_in", "sheet_throughout")


async def test_every_difference_from_what_was_asked_is_named(clips: Clips) -> None:
    """Size, frames, rate and audio are each a finding of its own."""
    video = await clips.generated(SHOT)
    findings = await found(video, width=512, height=288, num_frames=57, frames_per_second=25, audio=True)
    assert [each.kind for each in findings] == ["size", "frames", "frame_rate", "audio_missing"]
    assert findings[0].message == "384x224 pixels were delivered, 512x288 asked"
    assert findings[3].severity == "error"


async def test_sound_nobody_asked_for_is_named(clips: Clips) -> None:
    """Audio that was switched off and came all the same."""
    findings = await found(await clips.generated(SHOT, TONE), audio=False)
    assert [each.kind for each in findings] == ["audio_unasked"]


async def test_black_frames_are_found_where_they_are(clips: Clips) -> None:
    """Half a second of black at a known place; it also cuts, which is said too."""
    video = await clips.generated(f"{SHOT},drawbox=c=black:t=fill:enable='between(n,12,23)'", TONE)
    findings = [each for each in await found(video) if each.kind == "black"]
    assert [(each.start_frame, each.end_frame, each.severity) for each in findings] == [(12, 24, "warning")]


async def test_an_all_black_clip_is_an_error(clips: Clips) -> None:
    """Nothing to see at all."""
    findings = await found(await clips.generated(BLACK, TONE))
    assert {(each.kind, each.severity) for each in findings} == {("black", "error"), ("frozen", "error")}


async def test_a_frozen_stretch_is_found_where_it_is(clips: Clips) -> None:
    """The picture stops for 30 frames in the middle."""
    video = await clips.generated(f"{SHOT},loop=loop=29:size=1:start=10,setpts=N/{RATE}/TB", TONE)
    findings = await found(video)
    assert [each.kind for each in findings] == ["frozen"]
    assert findings[0].start_frame == pytest.approx(10, abs=1)
    assert findings[0].end_frame == pytest.approx(40, abs=1)


async def test_a_cut_is_found_to_the_frame(clips: Clips, sheet: Path) -> None:
    """A change of scene in what was asked for as one shot."""
    video = await clips.opened_by(sheet, 20, 49)
    cuts = [each for each in await found(video) if each.kind == "cut"]
    assert [(each.start_frame, each.end_frame) for each in cuts] == [(20, 21)]


async def test_silence_is_found_where_it_is(clips: Clips) -> None:
    """Two seconds without sound in a clip of four."""
    video = await clips.generated(SHOT, f"{TONE}:d=2,apad=pad_dur=2", frames=96)
    findings = [each for each in await found(video) if each.kind == "silent"]
    assert len(findings) == 1
    assert findings[0].start_seconds == pytest.approx(2, abs=0.15)
    assert findings[0].end_seconds == pytest.approx(4, abs=0.15)
    assert findings[0].start_frame is None


async def test_silence_from_beginning_to_end_is_an_error(clips: Clips) -> None:
    """Audio was delivered, and there is nothing in it."""
    findings = await found(await clips.generated(SHOT, "anullsrc=r=48000:cl=stereo"), audio=True)
    assert [(each.kind, each.severity) for each in findings] == [("silent", "error")]


async def test_clipped_sound_is_found(clips: Clips) -> None:
    """A tone driven 4 dB over full scale and cut off there; the same tone just below it is fine."""
    loud = await clips.generated(SHOT, f"{TONE},volume=22dB,aformat=sample_fmts=s16")
    assert [each.kind for each in await found(loud)] == ["clipped"]
    fine = await clips.generated(SHOT, f"{TONE},volume=16dB")
    assert await found(fine) == []


async def test_a_clip_is_compared_with_its_reference(clips: Clips) -> None:
    """Its own reference is like it, another video is not; fewer frames of reference are no fault."""
    reference = clips.folder / "reference.mp4"
    await make_reference_clip(reference, width=WIDTH, height=HEIGHT, frames=25)
    same = await inspect(reference, asked={}, endpoint=REFERENCE_VIDEO, reference=reference)
    assert same.measures["reference_ssim"] > 0.99
    noise = await clips.generated(
        f"nullsrc=s={WIDTH}x{HEIGHT}:r={RATE},geq=lum='random(1)*255':cb=128:cr=128", frames=25
    )
    other = await inspect(noise, asked={}, endpoint=REFERENCE_VIDEO, reference=reference)
    assert [each.kind for each in other.of("structure")] == ["structure"]
    longer = await clips.generated(SHOT, frames=49)
    report = await inspect(longer, asked={}, endpoint=REFERENCE_VIDEO, reference=reference)
    assert 0 < report.measures["reference_ssim"] < 0.99


async def test_a_damaged_clip_is_a_finding_not_an_exception(clips: Clips) -> None:
    """A video cut in half was paid for, so it is described."""
    whole = await clips.generated(SHOT, TONE)
    half = clips.folder / "half.mp4"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    for broken in (half, Path(shutil.copy(__file__, clips.folder / "text.mp4"))):
        finding = only(await inspect(broken, asked={}, endpoint=INGREDIENT))
        assert (finding.kind, finding.severity) == ("undecodable", "error")


async def test_references_that_are_gone_are_said_and_skipped(clips: Clips) -> None:
    """Inputs are deleted after upload; the clip is inspected without them."""
    video, gone = await clips.generated(SHOT, TONE), clips.folder / "gone.png"
    report = await inspect(video, asked={}, endpoint=INGREDIENT, sheet=gone, reference=gone)
    assert [(each.kind, each.severity) for each in report.findings] == [("unmeasured", "info")] * 2
    assert report.sound


async def test_measurements_are_bounded_in_time(clips: Clips) -> None:
    """A clip that takes too long to measure gets a report that says so."""
    report = await inspect(await clips.generated(SHOT), asked={}, endpoint=INGREDIENT, timeout=0.001)
    assert [each.kind for each in report.findings] == ["unmeasured"]


async def test_a_video_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Only a missing file raises: nobody asked for a report on nothing."""
    with pytest.raises(FileNotFoundError, match=r"gone\.mp4"):
        await inspect(tmp_path / "gone.mp4", asked={}, endpoint=INGREDIENT)


async def test_every_finding_in_the_picture_gets_its_frame(clips: Clips, sheet: Path) -> None:
    """Pictures are numbered as the findings are; a finding of the header has none."""
    video = await clips.opened_by(sheet, 6, 30)
    report = await inspect(video, asked={"num_frames": 33}, endpoint=INGREDIENT, sheet=sheet)
    assert [each.kind for each in report.findings] == ["frames", "sheet_lead_in"]
    pictures = await finding_pictures(video, report, clips.folder / "pictures")
    assert [each.path.name for each in pictures] == ["finding-2.jpg"]
    assert pictures[0].facts["frame"] == 2
    assert await verify_image(pictures[0].path, width=WIDTH, height=HEIGHT)


async def test_findings_of_uneven_frames_have_the_frames_own_times(tmp_path: Path) -> None:
    """Two seconds of black that are four frames are found as two seconds, at the time at which a player shows them."""
    clip = tmp_path / "uneven.mp4"
    # Frames 24 to 27 are black, and half a second long each.
    dark = generator("testsrc2=s=64x64:r=24").video.filter(
        "drawbox", w=64, h=64, color="black", t="fill", enable="between(n,24,27)"
    )
    late = dark.filter("setpts", "(N+max(0,min(N-24,4))*11)/24/TB")
    options = {"c:v": "libx264", "preset": "ultrafast", "frames:v": 52, "fps_mode": "passthrough"}
    await run_ffmpeg(target(late, path=clip, **options, enc_time_base="1/24"))
    report = await inspect(clip, asked={}, endpoint=REFERENCE_VIDEO)
    (black,) = (each for each in report.findings if each.kind == "black")
    assert (black.start_frame, black.end_frame) == (24, 28)
    assert black.start_seconds == pytest.approx(1.0, abs=0.02)
    assert black.end_seconds == pytest.approx(3.0, abs=0.02)
