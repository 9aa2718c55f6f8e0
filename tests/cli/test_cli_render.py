"""`archive render`: other renditions of what is archived, beside the old ones; nothing overwritten, nothing bought."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_parts import REQUEST, cli
from s3_servers import S3Server
from support import submits

from prefect_ltx.archive import Addition, Archive, Manifest
from prefect_ltx.generation.render_archived import render_archived
from prefect_ltx.local import LocalFal
from prefect_ltx.media import ContactSheet, Poster, Recipe

SMALL = Recipe(name="stills", outputs=(Poster(),))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, media_folder: Path) -> Iterator[tuple[Path, LocalFal]]:
    """Three archived clips with a poster each, two of them tagged; and the fal that made them."""
    from support import environment

    folder = tmp_path_factory.mktemp("rendered")
    (folder / "sheet.png").write_bytes((media_folder / "sheet.png").read_bytes())
    rows = [REQUEST | {"seed": n, "tags": ["client:acme"] if n < 3 else ["client:other"]} for n in (1, 2, 3)]
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "stills.json").write_text(SMALL.model_dump_json())
    with LocalFal() as fal, pytest.MonkeyPatch.context() as patch:
        for name, value in environment(fal.url, folder).items():
            patch.setenv(name, value)
        done = cli(folder, "batch", "rows.jsonl", "--recipe", "stills.json", "--json")
        assert done.returncode == 0, done.stderr
        yield folder, fal


@pytest.fixture
def folder(made: tuple[Path, LocalFal], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them for each test, and the environment of their user."""
    from support import environment

    shutil.copytree(made[0], tmp_path / "mine", ignore=shutil.ignore_patterns("home"))
    for name, value in environment(made[1].url, tmp_path / "mine").items():
        monkeypatch.setenv(name, value)
    return tmp_path / "mine"


def bytes_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def manifests(folder: Path) -> dict[str, Manifest]:
    """By tag and seed."""
    found = [Manifest.from_bytes(path.read_bytes()) for path in (folder / "archive").rglob("manifest.json")]
    return {f"{each.tags[-1]} {each.seed}": each for each in found}


@pytest.mark.timeout(280)
def test_other_renditions_lie_beside_the_old_ones(made: tuple[Path, LocalFal], folder: Path) -> None:
    """Only of clips with the tag; every byte of before is the same; verify, gallery and rehydrate know them; a second
    run renders nothing; fal hears nothing of it."""
    fal = made[1]
    sent, bill = submits(fal), len(fal.bill)
    before = bytes_of(folder / "archive")
    words = ("archive", "render", "--recipe", "web", "--tag", "client:acme", "--json")
    done = cli(folder, *words)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (len(report["rendered"]), report["known"], report["failed"]) == (2, [], [])
    after = bytes_of(folder / "archive")
    assert {name: after[name] for name in before} == before
    one = report["rendered"][0]
    assert {"poster", "contact_sheet", "web", "preview"} <= set(one["files"])
    addition = Addition.from_bytes(Path(one["addition"].removeprefix("file://")).read_bytes())
    manifest = Manifest.from_bytes((folder / "archive" / one["folder"] / "manifest.json").read_bytes())
    assert addition.belongs_to(manifest)
    assert addition.stand_in
    assert addition.tools["ffmpeg"]
    for each in addition.files:
        assert after[f"{one['folder']}/{each.name}"] == each.sha256
    again = cli(folder, *words)
    assert again.returncode == 0, again.stderr
    assert (json.loads(again.stdout)["rendered"], len(json.loads(again.stdout)["known"])) == ([], 2)
    assert bytes_of(folder / "archive") == after
    assert not [path for path in (folder / "home" / "work").iterdir() if path.name.startswith("render-")]

    verified = cli(folder, "archive", "verify", "--json")
    found = json.loads(verified.stdout)
    assert (verified.returncode, found["ok"], found["additions"], found["unlisted"]) == (0, True, 2, [])
    assert cli(folder, "archive", "gallery").returncode == 0
    page = (folder / "archive" / "index.html").read_text()
    assert page.count(">web: contact sheet</a>") == 2
    assert f"{one['folder']}/{addition.files[0].name}" in page
    back = cli(folder, "archive", "rehydrate", "back", "--json")
    assert json.loads(back.stdout)["additions"] == 2, back.stdout
    brought = bytes_of(folder / "back")
    assert {name: brought[name] for name in after if one["folder"] in name} == {
        name: value for name, value in after.items() if one["folder"] in name
    }
    assert (submits(fal), len(fal.bill)) == (sent, bill)


def test_one_clip_that_cannot_be_rendered_ends_no_other(folder: Path) -> None:
    """A damaged video, one that is gone, a manifest that is none: each named, exit code 1, the others rendered."""
    found = manifests(folder)
    damaged = found["client:acme 1"]
    (folder / "archive" / damaged.folder / "video.mp4").write_bytes(b"no video")
    other = SMALL.model_copy(update={"name": "large", "outputs": (ContactSheet(frames=4, columns=2),)})
    (folder / "large.json").write_text(other.model_dump_json())
    done = cli(folder, "archive", "render", "--recipe", "large.json", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert len(report["rendered"]) == 2
    (failed,) = report["failed"]
    assert failed.startswith(damaged.folder)
    assert "Traceback" not in done.stderr
    # By name: only this one; a name of nothing is said.
    done = cli(
        folder, "archive", "render", damaged.folder, "nothing-like-it", "--recipe", "large.json", "--json"
    )
    report = json.loads(done.stdout)
    assert [each.partition(":")[0] for each in report["failed"]] == [damaged.folder, "nothing-like-it"]
    assert cli(folder, "archive", "render", "--recipe", "none").returncode == 2


def added(folder: Path) -> Path:
    (path,) = (folder / "archive").rglob("addition-*.json")
    return path


async def test_an_addition_that_is_not_what_it_says_does_not_count(folder: Path, tmp_path: Path) -> None:
    """Altered, moved to another generation, of another manifest, with files outside of its own folder, no JSON: named
    by verify, left out by gallery and rehydrate, and the generation itself is as good as before."""
    found = manifests(folder)
    mine, other = found["client:acme 1"], found["client:acme 2"]
    archive = Archive(folder / "archive")
    recipe = SMALL.model_copy(update={"name": "one"})
    report = await render_archived(archive, recipe, work=tmp_path / "work", names=[mine.generation_id[:12]])
    assert (len(report.rendered), report.failed) == (1, [])
    path = added(folder)
    good = path.read_text()
    content: dict[str, Any] = json.loads(good)
    bad = [
        good.replace('"recipe": "one"', '"recipe": "two"'),
        json.dumps(content | {"files": []}),
        "{",
        "[]",
        json.dumps(content | {"files": [content["files"][0] | {"name": "../../../../etc/passwd"}]}),
        json.dumps(content | {"files": [content["files"][0] | {"name": "manifest.json"}]}),
        json.dumps(content | {"schema_version": 2}),
    ]
    for text in bad:
        path.write_text(text)
        verified = await archive.verify()
        assert not verified.ok, text
        assert (verified.generations, verified.additions, len(verified.unreadable)) == (3, 0, 1), text
        assert (await archive.gallery_report()).skipped, text
        assert await archive.additions(mine.folder) == [], text
        assert (await archive.rehydrate(tmp_path / "back")).generations == 3, text
    path.write_text(good)
    moved = folder / "archive" / other.folder / path.name
    shutil.copy(path, moved)
    verified = await archive.verify()
    assert (verified.additions, len(verified.unreadable)) == (1, 1)
    assert "another manifest" in verified.unreadable[0]
    moved.unlink()
    (addition,) = await archive.additions(mine.folder)
    (folder / "archive" / mine.folder / addition.files[0].name).write_bytes(b"x")
    verified = await archive.verify()
    assert [each.key for each in verified.altered] == [f"{mine.folder}/{addition.files[0].name}"]


async def test_in_a_bucket_and_after_a_kill(moto: S3Server, folder: Path, tmp_path: Path) -> None:
    """The same on S3: nothing is overwritten, and what a killed run left is taken as it is, so that it fits."""
    local = Archive(folder / "archive")
    bucket = moto.new_bucket()
    archive = moto.archive(bucket)
    async with archive:
        async for manifest in local.manifests():
            for each in manifest.files:
                path = folder / "archive" / manifest.folder / each.name
                await archive.put_file(f"{manifest.folder}/{each.name}", path, sha256=each.sha256)
            await archive.publish(manifest)
        recipe = SMALL.model_copy(update={"name": "later"})
        first = await render_archived(archive, recipe, work=tmp_path / "work", tags=["client:other"])
        (clip,) = first.rendered
        (addition,) = await archive.additions(clip.folder)
        client = moto.client()
        # As after a kill between the files and the addition, by another ffmpeg.
        client.delete_object(Bucket=bucket, Key=clip.addition.partition(f"{bucket}/")[2])
        key = f"films/2026/{clip.folder}/{addition.files[0].name}"
        client.put_object(Bucket=bucket, Key=key, Body=b"another rendering", Metadata={})
        again = await render_archived(archive, recipe, work=tmp_path / "work", tags=["client:other"])
        assert len(again.rendered) == 1
        assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == b"another rendering"
        assert (await archive.verify()).ok
        last = await render_archived(archive, recipe, work=tmp_path / "work", tags=["client:other"])
        assert (last.rendered, len(last.known)) == ([], 1)
    assert list((tmp_path / "work").iterdir()) == []
