"""The package as it is installed: one import name, cheap to import, complete in wheel and sdist."""

import os
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

import prefect_ltx

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS: dict[str, str] = PYPROJECT["tool"]["setuptools"]["package-dir"]
ROOMS = ("core", "blocks", "tasks", "flows", "deployments", "cli")


def folder_of(package: str) -> Path:
    """The repository folder of one import name, by the mapping in pyproject.toml."""
    if package in FOLDERS:
        return ROOT / FOLDERS[package]
    parent, _, name = package.rpartition(".")
    return folder_of(parent) / name


def run_python(code: str, **environ: str) -> str:
    """What a new interpreter prints for `code`, started away from the repository."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd="/",
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_package_folder_is_listed() -> None:
    """A folder with an __init__.py that pyproject.toml does not list would be missing from the wheel."""
    listed = {folder_of(package) for package in PYPROJECT["tool"]["setuptools"]["packages"]}
    found = {init.parent for room in ROOMS for init in (ROOT / room).rglob("__init__.py")}
    assert found == listed


def test_every_room_is_in_the_import_contract() -> None:
    """A room that the contracts do not name could import anything, Prefect included."""
    free_of_prefect, layered, _ = PYPROJECT["tool"]["importlinter"]["contracts"]
    rooms = {package for package in PYPROJECT["tool"]["setuptools"]["packages"] if package.count(".") == 1}
    core = {package for package in rooms if folder_of(package).parent == ROOT / "core"}
    assert core <= set(free_of_prefect["source_modules"])
    assert rooms <= {name.strip(" ()") for layer in layered["layers"] for name in layer.split("|")}


def test_every_shipped_file_matches_a_data_pattern() -> None:
    """A data file inside a package that no pattern names would work here and be missing from the wheel."""
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]
    covered = {
        path
        for package, globs in patterns.items()
        for glob in globs
        for path in folder_of(package).glob(glob)
    }
    tracked = subprocess.run(
        ["git", "ls-files", "-z", *ROOMS], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\0")
    # What lies in no package's folder, such as deployments/examples, is for the repository's readers.
    shipped = {folder_of(package) for package in PYPROJECT["tool"]["setuptools"]["packages"]}
    data = {ROOT / name for name in tracked if name and not name.endswith((".py", ".md"))}
    assert {path for path in data - covered if path.parent in shipped} == set()


def test_import_brings_neither_prefect_nor_a_room() -> None:
    """`import prefect_ltx` is cheap: it imports no Prefect and none of its own rooms."""
    loaded = run_python("import sys, prefect_ltx; print(*sorted(sys.modules))").split()
    assert "prefect_ltx" in loaded
    assert [name for name in loaded if name == "prefect" or name.startswith("prefect_ltx.")] == []


def test_core_rooms_import_neither_prefect_nor_s3fs() -> None:
    """What is true without Prefect can be used without importing it, and only a bucket needs s3fs."""
    rooms = ", ".join(
        f"prefect_ltx.{room}"
        for room in ("fal", "ledger", "media", "archive", "local", "generation", "inbox")
    )
    assert (
        run_python(f"import sys, {rooms}; print(*{{'prefect', 's3fs', 'botocore'}} & set(sys.modules))") == ""
    )


def test_blocks_are_members_of_the_root() -> None:
    """`prefect block register -m prefect_ltx` looks for blocks with inspect.getmembers, so all are listed."""
    code = (
        "import inspect, prefect_ltx\n"
        "from prefect.blocks.core import Block\n"
        "found = inspect.getmembers(prefect_ltx, lambda m: inspect.isclass(m) and issubclass(m, Block))\n"
        "print(*(name for name, _ in found))"
    )
    blocks = import_module("prefect_ltx.blocks")
    ours = {name for name in blocks.__all__ if hasattr(getattr(blocks, name), "_block_type_name")}
    assert {"FalCredentials", "GenerationLedger", "SpendingBudget", "VideoArchive"} <= ours
    assert set(run_python(code).split()) == ours


def test_unknown_name_is_an_attribute_error() -> None:
    """The lazy names do not hide a typing mistake."""
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = prefect_ltx.no_such_name


def test_version_is_the_distributions() -> None:
    """`prefect_ltx.__version__` says what pyproject.toml says."""
    assert prefect_ltx.__version__ == PYPROJECT["project"]["version"]


def test_package_is_marked_as_typed() -> None:
    """Type checkers read the annotations only where py.typed lies beside the root module."""
    assert Path(prefect_ltx.__file__).with_name("py.typed").is_file()


def test_no_room_was_imported_by_its_folder_name() -> None:
    """`import flows` would make a second set of flows; collecting the tests did not do it."""
    loaded = {
        name: module
        for name in ROOMS
        if (module := sys.modules.get(name)) is not None
        and str(getattr(module, "__file__", "") or "").startswith(str(ROOT))
    }
    assert loaded == {}


def test_constraints_name_no_index_and_no_host() -> None:
    """Pinned versions are exact and hold on any machine: no index, no address, no path."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    assert [
        line for line in pins if "==" not in line or "/" in line or "@" in line or line.startswith("-")
    ] == []


MAKES_A_VIDEO = """
import asyncio, os
from pathlib import Path
from prefect_ltx.fal import IngredientRequest
from prefect_ltx.flows import ingredient_to_video
from prefect_ltx.local import LocalFal
from prefect_ltx.media import make_reference_sheet
size = {"width": 256, "height": 128}
with LocalFal() as fal:
    os.environ["PREFECT_LTX_FAL_URL"] = fal.url
    asyncio.run(make_reference_sheet(Path("sheet.png"), width=448, height=256))
    request = IngredientRequest(prompt="A cup turns.", image_url="sheet.png", num_frames=9, resolution=size)
    print(asyncio.run(ingredient_to_video(request)).video)
"""


@pytest.mark.wheel
@pytest.mark.timeout(600)
def test_wheel_and_sdist_build_and_the_wheel_works_alone(tmp_path: Path) -> None:
    """The wheel, built from the sdist, has every module, and makes a video with what pip installs today."""
    dist = tmp_path / "dist"
    subprocess.run([sys.executable, "-m", "build", "--outdir", dist, ROOT], check=True, capture_output=True)
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")

    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        "/".join(package.split(".")) + "/" + path.name
        for package in PYPROJECT["tool"]["setuptools"]["packages"]
        for path in folder_of(package).glob("*.py")
    }
    assert wanted - names == set()
    assert {name.split("/")[0] for name in names} == {
        "prefect_ltx",
        f"prefect_ltx-{prefect_ltx.__version__}.dist-info",
    }
    assert "prefect_ltx/py.typed" in names
    with tarfile.open(sdist) as archive:
        inside = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"LICENSE", "README.md", "Makefile", "constraints.txt", "tests/test_package.py"} <= inside

    home = tmp_path / "home"
    home.mkdir()
    alone = tmp_path / "alone"
    venv.create(alone)
    environ = {
        **os.environ,
        "HOME": str(home),
        "PREFECT_HOME": str(home / "prefect"),
        # Prefect gives its own server 20 s to start, which is not enough on a machine that has other things to do.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    }
    # Without the constraints, as a user has it: where a dependency of today no longer fits, it is known here first.
    # By the pip of this environment, and uncompiled: what is imported below is a small part of what is installed.
    pip = [sys.executable, "-m", "pip", "--python", alone / "bin" / "python", "--disable-pip-version-check"]
    install = ["--quiet", "install", "--no-compile", wheel]
    subprocess.run([*pip, *install], check=True, env=environ, cwd=tmp_path)
    says = subprocess.run(
        [alone / "bin" / "prefect-ltx", "--version"],
        check=True,
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert prefect_ltx.__version__ in says.stdout
    everything = "; ".join(f"import {package}" for package in PYPROJECT["tool"]["setuptools"]["packages"])
    subprocess.run([alone / "bin" / "python", "-c", everything], check=True, env=environ, cwd=tmp_path)
    made = subprocess.run(
        [alone / "bin" / "python", "-c", MAKES_A_VIDEO],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr[-3000:]
    assert Path(made.stdout.splitlines()[-1]).stat().st_size
