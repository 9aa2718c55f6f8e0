"""A place that has to last never depends on a run's working folder: absolute where a person wrote it, else refused."""

import json
import multiprocessing
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import Result
from support import SECRET, submits
from typer.testing import CliRunner

from prefect_ltx.blocks import GenerationLedger, VideoArchive
from prefect_ltx.cli import app
from prefect_ltx.doctor import check_places
from prefect_ltx.durability import transience
from prefect_ltx.generation import Services
from prefect_ltx.local import LocalFal
from prefect_ltx.settings import Settings, SettingsError

RUN = "11111111-2222-3333-4444-555555555555"

WRITTEN = [
    ("PREFECT_LTX_HOME", "state", "{here}/state"),
    ("PREFECT_LTX_LEDGER", "sqlite:///ledger.db", "sqlite:///{here}/ledger.db"),
    (
        "PREFECT_LTX_LEDGER",
        "sqlite+pysqlite:///./a/ledger.db?timeout=3",
        "sqlite+pysqlite:///{here}/a/ledger.db?timeout=3",
    ),
    ("PREFECT_LTX_LEDGER", "sqlite:///file:ledger.db?uri=true", "sqlite:///file:{here}/ledger.db?uri=true"),
    ("PREFECT_LTX_ARCHIVE", "archive", "{here}/archive"),
    ("PREFECT_LTX_ARCHIVE", "../archive", "{here}/../archive"),
    ("PREFECT_LTX_ARCHIVE", "file://archive", "{here}/archive"),
    ("PREFECT_LTX_C2PA_CERTIFICATE", "chain.pem", "{here}/chain.pem"),
    ("PREFECT_LTX_C2PA_KEY", "keys/key.pem", "{here}/keys/key.pem"),
]


def field_of(settings: Settings, variable: str) -> str:
    return str(getattr(settings, variable.removeprefix("PREFECT_LTX_").lower()))


@pytest.fixture
def minimal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command in a folder, with nothing set but what is given."""

    def run(*arguments: str, cwd: Path = tmp_path, **environ: str) -> Result:
        with monkeypatch.context() as patch:
            for name in [*os.environ]:
                if name.startswith(("PREFECT_", "FAL_")):
                    patch.delenv(name)
            for name, value in environ.items():
                patch.setenv(name, value)
            patch.chdir(cwd)
            return CliRunner().invoke(app, list(arguments))

    return run


@pytest.mark.parametrize(("variable", "text", "place"), WRITTEN)
def test_a_relative_place_is_the_folder_where_a_person_wrote_it(
    variable: str, text: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process that a person started, every setting that is a place is absolute, by its working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, text)
    assert field_of(Settings(), variable) == place.format(here=tmp_path)


@pytest.mark.parametrize(("variable", "text", "place"), WRITTEN)
def test_a_relative_place_is_refused_in_a_worker_s_run(
    variable: str, text: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker's run refuses it in one line that names the setting and what to write instead."""
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", RUN)
    monkeypatch.setenv(variable, text)
    with pytest.raises(SettingsError) as refused:
        Settings()
    line = str(refused.value)
    assert line.startswith(f"{variable} is {text}")
    assert "Nothing was sent or spent" in line
    assert "/var/lib/prefect-ltx" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("variable", "text", "place"),
    [
        ("PREFECT_LTX_HOME", "~/state", "{home}/state"),
        ("PREFECT_LTX_LEDGER", "sqlite:///~/ledger.db", "sqlite:///{home}/ledger.db"),
        ("PREFECT_LTX_ARCHIVE", " ~/archive\n", "{home}/archive"),
        ("PREFECT_LTX_ARCHIVE", "s3://bucket/prefix", "s3://bucket/prefix"),
        ("PREFECT_LTX_ARCHIVE", "file:///data/archive", "/data/archive"),
        ("PREFECT_LTX_LEDGER", "postgresql://host/ledger", "postgresql://host/ledger"),
        ("PREFECT_LTX_LEDGER", "sqlite:////data/ledger.db", "sqlite:////data/ledger.db"),
        (
            "PREFECT_LTX_LEDGER",
            "sqlite:///file:///data/a.db?mode=rw&uri=true",
            "sqlite:///file:/data/a.db?mode=rw&uri=true",
        ),
    ],
)
@pytest.mark.parametrize("run", ["", RUN])
def test_what_depends_on_no_working_folder_is_taken_everywhere(
    run: str, variable: str, text: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`~` is the home of whoever runs it, and a bucket or a server is nobody's folder: both are the same in any run."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", run)
    monkeypatch.setenv(variable, text)
    assert field_of(Settings(), variable) == place.format(home=tmp_path)


def test_nothing_set_means_below_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ledger, archive and unfinished work are below PREFECT_LTX_HOME, whatever the working folder; empty is unset."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("PREFECT_LTX_HOME", "PREFECT_LTX_LEDGER", "PREFECT_LTX_ARCHIVE"):
        monkeypatch.setenv(name, "")
    settings, home = Settings(), tmp_path / "home" / ".prefect-ltx"
    assert (settings.home, settings.ledger_url) == (home, f"sqlite:///{home}/ledger.db")
    assert settings.archive_location == f"{home}/archive"


@pytest.mark.parametrize("flag", [True, False])
def test_a_command_hands_absolute_places_on(
    flag: bool, tmp_path: Path, minimal: Callable[..., Result]
) -> None:
    """What a flag or a variable names relatively lies where the command was given, and doctor says who wrote it."""
    home = tmp_path / "home"
    home.mkdir()
    environ = {"HOME": str(home)} | ({} if flag else {"PREFECT_LTX_ARCHIVE": "films"})
    done = minimal(*(["--archive", "films"] if flag else []), "doctor", "--json", **environ)
    found = [each["what"] for each in json.loads(done.stdout)["findings"] if each["check"] == "places"]
    (line,) = [each for each in found if each.startswith("archive: ")]
    assert line.startswith(f"archive: {tmp_path}/films")
    assert ("--archive, written as films" if flag else "PREFECT_LTX_ARCHIVE, written as films") in line


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"HOME": "/nonexistent"}, "HOME is /nonexistent, which is not a folder"),
        ({"HOME": "relative"}, "no home folder"),
        ({"HOME": "{file}"}, "which is not a folder"),
        ({"HOME": "{home}", "PREFECT_LTX_HOME": "{file}/state"}, "cannot be"),
        ({"HOME": "{home}", "PREFECT_LTX_ARCHIVE": "{file}"}, "The archive cannot be written"),
        ({"HOME": "{home}", "PREFECT_LTX_ARCHIVE": "archive"}, "PREFECT_LTX_ARCHIVE is archive"),
        (
            {"HOME": "{home}", "PREFECT_LTX_LEDGER": "sqlite:///ledger.db"},
            "PREFECT_LTX_LEDGER is sqlite:///ledger.db",
        ),
        ({"HOME": "{home}", "PREFECT_LTX_ARCHIVE": "~nosuchuser/archive"}, "no such home folder"),
    ],
)
def test_a_run_that_could_not_keep_a_video_buys_none(
    environ: dict[str, str], says: str, fal: LocalFal, tmp_path: Path, minimal: Callable[..., Result]
) -> None:
    """A minimal environment that names no usable place ends in one line, before anything is sent or made there."""
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "home").mkdir()
    places = {
        name: text.format(file=tmp_path / "file", home=tmp_path / "home") for name, text in environ.items()
    }
    done = minimal("sweep", PREFECT__FLOW_RUN_ID=RUN, PREFECT_LTX_FAL_URL=fal.url, FAL_KEY=SECRET, **places)
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert says in line
    assert "Nothing was sent or spent" in line
    assert submits(fal) == len(fal.bill) == 0
    assert not Path("/nonexistent").exists()


def _as_nobody(home: str, said: str) -> None:
    os.setuid(65534)
    os.environ |= {"HOME": home, "PREFECT_LTX_FAL_URL": "http://127.0.0.1:9"}
    try:
        Services.from_settings(Settings())
    except Exception as error:
        Path(said).write_text(str(error))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_a_home_of_somebody_else_is_refused(mode: int, tmp_path: Path) -> None:
    """A home that this user may not write, or not even enter, is said in one line, before anything is sent."""
    (tmp_path / "home").mkdir(mode=mode)
    (tmp_path / "said").touch()
    (tmp_path / "said").chmod(0o666)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o055)
    child = multiprocessing.get_context("fork").Process(
        target=_as_nobody, args=(str(tmp_path / "home"), str(tmp_path / "said"))
    )
    child.start()
    child.join(60)
    line = (tmp_path / "said").read_text()
    assert str(tmp_path / "home") in line
    assert "Permission denied" in line
    assert "Nothing was sent or spent" in line
    assert "\n" not in line


@contextmanager
def mounted(folder: Path, *command: str) -> Iterator[Path]:
    """A file system of its own at `folder`."""
    folder.mkdir()
    if subprocess.run(["mount", *command, str(folder)], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_container_s_own_disk_is_refused_in_a_worker_s_run(
    fal: LocalFal, tmp_path: Path, minimal: Callable[..., Result]
) -> None:
    """Nobody chose it and it goes with the container: refused in a run, and named by the doctor."""
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    with mounted(tmp_path / "home", "-t", "overlay", "overlay", "-o", options) as home:
        environ = {"HOME": str(home), "PREFECT_LTX_FAL_URL": fal.url}
        done = minimal("sweep", PREFECT__FLOW_RUN_ID=RUN, **environ)
        assert done.exit_code == 1
        assert "on a container's own disk (overlay)" in done.stderr
        assert "Nothing was sent or spent" in done.stderr
        told = minimal("doctor", "--json", **environ)
        assert told.stdout.count("on a container's own disk (overlay)") == 3
        kept = {
            "PREFECT_LTX_LEDGER": f"sqlite:///{tmp_path}/l.db",
            "PREFECT_LTX_ARCHIVE": str(tmp_path / "a"),
        }
        done = minimal("sweep", PREFECT__FLOW_RUN_ID=RUN, **environ, **kept)
        assert done.exit_code == 0, done.stderr


def test_a_home_that_can_only_be_read_is_refused(
    fal: LocalFal, tmp_path: Path, minimal: Callable[..., Result]
) -> None:
    """A read-only file system is said in one line, by a shell command as well."""
    with mounted(tmp_path / "home", "-t", "tmpfs", "-o", "ro", "tmpfs") as home:
        done = minimal("sweep", HOME=str(home), PREFECT_LTX_FAL_URL=fal.url)
        assert done.exit_code == 1
        (line,) = done.stderr.splitlines()
        assert "Read-only file system" in line
        assert "Nothing was sent or spent" in line


def test_what_lies_in_a_run_s_own_folder_is_refused(fal: LocalFal, minimal: Callable[..., Result]) -> None:
    """An absolute place in the folder that the worker deletes is no better than a relative one."""
    with tempfile.TemporaryDirectory(suffix="prefect") as folder, tempfile.TemporaryDirectory() as home:
        environ = {"HOME": home, "PREFECT_LTX_FAL_URL": fal.url, "PREFECT_LTX_ARCHIVE": f"{folder}/archive"}
        done = minimal("sweep", cwd=Path(folder), PREFECT__FLOW_RUN_ID=RUN, **environ)
    assert done.exit_code == 1
    assert "deleted when the run ends" in done.stderr


def test_doctor_tells_file_systems_apart(tmp_path: Path) -> None:
    """Memory, a container's disk and temporary folders are told from a disk."""
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / /mnt/ram rw - tmpfs tmpfs rw\n"
        "3 1 0:3 / /mnt/box rw - overlay overlay rw\n4 1 0:4 / /data rw - xfs /dev/vdb rw\n"
    )
    kinds = {
        path: (found.kind if (found := transience(Path(path), mounts)) else None)
        for path in ("/mnt/ram/a", "/mnt/box/a", "/data/a", "/tmp/a", "/srv/a")
    }
    assert kinds == {
        "/mnt/ram/a": "memory",
        "/mnt/box/a": "container",
        "/data/a": None,
        "/tmp/a": "temporary",
        "/srv/a": None,
    }


def test_an_archive_of_an_earlier_release_is_not_forgotten(
    fal: LocalFal, tmp_path: Path, minimal: Callable[..., Result]
) -> None:
    """Where the old default archive lies in this folder, no empty one is begun: the question is asked first."""
    home, old = tmp_path / "home", tmp_path / "prefect-ltx-archive"
    home.mkdir()
    (old / "2026-11" / "x").mkdir(parents=True)
    environ = {"HOME": str(home), "PREFECT_LTX_FAL_URL": fal.url}
    assert minimal("sweep", **environ).exit_code == 0  # an empty one is nothing to forget
    (old / "2026-11" / "x" / "manifest.json").write_text("{}")
    (home / ".prefect-ltx" / "archive").rmdir()
    for command in (["sweep"], ["archive", "verify"], ["doctor", "--json"]):
        asked = minimal(*command, **environ)
        assert asked.exit_code == 1
        assert f"PREFECT_LTX_ARCHIVE={old}" in asked.output
        assert str(home / ".prefect-ltx" / "archive") in asked.output
    assert minimal("sweep", **environ, PREFECT_LTX_ARCHIVE=str(old)).exit_code == 0
    assert minimal("sweep", cwd=home, **environ).exit_code == 0  # another folder has nothing to forget


def test_blocks_of_a_run_are_held_to_the_same_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that code in a worker's run makes with a relative place is refused where it is opened."""
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", RUN)
    with pytest.raises(SettingsError, match="location of VideoArchive is films"):
        VideoArchive(location="films").get_archive()
    with pytest.raises(SettingsError, match="url of GenerationLedger"):
        GenerationLedger(url="sqlite:///ledger.db").get_ledger()
    monkeypatch.delenv("PREFECT__FLOW_RUN_ID")
    monkeypatch.chdir(tmp_path)
    assert VideoArchive(location="films").get_archive().location == str(tmp_path / "films")


def test_what_deploy_wrote_down_is_used_where_a_worker_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The places of the shell that deployed come after the worker's own settings and before the defaults."""
    written = {"PREFECT_LTX_ARCHIVE": "/data/films", "PREFECT_LTX_HOME": "/data/state"}
    monkeypatch.setenv("PREFECT_LTX_DEPLOYED", json.dumps(written))
    settings = Settings()
    assert (settings.archive_location, settings.home) == ("/data/films", Path("/data/state"))
    assert settings.ledger_url == "sqlite:////data/state/ledger.db"
    monkeypatch.setenv("PREFECT_LTX_ARCHIVE", "s3://films/x")
    assert Settings().archive_location == "s3://films/x"
    monkeypatch.setenv("PREFECT_LTX_DEPLOYED", "no JSON")
    assert Settings().home == Path.home() / ".prefect-ltx"


def test_what_deploy_wrote_down_elsewhere_is_refused(
    fal: LocalFal, tmp_path: Path, minimal: Callable[..., Result]
) -> None:
    """A folder of the machine that deployed is no folder of this one, and is not made here."""
    written = {
        "PREFECT_LTX_ARCHIVE": str(tmp_path / "films"),
        "host": "desk",
        "machine": "another",
    }
    environ = {"HOME": str(tmp_path), "PREFECT_LTX_FAL_URL": fal.url, "PREFECT__FLOW_RUN_ID": RUN}
    done = minimal("sweep", **environ, PREFECT_LTX_DEPLOYED=json.dumps(written))
    assert done.exit_code == 1
    assert "`prefect-ltx deploy` wrote it down on desk" in done.stderr
    assert "Nothing was sent or spent" in done.stderr
    assert not (tmp_path / "films").exists()
    written["PREFECT_LTX_ARCHIVE"] = "s3://films/x"  # a bucket is the same everywhere
    done = minimal("sweep", **environ, PREFECT_LTX_DEPLOYED=json.dumps(written))
    assert "wrote it down" not in done.stderr


@pytest.mark.parametrize(
    ("block", "field", "taken", "refused"),
    [
        (
            VideoArchive,
            "location",
            ["/data/films", "s3://b/p", "file:///data"],
            ["films", "./films", "~/films", "file:x"],
        ),
        (
            GenerationLedger,
            "url",
            [
                "sqlite:////data/l.db",
                "postgresql://u:p@h/d",
                "postgresql+psycopg://h/d",
                "sqlite:///file:/d/l.db?uri=true",
            ],
            ["sqlite:///ledger.db", "my ledger", "sqlite:///~/l.db", "mysql://h/d"],
        ),
    ],
)
def test_the_form_takes_absolute_places_only(
    block: type[VideoArchive] | type[GenerationLedger], field: str, taken: list[str], refused: list[str]
) -> None:
    """The UI's form of a block has a pattern that a relative place does not match."""
    pattern = re.compile(block.model_json_schema()["properties"][field]["pattern"])
    assert all(pattern.search(each) for each in taken)
    assert not any(pattern.search(each) for each in refused)


@pytest.mark.parametrize("seconds", ["nan", "inf", "0"])
def test_a_lease_without_an_end_is_refused(seconds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease is a number of seconds; which ones are too short is said where it is used."""
    monkeypatch.setenv("PREFECT_LTX_LEASE_SECONDS", seconds)
    with pytest.raises(ValueError, match="lease"):
        Settings()
    with pytest.raises(ValueError, match="lease"):
        GenerationLedger(url="sqlite:////data/ledger.db", lease_seconds=float(seconds))


def test_doctor_names_every_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ledger, archive, unfinished work and files, each with its source."""
    monkeypatch.setenv("PREFECT_LTX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PREFECT_LTX_ARCHIVE", "s3://bucket/films")
    monkeypatch.setenv("PREFECT_LTX_C2PA_KEY", str(tmp_path / "key.pem"))
    told = [each.what for each in check_places(Settings())]
    assert len(told) == 4
    assert f"{tmp_path}/home/ledger.db" in told[0]
    assert "the default, below PREFECT_LTX_HOME" in told[0]
    assert told[1] == "archive: s3://bucket/films, on a bucket (from PREFECT_LTX_ARCHIVE)"
    assert f"{tmp_path}/home/work" in told[2]
