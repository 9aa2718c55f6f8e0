"""A fresh Prefect server that the tests of deployments share."""

from collections.abc import Iterator

import pytest
from deployment_server import Server

from prefect_ltx.cli.prefect_server import prefect_server


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A fresh server; the first test that asks for it finds it empty."""
    home = tmp_path_factory.mktemp("prefect")
    with prefect_server(home) as url:
        server = Server(url, home)
        yield server
        server.api.close()
