"""Which judges may be imported: what the worker's owner allows, never what a run form says."""

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefect_ltx.flows.judge import JudgeError, load_judge

HARMFUL = (
    "os:system",
    "sys:exit",
    "subprocess:run",
    "builtins:eval",
    "shutil:rmtree",
    "importlib:import_module",
    "code:interact",
)


@pytest.fixture
def own() -> Iterator[str]:
    module = types.ModuleType("my_own_judges")
    module.__dict__["rank"] = lambda takes: [0.0 for _ in takes]
    sys.modules["my_own_judges"] = module
    yield "my_own_judges:rank"
    del sys.modules["my_own_judges"]


def test_a_run_form_names_only_what_the_owner_allows(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a worker's run nothing else is imported, its own modules and Python's alike; listed, it is."""
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "00000000-0000-0000-0000-000000000000")
    for spec in (*HARMFUL, own, "prefect_ltx.cli:main", "not_there_at_all:x"):
        with pytest.raises(JudgeError, match=r"not one that this worker's owner allows.*PREFECT_LTX_JUDGES"):
            load_judge(spec, named_in_code=True)
    assert "not_there_at_all" not in sys.modules
    monkeypatch.setenv("PREFECT_LTX_JUDGES", f" other:thing, {own}")
    assert callable(load_judge(own))
    with pytest.raises(JudgeError):
        load_judge("os:system")


def test_a_package_may_offer_judges(own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an entry point of the group `prefect_ltx.judges`."""
    info = tmp_path / "taste-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: taste\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[prefect_ltx.judges]\nlively = {own}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert callable(load_judge(own))


def test_code_names_its_own_and_nothing_of_pythons(own: str) -> None:
    """A script could import its own module itself; a storyboard is data, whoever wrote it."""
    assert callable(load_judge(own, named_in_code=True))
    for spec in HARMFUL:
        with pytest.raises(JudgeError):
            load_judge(spec, named_in_code=True)
    with pytest.raises(JudgeError):
        load_judge(own)
