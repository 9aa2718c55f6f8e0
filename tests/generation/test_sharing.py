"""What several machines cannot share is refused before anything is sent, in one line with its remedy."""

from pathlib import Path

import pytest
from support import submits

from prefect_ltx.archive import Archive
from prefect_ltx.generation import Services, refuse_unshared
from prefect_ltx.generation.sharing import network_file_system
from prefect_ltx.ledger import Ledger
from prefect_ltx.ledger.database import Database
from prefect_ltx.ledger.seen import Machine, note
from prefect_ltx.local import LocalFal
from prefect_ltx.settings import Settings, SettingsError


def used_elsewhere(url: str) -> None:
    """Another machine opens the ledger, after this one did."""
    Database(url).write(lambda connection: note(connection, 2e9, Machine("another-boot", "render-02", 0, 0)))


def test_one_machine_may_use_a_file_and_a_folder(ltx_env: Path) -> None:
    """Where nothing says otherwise, SQLite and a folder are what they were: fine."""
    Services.from_settings(Settings()).ledger.ledger.close()


def test_distributed_refuses_a_sqlite_ledger(
    ltx_env: Path, fal: LocalFal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PREFECT_LTX_DISTRIBUTED with a ledger in a file stops, and names the setting that helps."""
    monkeypatch.setenv("PREFECT_LTX_DISTRIBUTED", "1")
    with pytest.raises(SettingsError) as caught:
        Services.from_settings(Settings())
    text = str(caught.value)
    assert "PREFECT_LTX_LEDGER to a postgresql:// URL" in text
    assert "Nothing was sent or spent" in text
    assert "\n" not in text
    assert submits(fal) == 0


def test_distributed_refuses_a_folder_and_takes_a_bucket(
    ltx_env: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a shared ledger the archive has to be shared as well."""
    monkeypatch.setenv("PREFECT_LTX_DISTRIBUTED", "yes")
    monkeypatch.setenv("PREFECT_LTX_LEDGER", postgres_url)
    with pytest.raises(SettingsError, match="PREFECT_LTX_ARCHIVE to s3://bucket/prefix"):
        Services.from_settings(Settings())
    monkeypatch.setenv("PREFECT_LTX_ARCHIVE", "s3://bucket/films")
    Services.from_settings(Settings()).ledger.ledger.close()


def test_a_step_without_an_archive_is_not_asked_for_one(tmp_path: Path, postgres_url: str) -> None:
    """Submitting needs the ledger only: an archive that it does not use does not stop it."""
    with Ledger(postgres_url) as ledger:
        refuse_unshared(ledger, None, Settings(), "the pool says so")
        with pytest.raises(SettingsError, match="^The pool says so, and the archive"):
            refuse_unshared(ledger, Archive(tmp_path), Settings(), "the pool says so")


def test_a_file_that_another_machine_uses_is_refused(ltx_env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SQLite ledger on a share is found out by who opened it; a person may say that it is one machine."""
    url = Settings().ledger_url
    Services.from_settings(Settings()).ledger.ledger.close()
    used_elsewhere(url)
    with pytest.raises(SettingsError, match="render-02 uses this ledger as well"):
        Services.from_settings(Settings())
    monkeypatch.setenv("PREFECT_LTX_DISTRIBUTED", "no")
    Services.from_settings(Settings()).ledger.ledger.close()


def test_network_file_systems_are_told_by_the_longest_mount(tmp_path: Path) -> None:
    """The mount that a path lies on decides, not one above it."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        f"2 1 0:9 / {tmp_path}/with\\040space rw shared:1 - nfs4 server:/export rw\n"
        f"3 2 8:2 / {tmp_path}/with\\040space/disk rw - xfs /dev/sdb1 rw\n"
    )
    assert network_file_system(tmp_path / "films", mounts) is None
    assert network_file_system(tmp_path / "with space" / "films", mounts) == "nfs4"
    assert network_file_system(tmp_path / "with space" / "disk" / "films", mounts) is None
    assert network_file_system(tmp_path, tmp_path / "missing") is None
