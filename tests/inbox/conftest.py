import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from inbox_parts import Place


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """moto's server: its conditional writes are right."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A prefix of an empty bucket, and the environment of somebody who may use it."""
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": s3_url,
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": "a-secret-that-is-never-shown",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    return Place(f"s3://{name}/in/box", client)


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "s3":
        found: Place = request.getfixturevalue("bucket")
        return found
    (tmp_path / "in").mkdir()
    return Place(str(tmp_path / "in"))


@pytest.fixture(scope="session")
def clip(media_folder: Path) -> bytes:
    return (media_folder / "clip.mp4").read_bytes()
