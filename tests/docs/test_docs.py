"""The documentation is true: every block of code in it is run, and what cannot be run is checked."""

import ast
import asyncio
import csv
import inspect
import io
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import pytest
import typer.main
import yaml
from docs_blocks import KNOWN, SHOWN, Block, blocks_of
from forked import programs

from prefect_ltx.cli import app
from prefect_ltx.cli.prefect_server import without_prefect
from prefect_ltx.local import LocalFal

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
TRIED = [
    page for page in PAGES if any(each.language not in SHOWN and not each.not_run for each in blocks_of(page))
]
STORED = "prefect_ltx.local.stored_clip:StoredClipRenderer"


def title(page: Path) -> str:
    return str(page.relative_to(ROOT / "docs"))


@pytest.fixture
def fal(request: pytest.FixtureRequest) -> Iterator[LocalFal]:
    """A fal that runs as many jobs at once as a page asks for."""
    with LocalFal() as server:
        server.faults.add("concurrency", value=8)
        yield server


@pytest.mark.e2e
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", TRIED, ids=title)
def test_every_block_runs(
    page: Path,
    fal: LocalFal,
    ltx_env: Path,
    media_folder: Path,
    prefect_server: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A page's blocks run in their order, in one folder with a clip and a sheet, as a reader would run them."""
    from prefect.settings import PREFECT_API_URL

    for name in ("dance.mp4", "clip.mp4"):
        shutil.copy(media_folder / "clip.mp4", ltx_env / name)
    shutil.copy(media_folder / "sheet.png", ltx_env / "sheet.png")
    shutil.copytree(ROOT / "examples", ltx_env / "examples")
    shutil.copytree(ROOT / "deployments", ltx_env / "deployments", ignore=shutil.ignore_patterns("*.py*"))
    monkeypatch.chdir(ltx_env)
    monkeypatch.syspath_prepend(ltx_env)
    environ = without_prefect(os.environ) | {
        "HOME": str(ltx_env),
        "PATH": f"{programs()}{os.pathsep}{os.environ['PATH']}",
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_HOME": str(ltx_env / "prefect"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ltx_env), os.environ.get("PYTHONPATH")])),
    }
    names: dict[str, Any] = {"__name__": "__docs__"}
    for block in blocks_of(page):
        if block.not_run or block.language in SHOWN:
            continue
        if block.file:
            (ltx_env / block.file).parent.mkdir(parents=True, exist_ok=True)
            (ltx_env / block.file).write_text(block.text)
        if block.language == "python" and not block.file:
            run_python(block, page, names)
        elif block.language == "sh":
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.text],
                cwd=ltx_env,
                env=environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.returncode == 0, (
                f"{title(page)}:{block.line}: {done.stdout[-2000:]}{done.stderr[-3000:]}"
            )
        else:
            parse(block)


def run_python(block: Block, page: Path, names: dict[str, Any]) -> None:
    """Run a block in the names of the page's blocks before it; `await` may stand at the top, as in a notebook."""
    code = compile(
        "\n" * block.line + block.text,
        str(page),
        "exec",
        flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        dont_inherit=True,
    )
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(eval(code, names))
    else:
        exec(code, names)


def parse(block: Block) -> None:
    """Read a block in the language that it says it is in."""
    match block.language:
        case "yaml":
            list(yaml.safe_load_all(block.text))
        case "json":
            json.loads(block.text)
        case "jsonl":
            [json.loads(line) for line in block.text.splitlines()]
        case "csv":
            rows = list(csv.reader(io.StringIO(block.text)))
            assert len({len(row) for row in rows}) == 1, "rows of different lengths"
        case "python":
            compile(block.text, "block", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        case "sh":
            subprocess.run(["bash", "-n", "-c", block.text], check=True)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_blocks_are_of_a_known_kind_and_parse(page: Path) -> None:
    """Every block has a language that is tried or shown, is whole in it, and says why where it is not run."""
    for block in blocks_of(page):
        where = f"{page.name}:{block.line}"
        assert block.language in KNOWN, where
        assert not block.not_run or len(block.not_run.split()) >= 3, f"{where}: say why it is not run"
        parse(block)
    assert page.read_text().count("```") == 2 * len(blocks_of(page)), "a block is not closed, or not found"


def commands_of(page: Path) -> Iterator[tuple[int, list[str]]]:
    """Every `prefect-ltx` command line in a page's shell blocks, with its line."""
    for block in blocks_of(page):
        if block.language != "sh":
            continue
        for number, line in enumerate(block.text.replace("\\\n", " ").splitlines(), block.line + 1):
            for part in re.split(r"[|;&]+\s", line):
                words = shlex.split(part, comments=True)
                words = words[next((n for n, word in enumerate(words) if "=" not in word), 0) :]
                if words[:1] == ["prefect-ltx"]:
                    yield number, words[1:]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    """A command that a page shows is one that the program has, with options that it takes."""
    program = typer.main.get_command(app)
    for number, words in commands_of(page):
        try:
            context: click.Context = program.make_context("prefect-ltx", list(words))
            while isinstance(context.command, click.Group):
                name, command, rest = context.command.resolve_command(
                    context, [*context.protected_args, *context.args]
                )
                assert command is not None
                context = command.make_context(name, rest, parent=context)
        except click.exceptions.Exit:
            pass  # --help and --version
        except click.ClickException as error:
            pytest.fail(f"{page.name}:{number}: prefect-ltx {' '.join(words)}: {error.format_message()}")


def test_every_page_is_in_the_site() -> None:
    """The site's navigation has every page, and names none that is missing."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
    site = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)

    def files(part: Any) -> Iterator[str]:
        if isinstance(part, str):
            yield part
        elif part:
            for each in part.values() if isinstance(part, dict) else part:
                yield from files(each)

    assert sorted(files(site["nav"])) == [title(page) for page in PAGES]


def test_the_pages_of_flows_are_true_to_their_signatures() -> None:
    """The page of the two endpoints names every parameter of theirs, and every way of quality."""
    from prefect_ltx.flows import ingredient_to_video, reference_video_to_video
    from prefect_ltx.generation.inspection import QualityMode

    text = (ROOT / "docs" / "flows" / "generate.md").read_text()
    for flow in (ingredient_to_video, reference_video_to_video):
        names = inspect.signature(flow.fn).parameters
        assert [name for name in names if f"`{name}" not in text and f"{name}=" not in text] == []
    assert [mode for mode in get_args(QualityMode) if f"`{mode}`" not in text] == []
