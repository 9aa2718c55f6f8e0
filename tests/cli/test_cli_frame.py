"""The frame of every command: cheap help, shared flags in both places, one line for an error."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from forked import run_without_prefect
from typer.testing import CliRunner

from prefect_ltx.cli import app
from prefect_ltx.cli.frame import describe
from prefect_ltx.cli.tables import usd
from prefect_ltx.settings import Settings, SettingsError

SECRET = "0e0f0a0b-1111-2222-3333-444455556666:0123456789abcdef0123456789abcdef"
COMMANDS = [
    ["demo"],
    ["generate"],
    ["plan"],
    ["sweep"],
    ["local-fal"],
    ["ledger", "list"],
    ["ledger", "show"],
    ["ledger", "spend"],
    ["ledger", "resolve"],
    ["archive", "verify"],
    ["archive", "gallery"],
]


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_without_prefect("prefect_ltx.cli", *arguments, env=os.environ, cwd=Path.cwd())


def test_help_imports_neither_prefect_nor_a_room() -> None:
    """`--help` answers at once: it imports no Prefect, no HTTP client, no event loop and no room but its own."""
    code = (
        "import sys\n"
        "from prefect_ltx.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1].split()
    rooms = {name.split(".")[1] for name in loaded if name.startswith("prefect_ltx.")}
    assert rooms == {"cli"}
    assert {"prefect", "httpx", "sqlalchemy", "pydantic", "asyncio", "urllib.request"}.isdisjoint(loaded)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_and_json(command: list[str]) -> None:
    """Every command of the design's table explains itself and offers --json."""
    shown = CliRunner().invoke(app, [*command, "--help"])
    assert shown.exit_code == 0
    assert "--json" in shown.output


def test_wrong_usage_is_exit_code_2() -> None:
    """An unknown command, a missing argument and an impossible amount are usage errors."""
    for arguments in (["nonsense"], ["generate"], ["plan", "--budget-usd", "lots", "x.json"]):
        assert CliRunner().invoke(app, arguments).exit_code == 2


def test_expected_error_is_one_line_on_stderr_and_exit_code_1(tmp_path: Path) -> None:
    """A missing file ends in one line on stderr, nothing on stdout, and no traceback."""
    done = cli("generate", str(tmp_path / "absent.json"))
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: Cannot read ")
    assert "absent.json" in line


def test_debug_variable_shows_where_it_went_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PREFECT_LTX_DEBUG=1 adds the traceback for whoever looks for a bug."""
    monkeypatch.setenv("PREFECT_LTX_DEBUG", "1")
    assert "Traceback" in cli("generate", str(tmp_path / "absent.json")).stderr


def test_no_account_stops_a_paid_command_and_names_both_ways(tmp_path: Path) -> None:
    """With neither FAL_KEY nor a fal URL a paid command stops, and says what to set."""
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"prompt": "A cup.", "image_url": "sheet.png"}))
    done = cli("generate", str(request))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "FAL_KEY" in line
    assert "PREFECT_LTX_FAL_URL" in line


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_prices_are_said_without_an_account(
    suffix: str, tmp_path: Path, media_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan needs no key: it says the price, and that what is paid for already is not known."""
    body = {"prompt": "A cup.", "image_url": str(media_folder / "sheet.png"), "num_frames": 9, "seed": 1}
    file = tmp_path / f"request.{suffix}"
    file.write_text(json.dumps(body if suffix == "json" else [body]))
    monkeypatch.setenv("PREFECT_LTX_HOME", str(tmp_path))
    done = cli("plan", str(file), "--json")
    assert done.returncode == 0, done.stderr
    assert "what is paid for already is not known" in done.stderr + done.stdout
    assert float(json.loads(done.stdout)["total" if suffix == "json" else "plan"]["price_expected_usd"]) > 0


@pytest.mark.parametrize("before", [True, False])
def test_flags_are_written_into_the_environment(before: bool, tmp_path: Path) -> None:
    """A shared flag, before or after the command, is what flows and subprocesses will read."""
    flags = ["--fal-url", "http://127.0.0.1:9", "--ledger", "sqlite://", "--budget-usd", "1.50"]
    command = ["plan", str(tmp_path / "absent.json")]
    CliRunner().invoke(app, [*flags, *command] if before else [*command, *flags])
    settings = Settings()
    assert settings.fal_url == "http://127.0.0.1:9"
    assert settings.ledger_url == "sqlite://"
    assert str(settings.budget_usd) == "1.50"


def test_unreadable_setting_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that cannot be read is named as the person wrote it, and its value is not repeated."""
    monkeypatch.setenv("PREFECT_LTX_BUDGET_USD", "much")
    with pytest.raises(ValueError) as caught:
        Settings()
    line = describe(caught.value)
    assert "PREFECT_LTX_BUDGET_USD" in line
    assert "\n" not in line


def test_described_error_holds_no_secret_and_no_query() -> None:
    """Whatever an error's text holds, the line that a person sees has no key and no signed URL."""
    for error in (RuntimeError, OSError, SettingsError):
        line = describe(error(f"GET https://host.test/a?X-Amz-Signature=deadbeef failed\nkey {SECRET}"))
        assert "deadbeef" not in line
        assert SECRET not in line
        assert "\n" not in line


def test_operating_system_error_names_the_file() -> None:
    """An OSError is told by its file and reason, without errno."""
    assert (
        describe(FileNotFoundError(2, "No such file or directory", "/a/b"))
        == "/a/b: No such file or directory"
    )


def test_version_is_printed() -> None:
    """`--version` names the program and its version."""
    assert CliRunner().invoke(app, ["--version"]).output.startswith("prefect-ltx ")


def test_dollars_keep_every_digit_that_counts() -> None:
    """Amounts are shown exactly, with at least cents."""
    from decimal import Decimal

    shown = [usd(Decimal(each)) for each in ("0.2696400", "1.2", "3", "0")]
    assert [*shown, usd(None)] == ["$0.26964", "$1.20", "$3.00", "$0.00", "-"]


def test_console_script_is_installed() -> None:
    """The distribution installs `prefect-ltx` beside its Python."""
    script = Path(sys.executable).with_name("prefect-ltx")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.startswith("prefect-ltx ")
