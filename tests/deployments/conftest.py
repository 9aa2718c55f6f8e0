"""A fresh Prefect server that the tests of deployments share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from deployment_server import Server

from prefect_ltx.cli.prefect_server import prefect_server


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory, prefect_home: Callable[[Path], Path]) -> Iterator[Server]:
    """A fresh server; the first test that asks for it finds it empty."""
    home = prefect_home(tmp_path_factory.mktemp("fresh") / "prefect")
    with prefect_server(home) as url:
        server = Server(url, home)
        yield server
        server.api.close()
