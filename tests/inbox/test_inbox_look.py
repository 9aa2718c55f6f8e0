"""A look at an inbox: new, whole and usable files are found once, whatever else lies there and whatever its name."""

import asyncio
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from inbox_parts import DEFAULTS, Place

from prefect_ltx.archive import ArchiveKeyInvalid, ArchiveNotFound
from prefect_ltx.batch import BatchInvalid, read_batch
from prefect_ltx.fal import ReferenceVideoRequest
from prefect_ltx.inbox import Inbox, Record

ROW = {"prompt": "a cup", "image_url": "sheet.png", "num_frames": 9}


async def test_a_dropped_video_becomes_the_request_that_the_defaults_describe(
    place: Place, clip: bytes
) -> None:
    """The nearest defaults.yaml gives fields and options; the seed comes from the video's bytes."""
    place.drop("defaults.yaml", "prompt: far\n")
    place.drop(
        "dance/defaults.yaml", DEFAULTS + "recipe: none\ntags: [dance]\nimage_url: look.png\nstrength: 0.4\n"
    )
    place.drop("dance/look.png", b"not looked at here")
    address = place.drop("dance/day 1/clip.mp4", clip)
    (drop,) = (await place.look()).drops
    assert (drop.kind, drop.location, drop.size) == ("video", address, len(clip))
    request = ReferenceVideoRequest.model_validate(drop.parameters.pop("request"))
    assert request.video_url == address
    assert request.image_url == f"{place.location}/dance/look.png"
    assert (request.prompt, request.num_frames, request.video_strength) == ("A clay figure dances.", 9, 0.4)
    assert request.seed == int(drop.sha256[:16], 16) % 2**31
    assert drop.parameters == {
        "recipe": "none",
        "tags": ["dance"],
        "frame_rule": "as_is",
        "quality": "warn",
    }


async def test_a_request_file_becomes_a_batch_whose_seeds_come_from_its_bytes(place: Place) -> None:
    """Its paths are relative to where it lies, also in a bucket."""
    place.drop("night/sheet.png", b"x")
    address = place.drop("night/shots.jsonl", json.dumps(ROW))
    (drop,) = (await place.look()).drops
    assert drop.kind == "requests"
    scope = f"inbox:{drop.sha256}"
    options = {"recipe": "web", "tags": [], "frame_rule": "as_is", "quality": "warn"}
    assert drop.parameters == {"source": address, "seed_scope": scope, **options}
    (row,) = read_batch(address).rows
    assert row.request.media() == {"image_url": f"{place.location}/night/sheet.png"}


async def test_a_version_is_found_until_it_was_told_and_a_changed_file_again(
    place: Place, clip: bytes
) -> None:
    """The same bytes at the same place are one event; other bytes, or another place, are another."""
    place.drop("defaults.yaml", DEFAULTS)
    place.drop("clip.mp4", clip)
    first = await place.look()
    assert [each.event for each in (await place.look()).drops] == [first.drops[0].event]
    await place.told(first)
    assert not (await place.look()).drops
    place.drop("clip.mp4", clip, age=30)
    touched = await place.look()
    assert not touched.drops
    assert touched.seen == 1
    place.drop("copy.mp4", clip)
    place.drop("clip.mp4", clip + bytes(8), age=20)
    later = await place.look()
    assert [each.name for each in later.drops] == ["clip.mp4", "copy.mp4"]
    assert first.drops[0].event not in {each.event for each in later.drops}
    # The copy asks for the same video with the same seed: one purchase.
    assert later.drops[1].parameters["request"]["seed"] == first.drops[0].parameters["request"]["seed"]


async def test_of_many_watchers_one_sends_and_a_killed_one_is_followed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One claim wins; it holds until it failed or is too old; what was sent is not claimed again."""
    async with Inbox(place.location) as inbox:
        watchers = [await Record.load(inbox.record) for _ in range(6)]
        won = await asyncio.gather(*(each.claim("an-event") for each in watchers))
        assert sorted(won, key=str) == [1, *[None] * 5]
        assert await watchers[0].claim("an-event") is None
        monkeypatch.setattr("prefect_ltx.inbox.record.CLAIM_SECONDS", -1.0)
        assert await watchers[1].claim("an-event") == 2
        monkeypatch.setattr("prefect_ltx.inbox.record.CLAIM_SECONDS", 1000.0)
        assert await watchers[2].claim("an-event") is None
        await watchers[1].mark_failed("an-event", 2)
        assert await watchers[2].claim("an-event") == 3
        await watchers[2].mark_sent("an-event")
        monkeypatch.setattr("prefect_ltx.inbox.record.CLAIM_SECONDS", -1.0)
        assert await watchers[3].claim("an-event") is None


async def test_a_video_without_defaults_waits_for_them(place: Place, clip: bytes) -> None:
    """Nothing says what to make of it; once something does, it is found."""
    place.drop("clip.mp4", clip)
    found = await place.look()
    assert (found.drops, found.refused, found.waiting) == ([], [], ["clip.mp4"])
    place.drop("defaults.yaml", DEFAULTS)
    assert [each.name for each in (await place.look()).drops] == ["clip.mp4"]


async def test_unusable_files_are_refused_with_a_reason_and_stay(place: Place, clip: bytes) -> None:
    """Each names what is wrong; the others are found all the same; the same problem is new once."""
    place.drop("defaults.yaml", DEFAULTS)
    wrong = {
        "empty.mp4": (b"", "it is empty"),
        "playlist.mp4": (b"#EXTM3U\nfile:///etc/passwd", "first bytes"),
        "picture.mov": (b"\x89PNG\r\n\x1a\n" + bytes(64), "first bytes"),
        "broken.jsonl": (b'{"prompt": ', "not JSON"),
        "typo.csv": (b"prompt,video_ulr\na,b\n", "did you mean video_url"),
        "dates.yaml": (b"\xff\xfe\x00", "UTF-8"),
        "none.json": (b"[]", "no request"),
    }
    for name, (data, _) in wrong.items():
        place.drop(name, data)
    place.drop("notes.txt", "not for an inbox")
    place.drop("upload.mp4.part", clip)
    place.drop("good.mp4", clip)
    found = await place.look()
    assert [each.name for each in found.drops] == ["good.mp4"]
    assert {each.name for each in found.refused} == set(wrong)
    async with Inbox(place.location) as inbox:
        record = await Record.load(inbox.record)
        for each in found.refused:
            assert wrong[each.name][1] in each.problem
            assert "\n" not in each.problem
            assert not each.reported
            await record.mark_refused(each.name, each.version, each.problem)
    again = await place.look()
    assert len(again.refused) == len(wrong)
    assert all(each.reported for each in again.refused)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("prompt: a\nnum_frames: 9999\n", "num_frames"),
        ("promt: a\n", "did you mean prompt"),
        ("num_frames: 9\n", "prompt"),
        ("prompt: a\nrecipe: hologram\n", "hologram"),
        ("prompt: a\nquality: best\n", "quality"),
        ("prompt: a\nvideo_url: other.mp4\n", "video_url"),
        ("prompt: a\nimage_url: https://host/x.png?X-Amz-Signature=abc\n", "no query"),
        (
            "prompt: a\nextra_arguments: {a: {__prefect_kind: jinja, template: '{{ 7 * 7 }}'}}\n",
            "__prefect_kind",
        ),
        ("a: &a [x, x]\nb: [*a, *a]\n", "aliases"),
        ("- prompt\n", "mapping"),
        ("prompt: [\n", "not YAML"),
    ],
)
async def test_defaults_that_cannot_be_used_refuse_their_videos(
    tmp_path: Path, clip: bytes, text: str, what: str
) -> None:
    """The report names the defaults file and the field; a signature or a template never gets into an event."""
    place = Place(str(tmp_path))
    place.drop("defaults.yaml", text)
    place.drop("clip.mp4", clip)
    (refused,) = (await place.look()).refused
    assert "defaults.yaml" in refused.problem
    assert what in refused.problem
    assert "abc" not in refused.problem


HOSTILE = [
    "{{ 7 + 7 }}.mp4",
    "{% include '/etc/passwd' %}.mp4",
    "-i -y out.mp4",
    "$(touch owned).mp4",
    "'; rm -rf ~ #.mp4",
    "a&b=c,volume=0[x];.mp4",
    "%2e%2e%2fetc.mp4",
    "ÄÖÜ 🎬.mp4",
]


async def test_a_hostile_name_is_data(place: Place, clip: bytes) -> None:
    """The address in the request is the file's own, to the letter."""
    place.drop("defaults.yaml", DEFAULTS)
    addresses = {place.drop(name, clip) for name in HOSTILE}
    found = await place.look()
    assert not found.refused
    assert {each.parameters["request"]["video_url"] for each in found.drops} == addresses
    assert all(json.loads(json.dumps(each.parameters)) == each.parameters for each in found.drops)


@pytest.mark.parametrize(
    "name", ["new\nline.mp4", "tab\t.mp4", "what?.mp4", 'quote".mp4', "back\\slash.mp4", "a:b.mp4"]
)
async def test_a_name_that_is_not_safe_on_every_system_is_refused(
    tmp_path: Path, clip: bytes, name: str
) -> None:
    """Such a file is reported and not opened."""
    place = Place(str(tmp_path))
    place.drop("defaults.yaml", DEFAULTS)
    place.drop(name, clip)
    found = await place.look()
    assert not found.drops
    assert "name is not safe" in found.refused[0].problem


async def test_an_object_key_that_is_no_safe_path_is_refused(bucket: Place, clip: bytes) -> None:
    """Keys are free text, and a part of one that is empty or no name is not opened."""
    bucket.drop("defaults.yaml", DEFAULTS)
    for name in ("what?.mp4", "a//b.mp4", "dot./b.mp4"):
        bucket.drop(name, clip)
    found = await bucket.look()
    assert (found.drops, len(found.refused)) == ([], 3)


async def test_a_link_or_a_pipe_is_not_followed(tmp_path: Path, clip: bytes) -> None:
    """What a link leads to would be uploaded; a pipe would never end."""
    place = Place(str(tmp_path / "in"))
    place.drop("defaults.yaml", DEFAULTS)
    secret = tmp_path / "private.mp4"
    secret.write_bytes(clip)
    (tmp_path / "in" / "link.mp4").symlink_to(secret)
    (tmp_path / "in" / "folder").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "in" / "pipe.mp4")
    os.utime(tmp_path / "in" / "pipe.mp4", (1, 1))
    found = await place.look()
    assert not found.drops
    assert {each.name for each in found.refused} == {"link.mp4", "pipe.mp4"}


async def test_a_file_that_is_still_being_written_is_left_for_the_next_look(
    tmp_path: Path, clip: bytes
) -> None:
    """It is told of once nobody writes to it any more; half of it never is."""
    place = Place(str(tmp_path))
    place.drop("defaults.yaml", DEFAULTS)
    stop = threading.Event()

    def write() -> None:
        with (tmp_path / "clip.mp4").open("wb") as file:
            file.write(clip)
            file.flush()
            while not stop.wait(0.02):
                file.write(bytes(64))
                file.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not (tmp_path / "clip.mp4").exists():
            time.sleep(0.01)
        found = await place.look(settle=1.0)
        assert (found.drops, found.refused, found.growing) == ([], [], ["clip.mp4"])
    finally:
        stop.set()
        writer.join()
    (drop,) = (await place.look(settle=1.0)).drops
    assert drop.size == (tmp_path / "clip.mp4").stat().st_size


async def test_a_file_from_a_clock_that_is_ahead_is_told_by_two_looks(tmp_path: Path, clip: bytes) -> None:
    """Its time says nothing; that it does not change does."""
    place = Place(str(tmp_path))
    place.drop("defaults.yaml", DEFAULTS)
    place.drop("clip.mp4", clip, age=-3600)
    assert [each.name for each in (await place.look()).drops] == ["clip.mp4"]


async def test_one_look_takes_so_many_and_says_how_many_are_left(place: Place, clip: bytes) -> None:
    """A folder full of videos by mistake does not start a thousand runs at once."""
    place.drop("defaults.yaml", DEFAULTS)
    for number in range(5):
        place.drop(f"{number}.mp4", clip)
    found = await place.look(most=2)
    assert ([each.name for each in found.drops], found.more) == (["0.mp4", "1.mp4"], 3)
    await place.told(found)
    assert [each.name for each in (await place.look(most=2)).drops] == ["2.mp4", "3.mp4"]


async def test_a_place_that_is_not_there_is_an_error_and_no_empty_inbox(
    tmp_path: Path, bucket: Place
) -> None:
    """Somebody who mistyped the folder has to learn it."""
    for location in (str(tmp_path / "nowhere"), "s3://no-such-bucket-at-all/in"):
        with pytest.raises(ArchiveNotFound):
            await Place(location).look()
    for location in ("", "https://host/in", "s3://", "s3://bucket?versions"):
        with pytest.raises(ArchiveKeyInvalid):
            Inbox(location)


def test_a_request_file_in_a_bucket_that_cannot_be_read_is_one_problem(bucket: Place) -> None:
    """Missing, too large or refused: one line, nothing spent."""
    for url in (f"{bucket.location}/gone.csv", "s3://no-such-bucket-at-all/x.csv"):
        with pytest.raises(BatchInvalid) as found:
            read_batch(url)
        assert [(each.where, each.column) for each in found.value.problems] == [("file", "")]
        assert "secret" not in str(found.value)


async def test_the_record_holds_no_prompt(place: Place, clip: bytes) -> None:
    """It says which file and which event, nothing else that anybody wrote."""
    place.drop("defaults.yaml", DEFAULTS)
    place.drop("clip.mp4", clip)
    await place.told(await place.look())
    async with Inbox(place.location) as inbox:
        entries: list[Any] = [
            json.loads(await inbox.record.read_bytes(key)) for key in await inbox.record.list("")
        ]
    assert entries
    assert "clay" not in json.dumps(entries)
