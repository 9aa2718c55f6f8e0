"""Each thing that is wrong is found, said in one line without a secret, and comes with what helps."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text
from support import SECRET, submits

from prefect_ltx.cli.doctor_prefect import check_versions
from prefect_ltx.doctor import (
    Finding,
    check_account,
    check_all,
    check_archive,
    check_ledger,
    check_machine,
    check_settings,
)
from prefect_ltx.ledger import Ledger
from prefect_ltx.local import LocalFal
from prefect_ltx.settings import Settings


def bad(found: list[Finding]) -> list[Finding]:
    return [each for each in found if each.severity in ("warning", "error")]


async def test_a_sound_installation_has_no_errors(ltx_env: Path, fal: LocalFal) -> None:
    """Nothing is wrong, nothing is sent, and nothing is left behind but the ledger's tables."""
    found = await check_all(Settings())
    assert bad(found) == []
    assert {"key", "hosts", "clock", "ffmpeg", "PyAV", "disk", "ledger", "archive", "settings"} <= {
        each.check for each in found
    }
    assert submits(fal) == len(fal.bill) == 0
    assert [path for path in (ltx_env / "archive").rglob("*") if path.is_file()] == []


async def test_no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """With neither a key nor a URL both variables are named."""
    (finding,) = await check_account(Settings())
    assert finding.severity == "error"
    assert "FAL_KEY" in finding.remedy
    assert "PREFECT_LTX_FAL_URL" in finding.remedy


@pytest.mark.parametrize("key", ["without-a-colon", "two words:secret", "half-a-key:"])
async def test_malformed_key(key: str, ltx_env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that fal would refuse is told by its shape, and is not repeated."""
    monkeypatch.setenv("FAL_KEY", key)
    found = await check_account(Settings())
    assert [each.check for each in bad(found)] == ["key"]
    assert key not in str(found)


async def test_refused_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of the right shape that fal does not know is an error, after a free read."""
    with LocalFal(key="another-id:another-secret-of-theirs") as fal:
        monkeypatch.setenv("PREFECT_LTX_FAL_URL", fal.url)
        monkeypatch.setenv("FAL_KEY", SECRET)
        found = await check_account(Settings())
    assert [(each.check, each.severity) for each in bad(found)] == [("key", "error")]
    assert SECRET.partition(":")[2] not in str(found)


async def test_host_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that cannot be reached is named, and reading stops there."""
    monkeypatch.setenv("PREFECT_LTX_FAL_URL", "http://127.0.0.1:9")
    found = await check_account(Settings())
    assert {(each.check, each.severity) for each in bad(found)} == {("hosts", "error")}


@pytest.mark.parametrize(
    ("name", "value"), [("ALL_PROXY", "socks5://127.0.0.1:9"), ("NO_PROXY", "[fe80::1]")]
)
async def test_a_proxy_setting_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A proxy of the environment that httpx does not take is a finding with its remedy, not a raw error (E9)."""
    monkeypatch.setenv("PREFECT_LTX_FAL_URL", "http://127.0.0.1:9")
    monkeypatch.setenv(name, value)
    (hosts,) = bad(await check_account(Settings()))
    assert (hosts.check, hosts.severity) == ("hosts", "error")
    assert "proxy" in str(hosts).lower()


async def test_what_the_key_may_read(ltx_env: Path, fal: LocalFal) -> None:
    """A key that may not list requests is a warning: lost answers could only be parked."""
    fal.faults.add("listing_forbidden")
    fal.faults.add("billing_forbidden")
    found = await check_account(Settings())
    assert [each.check for each in bad(found)] == ["listing"]
    assert [each.check for each in found if each.severity == "info"] == ["billing"]


async def test_clock(ltx_env: Path, fal: LocalFal) -> None:
    """The clock is held against the Date header of fal's answers."""
    (clock,) = [each for each in await check_account(Settings()) if each.check == "clock"]
    assert clock.severity == "ok"


def test_ffmpeg_without_an_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ffmpeg that cannot encode what recipes need is an error that names it."""
    script = tmp_path / "ffmpeg"
    script.write_text("#!/bin/sh\necho 'ffmpeg version 4.0 of nobody'\necho ' V....D libx264 H.264'\n")
    script.chmod(0o755)
    monkeypatch.setenv("FFMPEG_BINARY", str(script))
    (finding,) = bad(check_machine(Settings()))
    assert "aac (sound)" in finding.what
    assert "libx264" not in finding.what
    monkeypatch.setenv("FFMPEG_BINARY", str(tmp_path / "missing"))
    assert bad(check_machine(Settings()))[0].check == "ffmpeg"


def test_ledger_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is no ledger, and one that does not answer, are errors without the password."""
    (tmp_path / "no.db").write_text("not a database, not at all, " * 40)
    monkeypatch.setenv("PREFECT_LTX_LEDGER", f"sqlite:///{tmp_path / 'no.db'}")
    assert [each.severity for each in check_ledger(Settings())] == ["error"]
    monkeypatch.setenv("PREFECT_LTX_LEDGER", "postgresql://me:pass-w0rd@127.0.0.1:9/ledger")
    (finding,) = check_ledger(Settings())
    assert finding.severity == "error"
    assert "pass-w0rd" not in finding.model_dump_json()


@pytest.mark.parametrize("url", ["sqlit:///l.db", "postgresql+asyncpg://me:pass-w0rd@host/db", "/data/l.db"])
def test_ledger_url_that_is_none(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL of no ledger comes with both forms in full, and without the password."""
    monkeypatch.setenv("PREFECT_LTX_LEDGER", url)
    (finding,) = check_ledger(Settings())
    assert finding.severity == "error"
    assert "sqlite:////absolute/path/ledger.db" in finding.remedy
    assert "postgresql://host/database" in finding.remedy
    assert "user:password@" in finding.remedy
    assert "pass-w0rd" not in finding.model_dump_json()


def test_ledger_in_postgresql(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL is opened, its clock is held against ours, and what no transaction can set is named."""
    Ledger(postgres_url).close()
    engine = create_engine(make_url(postgres_url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE ltx_upload SET UNLOGGED"))
    engine.dispose()
    monkeypatch.setenv("PREFECT_LTX_LEDGER", postgres_url)

    found = check_ledger(Settings())

    # The tests' own server does without both, to be quick.
    assert [each.severity for each in bad(found)] == ["warning"] * 3
    fsync, pages, unlogged = (each.what for each in bad(found))
    assert "fsync=off" in fsync
    assert "full_page_writes=off" in pages
    assert "UNLOGGED): ltx_upload" in unlogged


async def test_archive_that_is_not_write_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place that cannot be written is an error; one that can leaves no probe behind."""
    place = tmp_path / "file"
    place.write_text("in the way")
    monkeypatch.setenv("PREFECT_LTX_ARCHIVE", str(place))
    assert [each.severity for each in await check_archive(Settings())] == ["error"]
    monkeypatch.setenv("PREFECT_LTX_ARCHIVE", str(tmp_path / "archive"))
    assert bad(await check_archive(Settings())) == []
    assert list((tmp_path / "archive").iterdir()) == []


@pytest.mark.parametrize(
    ("environ", "says", "remedy"),
    [
        ({"PREFECT_LTX_LEDGR": "x"}, "no setting is called so", "PREFECT_LTX_LEDGER"),
        ({"PREFECT_LTX_DISTRIBUTED": "yes"}, "SQLite ledger", "postgresql://"),
        ({"PREFECT_LTX_C2PA_CERTIFICATE": "/a.pem"}, "without PREFECT_LTX_C2PA_KEY", "neither"),
        ({"PREFECT_LTX_C2PA_KEY": "/a.pem"}, "without PREFECT_LTX_C2PA_CERTIFICATE", "neither"),
        ({"PREFECT_LTX_LEASE_SECONDS": "5"}, "loses its work", "120"),
        ({"PREFECT_LTX_FAL_URL": "", "PREFECT_LTX_ABSENCE_IS_PROOF": "yes"}, "paid for twice", "--live"),
        ({"PREFECT_LTX_FAL_URL": "", "PREFECT_LTX_LISTING_LAG_SECONDS": "1"}, "LISTING_LAG", "600 s"),
        ({"PREFECT_LTX_FAL_URL": ""}, "No budget", "PREFECT_LTX_BUDGET_USD"),
    ],
)
async def test_settings_that_cannot_work(
    environ: dict[str, str], says: str, remedy: str, ltx_env: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each combination that is known not to work is found; nothing is asked of fal for it."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    found = [each for each in bad(await check_settings(Settings())) if says in each.what]
    assert len(found) == 1
    assert remedy in found[0].remedy


@pytest.mark.parametrize(
    ("versions", "severity"),
    [
        ({"prefect": "3.9.1", "fastapi": "0.150.0", "sqlalchemy": "2.0.58"}, "ok"),
        ({"prefect": "3.9.1", "fastapi": "0.150.0", "sqlalchemy": "2.1.9"}, "ok"),
        ({"prefect": "3.9.1", "fastapi": "0.155.0", "sqlalchemy": "2.1.9"}, "error"),
        ({"prefect": "3.9.1", "fastapi": "0.150.0", "sqlalchemy": "2.1.9", "websockets": "99"}, "error"),
        ({"prefect": "3.8.8", "fastapi": "0.150.0", "sqlalchemy": "2.0.58"}, "error"),
        ({"prefect": "3.7.0", "fastapi": "0.150.0", "sqlalchemy": "2.0.58"}, "error"),
    ],
)
def test_versions_that_break_prefect(versions: dict[str, str], severity: str) -> None:
    """Releases that were measured not to work together are told by their numbers."""
    assert check_versions(versions)[-1].severity == severity


def doctor(environ: dict[str, str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, "-m", "prefect_ltx.cli", "doctor", "--json", *arguments],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stdout + done.stderr


def without_server() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}


def test_command_ends_with_1_where_something_is_wrong(ltx_env: Path) -> None:
    """One JSON document, exit code 1 for an error and 0 for warnings, and no secret in either stream."""
    environ = without_server()
    code, data, said = doctor(environ)
    assert (code, data["ok"]) == (0, True)
    assert [each["check"] for each in data["findings"] if each["severity"] == "warning"] == ["prefect"]
    assert SECRET.partition(":")[2] not in said
    code, data, said = doctor(environ | {"PREFECT_LTX_LEDGER": "postgresql://me:pass-w0rd@127.0.0.1:9/db"})
    assert (code, data["ok"]) == (1, False)
    assert "pass-w0rd" not in said


def test_live_needs_a_yes(ltx_env: Path, fal: LocalFal) -> None:
    """Without consent --live shows the price, stops, and sends nothing."""
    code, _, said = doctor(without_server(), "--live")
    assert code == 1
    assert "at most $0.043335" in said
    assert "Nothing was sent or spent" in said
    assert submits(fal) == 0
