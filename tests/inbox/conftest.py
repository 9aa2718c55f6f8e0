from pathlib import Path

import pytest
from inbox_parts import Place
from s3_servers import S3Server


@pytest.fixture
def bucket(moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A prefix of an empty bucket, and the environment of somebody who may use it."""
    for name, value in moto.environ.items():
        monkeypatch.setenv(name, value)
    return Place(f"s3://{moto.new_bucket()}/in/box", moto.client())


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
