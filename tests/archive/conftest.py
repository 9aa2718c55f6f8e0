import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from archive_parts import SECRET, Place, S3Server

from prefect_ltx.archive import Archive


@pytest.fixture(scope="session")
def moto() -> Iterator[S3Server]:
    """moto's server: conditional writes and races are right; it verifies no checksum and no signature."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield S3Server(f"http://127.0.0.1:{port}")
    server.stop()


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """OpenStack Swift: checksums, signatures and multipart are real; its conditional writes are not atomic."""
    if importlib.util.find_spec("swift") is None:
        pytest.skip("swift is not installed (pip install swift)")
    command = [sys.executable, str(Path(__file__).with_name("swift_server.py"))]
    folder = tmp_path_factory.mktemp("swift")
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            [*command, str(folder), "test:tester", SECRET], stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, (folder / "log").read_text()
        yield S3Server(url)
        process.kill()


@pytest.fixture(params=["folder", "moto", pytest.param("swift", marks=pytest.mark.real_s3)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return Place("folder", Archive(tmp_path / "archive"))
    server: S3Server = request.getfixturevalue(request.param)
    bucket = server.new_bucket()
    return Place(request.param, server.archive(bucket), server, bucket)
