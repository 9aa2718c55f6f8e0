"""Every answer has an end, whatever its sender says: keys, who a server is, and files that are packed."""

import gzip
from pathlib import Path

import pytest
from fal_wire import Answer, Wire

from prefect_ltx.fal import FalClient, FalDownloadError, FalError

KEYS = "/.well-known/jwks.json"


@pytest.mark.parametrize("body", ["endless", "packed", "long"])
async def test_a_key_set_without_an_end_is_given_up_early(client: FalClient, wire: Wire, body: str) -> None:
    """A key set has a few hundred bytes: after a megabyte it is refused."""
    packed = {"content-encoding": "gzip"}
    wire.on(
        KEYS,
        {
            "endless": Answer(200, end="endless"),
            "packed": Answer(200, gzip.compress(b" " * (64 << 20)), packed, end="close"),
            "long": Answer(200, b'{"keys": [' + b" " * (4 << 20), end="close"),
        }[body],
    )
    with pytest.raises(FalError, match="far too large"):
        await client.webhook_keys(refresh=True)
    assert len(wire.seen) <= 6


async def test_a_packed_file_is_bounded_by_what_it_unpacks_to(
    client: FalClient, wire: Wire, tmp_path: Path
) -> None:
    """Content-Length is that of the packed bytes: the ceiling counts what is written."""
    body = gzip.compress(b"v" * (160 << 20))
    assert len(body) < 1 << 20
    wire.on("/files/v.mp4", Answer(200, body, {"content-encoding": "gzip"}))
    with pytest.raises(FalDownloadError, match="longer than"):
        await client.download(f"{wire.url}/files/v.mp4", tmp_path / "v.mp4", expected_size=1000)
    assert list(tmp_path.iterdir()) == []
