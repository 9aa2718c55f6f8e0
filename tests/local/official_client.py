"""fal's own Python client, unchanged, pointed at a loopback URL by its module constants (fal-protocol §9.1)."""

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import fal_client
import fal_client.client as module
import pytest


@contextmanager
def pointed_at(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[fal_client.SyncClient]:
    """A client whose five hosts are the embedded server. The constants are what its maintainers left to set."""
    monkeypatch.setattr(module, "RUN_URL_FORMAT", f"{url}/run/")
    monkeypatch.setattr(module, "QUEUE_URL_FORMAT", f"{url}/")
    monkeypatch.setattr(module, "REST_URL", url)
    monkeypatch.setattr(module, "CDN_URL", url)
    # Ten tries are part of what is shown; waiting between them is not.
    monkeypatch.setattr(module, "BASE_DELAY", 0.001)
    monkeypatch.setattr(module, "MAX_DELAY", 0.01)
    client = fal_client.SyncClient(key="me:secret", default_timeout=10)
    try:
        yield client
    finally:
        client._client.close()
        with warnings.catch_warnings():
            # It leaves its upload connections to the garbage collector, which would tell some later test.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
