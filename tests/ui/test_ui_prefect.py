"""What a person sees in Prefect's own interfaces, the older and the newer one, in a real Chromium.

Screenshots are kept in `build/screenshots` (or where LTX_SCREENSHOTS says): look at them.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from browser import CHROMIUM, Page, browser
from support import SECRET, environment

from prefect_ltx.cli.prefect_server import prefect_server, without_prefect
from prefect_ltx.fal import FalClient
from prefect_ltx.local import LocalFal

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (apt-get install chromium)"),
    pytest.mark.timeout(400),
]

ROOT = Path(__file__).parents[2]
SCREENSHOTS = Path(os.environ.get("LTX_SCREENSHOTS", ROOT / "build" / "screenshots"))
INTERFACES = pytest.mark.parametrize("ui", ["", "/v2"], ids=["v1", "v2"])
NEEDLE = "needle-in-haystack"


@dataclass
class Seen:
    """A Prefect server with a finished run, a deployment, and takes that wait for a choice; and a browser."""

    url: str
    page: Page
    made: dict[str, Any]
    takes: "subprocess.Popen[str]"
    fal: LocalFal

    @property
    def api(self) -> str:
        return f"{self.url}/api"

    def open(self, path: str) -> None:
        self.page.size(1400, 1400)
        self.page.open(self.url + path)

    def shot(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = self.page.screenshot(SCREENSHOTS / f"{name}.png", height=1400)
        print(f"screenshot: {path}")

    def until_text(self, *texts: str) -> str:
        for text in texts:
            self.page.until(f"document.body.innerText.includes({json.dumps(text)})")
        return self.page.text()

    def one(self, route: str, **wanted: Any) -> dict[str, Any]:
        """The one thing that a filter of Prefect's API finds."""
        (found,) = httpx.post(f"{self.api}/{route}/filter", json=wanted, timeout=60).json()
        return dict(found)


@pytest.fixture(scope="module")
def seen(
    tmp_path_factory: pytest.TempPathFactory, media_folder: Path, prefect_home: Callable[[Path], Path]
) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("ui")
    with LocalFal() as fal, prefect_server(prefect_home(folder / "prefect")) as api:
        # The sheet's address is signed, as a bucket's would be.
        sheet = f"{asyncio.run(uploaded(fal, media_folder / 'sheet.png'))}?X-Amz-Signature={NEEDLE}"
        environ = without_prefect(os.environ) | environment(fal.url, folder)
        environ |= {"PREFECT_API_URL": api, "PREFECT_HOME": str(folder / "prefect"), "DO_NOT_TRACK": "1"}
        command = [sys.executable, str(Path(__file__).with_name("ui_child.py"))]
        with (folder / "takes.log").open("w") as log:
            takes = subprocess.Popen(
                [*command, "takes", sheet],
                env=environ,
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            done = subprocess.run(
                [*command, "made", sheet],
                env=environ,
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            with browser(folder / "profile") as page:
                made = json.loads(done.stdout.splitlines()[-1])
                yield Seen(api.removesuffix("/api"), page, made, takes, fal)
        finally:
            takes.kill()
            takes.communicate()


async def uploaded(fal: LocalFal, path: Path) -> str:
    async with FalClient(SECRET, base_url=fal.url) as client:
        return str(await client.upload(path, content_type="image/png", file_name=path.name))


def the_run(seen: Seen) -> dict[str, Any]:
    return seen.one("flow_runs", flows={"name": {"any_": ["ingredient-to-video"]}}, flow_runs=TOP_LEVEL)


def moving_picture(kind: str, count: int = 1) -> str:
    """JavaScript: whether so many data URIs of a kind are drawn."""
    return (
        f"[...document.images].filter(i => i.src.startsWith('data:image/{kind}') && i.complete "
        f"&& i.naturalWidth > 0).length >= {count}"
    )


TOP_LEVEL = {"parent_task_run_id": {"is_null_": True}}


@INTERFACES
def test_the_run_page_says_what_was_made_and_tells_its_story(seen: Seen, ui: str) -> None:
    """A run is called by its scene; its log tells what was sent, what it cost and where it is, and no signature."""
    run = the_run(seen)
    assert run["name"] == "the <b>pan</b> turns | slowly, steam rising. Ref… (25 frames, seed 7)"
    seen.open(f"{ui}/runs/flow-run/{run['id']}")
    price = f"${seen.made['price_expected_usd'].rstrip('0')}"
    text = seen.until_text(run["name"], "Completed", f"{price} expected", f"{price} billed", "Archived in")
    seen.shot(f"run{ui.replace('/', '-')}")
    assert "FAILED" not in text
    assert "ERROR" not in text
    assert NEEDLE not in seen.page.evaluate("document.documentElement.outerHTML")


@INTERFACES
def test_the_artifact_shows_the_video_the_price_and_no_markup(seen: Seen, ui: str) -> None:
    """The artifact has a preview that is drawn, what was asked and delivered and billed, and renders no prompt."""
    key = {"key": {"any_": [f"ltx-generation-{seen.made['generation_id'][:12]}"]}}
    artifact = seen.one("artifacts", artifacts=key)
    assert len(artifact["data"]) < 400_000
    seen.open(f"{ui}/artifacts/artifact/{artifact['id']}")
    price = f"${seen.made['price_billed_usd'].rstrip('0')}"
    text = seen.until_text("Delivered", f"{price} expected", seen.made["request_id"], seen.made["folder"])
    seen.page.until(moving_picture("webp"))
    seen.shot(f"artifact{ui.replace('/', '-')}")
    assert text.count(price) >= 2
    assert "512x256" in text.replace("×", "x")  # the older interface has a ligature for it
    assert "<b>pan</b>" in text
    assert not seen.page.evaluate("[...document.querySelectorAll('b')].some(b => b.innerText === 'pan')")
    assert not [markup for markup in ("|---", "![", "**", "&lt;", "`") if markup in text]
    assert NEEDLE not in seen.page.evaluate("document.documentElement.outerHTML")


@INTERFACES
def test_the_run_form_asks_for_what_the_endpoint_takes(seen: Seen, ui: str) -> None:
    """A deployment's form has a field for each part of the request, with words that say what belongs there."""
    seen.open(f"{ui}/deployments/deployment/{seen.made['deployment']}/run")
    seen.until_text("Reference sheet", "Ingredient strength", "recipe", "budget") if ui else seen.until_text(
        "Reference sheet", "Ingredient strength"
    )
    seen.shot(f"form{ui.replace('/', '-')}")


@INTERFACES
def test_prices_and_sums_are_seen_without_scrolling(seen: Seen, ui: str) -> None:
    """The spend report has today in it, the batch its rows, and neither shows a raw None or markup."""
    for key, texts in (
        ("ltx-spend", ["Billed", "Left"]),
        ("ltx-batch-pans", ["Spent by this run", "archived"]),
    ):
        artifact = httpx.post(
            f"{seen.api}/artifacts/filter", json={"artifacts": {"key": {"any_": [key]}}}, timeout=60
        ).json()[0]
        seen.open(f"{ui}/artifacts/artifact/{artifact['id']}")
        text = seen.until_text(texts[0])
        seen.shot(f"{key}{ui.replace('/', '-')}")
        assert "None" not in text.replace("Tags\nNone", "")  # Prefect's own, of a run without tags
        assert not [markup for markup in ("|---", "**", "&lt;") if markup in text]


@INTERFACES
@pytest.mark.parametrize(
    "slug",
    ["fal-credentials", "generation-ledger", "ltx-generation-preset", "spending-budget", "video-archive"],
)
def test_a_block_s_form_can_simply_be_filled_in(seen: Seen, ui: str, slug: str) -> None:
    """Its fields have titles and words, and none opens as None."""
    first = {
        "fal-credentials": "API key",
        "generation-ledger": "Database URL",
        "ltx-generation-preset": "House style",
        "spending-budget": "USD a day",
        "video-archive": "Location",
    }[slug]
    seen.open(f"{ui}/blocks/catalog/{slug}/create")
    text = seen.until_text(first)
    seen.shot(f"block-{slug}{ui.replace('/', '-')}")
    assert 'type "None"' not in text


def test_a_person_approves_takes_and_chooses_one_in_the_dialogs(seen: Seen) -> None:
    """Both interfaces show what the takes will cost and, once they are made, their pictures, in the dialog that resumes
    the run; answered there, the run goes on with what was shown."""
    run = waiting(seen)
    assert len(seen.fal.bill) == 1
    seen.open(f"/runs/flow-run/{run['id']}")
    seen.page.until(click("button", "Resume"))
    seen.page.until(moving_picture("jpeg", 1))
    text = seen.until_text("At most", "2 takes")
    seen.shot("approval")
    assert "approve spending at most $" in text

    resume_in_v2(seen, run, moving_picture("jpeg", 1), "approval-v2")
    run = waiting(seen, bill=3)

    seen.open(f"/runs/flow-run/{run['id']}")
    seen.page.until(click("button", "Resume"))
    seen.page.until(moving_picture("jpeg", 2))
    seen.shot("choice")
    assert "<b>pan</b>" in seen.page.text()

    resume_in_v2(seen, run, moving_picture("jpeg", 2), "choice-v2")
    out, _ = seen.takes.communicate(timeout=120)
    assert json.loads(out.splitlines()[-1]) == {"chosen": 1}
    assert len(seen.fal.bill) == 3


def waiting(seen: Seen, *, bill: int = 0) -> dict[str, Any]:
    """The run that waits for a person, once so many are paid for."""
    paused = {"state": {"type": {"any_": ["PAUSED"]}}}
    for _ in range(900):
        found = httpx.post(f"{seen.api}/flow_runs/filter", json={"flow_runs": paused}, timeout=60).json()
        if found and len(seen.fal.bill) >= bill:
            return dict(found[0])
        assert seen.takes.poll() is None
        seen.page.evaluate("new Promise(done => setTimeout(done, 200))")
    raise AssertionError("no run waits for a person")


def resume_in_v2(seen: Seen, run: dict[str, Any], shown: str, name: str) -> None:
    """Open the newer interface's dialog, look at it, and press Resume there."""
    seen.open(f"/v2/runs/flow-run/{run['id']}")
    menu = "[...document.querySelectorAll('button[aria-haspopup=menu]')].at(-1)"
    press = f"(({menu})?.dispatchEvent(new PointerEvent('pointerdown', {{bubbles: true, button: 0}})), true)"
    seen.page.until(f"{click('[role=menuitem]', 'Resume')} || ({press} && false)")
    seen.page.until(shown)
    seen.shot(name)
    seen.page.until(
        # A click on a form that is not ready does nothing.
        f"{click('[role=dialog] button', 'Resume')} && fetch('/api/flow_runs/{run['id']}')"
        ".then(r => r.json()).then(r => r.state_type !== 'PAUSED')"
    )


def click(selector: str, text: str) -> str:
    """JavaScript: click the element with exactly this text; whether there was one."""
    found = (
        f"[...document.querySelectorAll({json.dumps(selector)})].find(e => e.innerText.trim() === '{text}')"
    )
    return f"(e => (e?.click(), Boolean(e)))({found})"
