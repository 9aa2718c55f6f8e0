from pathlib import Path

import pytest
from archive_parts import Place
from s3_servers import S3Server

from prefect_ltx.archive import Archive


@pytest.fixture(params=["folder", "moto", pytest.param("swift", marks=pytest.mark.real_s3)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return Place("folder", Archive(tmp_path / "archive"))
    server: S3Server = request.getfixturevalue(request.param)
    bucket = server.new_bucket()
    return Place(request.param, server.archive(bucket), server, bucket)
