"""`film`, `takes` and `plan` of a storyboard as a user starts them."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
import yaml
from cli_parts import process, with_prefect
from PIL import ImageChops, ImageStat
from support import answered

from prefect_ltx.ledger import Ledger
from prefect_ltx.local import LocalFal
from prefect_ltx.media import probe

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture
def prefect_environ(prefect_server: None, tmp_path: Path) -> dict[str, str]:
    """What makes a process use the tests' Prefect server, with a home of its own."""
    from prefect.settings import PREFECT_API_URL

    return {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT_HOME": str(tmp_path / "prefect")}


@pytest.fixture
def board(media_folder: Path, tmp_path: Path) -> Path:
    """A storyboard of two shots with a cross-fade, its picture beside it."""
    (tmp_path / "cup.png").write_bytes((media_folder / "sheet.png").read_bytes())
    content: dict[str, Any] = {
        "title": "Small",
        "resolution": {"width": 256, "height": 128},
        "defaults": {"frames": 9, "settings": {"video_write_mode": "fast"}, "takes": {"n": 2}},
        "cast": {"cup": {"look": "a white cup", "images": ["cup.png"]}},
        "shots": [
            {"id": "one", "text": "the cup turns"},
            {"id": "two", "text": "the cup falls", "transition": {"cross_fade": 3}},
        ],
    }
    path = tmp_path / "board.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_animatic_costs_nothing_and_needs_no_key(
    board: Path, tmp_path: Path, prefect_environ: dict[str, str]
) -> None:
    """Without a key and with a budget of nothing the whole film is rendered, and only its copy is left."""
    home = tmp_path / "home"
    out = tmp_path / "out" / "animatic.mp4"
    done = with_prefect(
        *("film", str(board), "--animatic", "--out", str(out), "--json"),
        **prefect_environ,
        HOME=str(home),
        PREFECT_LTX_BUDGET_USD="0",
        PREFECT_LTX_LEDGER=f"sqlite:///{tmp_path / 'theirs.db'}",
        PREFECT_LTX_ARCHIVE=str(tmp_path / "their-archive"),
    )
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert (shown["frames"], shown["stand_in"], shown["animatic"]) == (15, True, True)
    assert probe(out).frames == 15
    with av.open(str(out)) as container:
        slates = [frame.to_image().convert("L").crop((0, 0, 256, 40)) for frame in container.decode(video=0)]
    assert all(each.getextrema()[1] > 180 and ImageStat.Stat(each).mean[0] < 110 for each in slates)
    assert all(ImageChops.difference(a, b).getextrema()[1] > 80 for a, b in pairwise(slates))
    assert not (tmp_path / "theirs.db").exists()
    assert not (tmp_path / "their-archive").exists()


def test_film_is_planned_then_made_once(
    board: Path, fal: LocalFal, ltx_env: Path, tmp_path: Path, prefect_environ: dict[str, str]
) -> None:
    """The plan spends nothing and says the price; the film is paid for once; the plan then says so."""
    before = with_prefect("plan", str(board), "--json", **prefect_environ)
    assert before.returncode == 0, before.stderr
    planned = json.loads(before.stdout)
    assert (planned["to_send"], planned["price_expected_usd"], planned["price_upper_usd"]) == (
        2,
        "0.0048150",
        "0.0096300",
    )
    assert (planned["frames"], planned["duration_seconds"], len(fal.bill)) == (15, "5/8", 0)

    refused = with_prefect("film", str(board), "--timeline", str(tmp_path / "film.aaf"), **prefect_environ)
    assert (refused.returncode, len(fal.bill)) == (2, 0)
    assert ".otio" in refused.stderr

    made = with_prefect(
        *("film", str(board), "--recipe", "none", "--out", str(tmp_path / "film.mp4")),
        *("--timeline", str(tmp_path / "film.otio"), "--timeline", str(tmp_path / "film.edl")),
        **prefect_environ,
    )
    assert made.returncode == 0, made.stderr
    timeline = json.loads((tmp_path / "film.otio").read_text())
    assert timeline["name"] == "Small"
    assert "FROM CLIP NAME:  one" in (tmp_path / "film.edl").read_text()
    assert probe(tmp_path / "film.mp4").frames == 15
    assert len(fal.bill) == 2

    after = with_prefect("film", str(board), "--plan", "--json", **prefect_environ)
    assert [shot["first"]["status"] for shot in json.loads(after.stdout)["shots"]] == ["archived", "archived"]
    tight = with_prefect("plan", str(board), "--budget-usd", "0", **prefect_environ)
    assert tight.returncode == 0, tight.stderr


def test_what_the_animatic_shows_is_approved_and_bought(
    board: Path,
    media_folder: Path,
    fal: LocalFal,
    ltx_env: Path,
    tmp_path: Path,
    prefect_environ: dict[str, str],
    prefect_home: Callable[[Path], Path],
) -> None:
    """The form names the very animatic and shows a picture of every shot, of one that waits for another too; a plan
    that was approved at a shell is bought where there is no Prefect server at all."""
    content = yaml.safe_load(board.read_text())
    content["defaults"]["takes"] = {"n": 1}
    content["shots"] = [
        {"id": "one", "text": "the cup turns", "video": "clip.mp4", "image": "cup.png"},
        {"id": "two", "text": "the cup falls", "video": "clip.mp4", "start_from": "one"},
    ]
    (tmp_path / "clip.mp4").write_bytes((media_folder / "clip.mp4").read_bytes())
    board.write_text(yaml.safe_dump(content))
    out = tmp_path / "animatic.mp4"

    words = ("film", str(board), "--animatic", "--approve", "--out", str(out), "--recipe", "none", "--json")
    with ThreadPoolExecutor() as pool:
        running = pool.submit(with_prefect, *words, **prefect_environ)
        text = asyncio.run(answered(approve=True, name="Ada"))
        done = running.result()
    assert done.returncode == 0, done.stderr
    shown = hashlib.sha256(out.read_bytes()).hexdigest()
    assert shown in text
    assert shown in done.stderr
    assert text.count("data:image/jpeg;base64,") == 4  # of each shot its video's and its first picture
    assert len(fal.bill) == 2
    spent = with_prefect("ledger", "spend", "--usable", "--by", "film", "--json")
    (film,) = json.loads(spent.stdout)["usable"]
    assert (film["name"], film["usable"]) == ("Small", 2)
    assert Decimal(film["usable_usd"]) == sum(charge.usd for charge in fal.bill)

    content["shots"].pop()
    content["shots"][0]["text"] = "the cup shines"
    board.write_text(yaml.safe_dump(content))
    alone = {"HOME": str(tmp_path), "PREFECT_HOME": str(prefect_home(tmp_path / "alone"))}
    assert process("film", str(board), "--plan", "--approve", **alone).returncode == 0
    done = process("film", str(board), "--approve", "--recipe", "none", "--json", **alone)
    assert done.returncode == 0, done.stderr
    assert len(fal.bill) == 3


def test_malformed_storyboard_is_told_line_by_line(board: Path, tmp_path: Path) -> None:
    """Each problem is one line with its place, exit code 1; no key is needed to hear of them."""
    content = yaml.safe_load(board.read_text())
    content["shots"][0]["frames"] = 4
    content["shots"][1]["colour"] = "red"
    board.write_text(yaml.safe_dump(content))
    for arguments in (
        ("film", str(board)),
        ("film", str(board), "--animatic"),
        ("film", str(board), "--plan"),
    ):
        done = with_prefect(*arguments)
        assert done.returncode == 1
        told = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        assert len(told) == 3
        assert "shot 1 (one): frames" in told[0]
        assert "shot 2 (two): colour: no such field" in told[1]
        assert "Nothing was sent or spent." in told[2]


def test_takes_are_compared_on_a_page(
    media_folder: Path, fal: LocalFal, ltx_env: Path, tmp_path: Path, prefect_environ: dict[str, str]
) -> None:
    """Two takes that somebody approved, a judge in the user's own folder, and the page that shows both."""
    request = {
        "prompt": "Reference sheet: a cup. Generated video: it turns.",
        "image_url": str(media_folder / "sheet.png"),
        "num_frames": 9,
        "resolution": {"width": 256, "height": 128},
        "video_write_mode": "fast",
        "seed": 5,
    }
    (tmp_path / "request.json").write_text(json.dumps(request))
    (tmp_path / "taste.py").write_text("def last(takes):\n    return [take.number for take in takes]\n")
    words = ("takes", str(tmp_path / "request.json"), "-n", "2", "--judge", "taste:last", "--approve")
    with ThreadPoolExecutor() as pool:
        running = pool.submit(
            with_prefect, *words, "--recipe", "none", "--json", cwd=tmp_path, **prefect_environ
        )
        assert "2 takes" in asyncio.run(answered(approve=True))
        done = running.result()
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert (shown["chosen"]["number"], len(shown["takes"]), len(fal.bill)) == (2, 2, 2)
    assert Path(shown["page"].removeprefix("file://")).is_file()
    with Ledger(f"sqlite:///{ltx_env / 'ledger.db'}", read_only=True) as ledger:
        (approval,) = ledger.approvals()
        assert len(ledger.find(tag=f"approval:{approval.id}")) == 2

    alone = process(
        "takes", str(tmp_path / "request.json"), "--choose", "person", PREFECT_HOME=str(tmp_path / "p2")
    )
    assert alone.returncode == 1
    assert "prefect server start" in alone.stderr
