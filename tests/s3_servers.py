"""S3 servers of the tests' own: moto, whose conditional writes are right, and OpenStack Swift, a real store."""

import functools
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

if TYPE_CHECKING:
    from prefect_ltx.archive import Archive

SECRET = "a-secret-that-is-never-shown"
REGION = "us-east-1"


class NoSwift(Exception):
    """It is not installed here."""


@functools.cache
def _client(url: str, key: str, secret: str) -> Any:
    import boto3  # only where a bucket is asked for

    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name=REGION,
    )


@dataclass
class S3Server:
    """An S3 server on loopback and how to reach it."""

    url: str
    key: str = "test:tester"
    secret: str = field(default=SECRET, repr=False)

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def environ(self) -> dict[str, str]:
        """The variables of a user of this server."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def client(self) -> Any:
        return _client(self.url, self.key, self.secret)

    def new_bucket(self) -> str:
        name = f"bucket-{uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name

    def make_public(self, bucket: str, prefix: str) -> str:
        """Let everybody read a bucket of Swift's; the address at which a browser finds what is below `prefix`."""
        self.client().put_bucket_acl(Bucket=bucket, ACL="public-read")
        return f"{self.url}/v1/AUTH_{self.key.partition(':')[0]}/{bucket}/{quote(prefix)}"

    def archive(self, bucket: str, prefix: str = "films/2026", **options: Any) -> "Archive":
        from prefect_ltx.archive import Archive

        settings = {"endpoint_url": self.url, "key": self.key, "secret": self.secret, "region": REGION}
        return Archive(f"s3://{bucket}/{prefix}", **{"retry_wait": 0.01, **settings, **options})


@contextmanager
def running_moto() -> Iterator[S3Server]:
    """moto's server: conditional writes and races are right; it verifies no checksum and no signature."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    try:
        yield S3Server(f"http://127.0.0.1:{port}")
    finally:
        server.stop()


@contextmanager
def running_swift(folder: Path) -> Iterator[S3Server]:
    """OpenStack Swift: checksums, signatures and multipart are real; its conditional writes are not atomic.

    Raises:
        NoSwift: it is not installed.
    """
    if importlib.util.find_spec("swift") is None:
        raise NoSwift
    key = S3Server.key
    command = [sys.executable, str(Path(__file__).with_name("swift_server.py")), str(folder), key, SECRET]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url, (folder / "log").read_text()
            yield S3Server(url)
        finally:
            process.kill()
