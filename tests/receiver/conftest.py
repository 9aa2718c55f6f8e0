"""A receiver in a process of its own, beside an embedded fal that hands out one stored clip."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import environment
from webhook_parts import Receiving, Signer, receiver

from prefect_ltx.ledger import Ledger
from prefect_ltx.local import LocalFal


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ledger and log of the tests' receiver are. One start takes seconds, so they share it."""
    return tmp_path_factory.mktemp("receiver")


@pytest.fixture(scope="session")
def fal(folder: Path) -> Iterator[LocalFal]:
    with LocalFal(renderer="stored-clip", data=folder / "fal") as running:
        yield running


@pytest.fixture(scope="session")
def ledger(fal: LocalFal, folder: Path) -> Iterator[Ledger]:
    with Ledger(environment(fal.url, folder)["PREFECT_LTX_LEDGER"]) as opened:
        yield opened


@pytest.fixture
def signer(fal: LocalFal) -> Signer:
    return Signer(fal)


@pytest.fixture(scope="session")
def hook(fal: LocalFal, ledger: Ledger, folder: Path) -> Iterator[Receiving]:
    with receiver(fal.url, folder, "--jwks-floor", "1") as running:
        yield running
