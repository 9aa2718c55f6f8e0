"""How much a service is believed: what is set, what it says of itself, and nothing of what only looks like it."""

from pathlib import Path

import pytest

from prefect_ltx.fal import FAL, FalHosts, Service, custom_service
from prefect_ltx.generation import Options
from prefect_ltx.settings import Settings

EMBEDDED = Service("embedded", "embedded:1", listing_lag=5.0, lists_unfinished=True)
HIDES = Service("embedded", "embedded:1", listing_lag=0.0, lists_unfinished=False)
CUSTOM = custom_service(FalHosts.from_base_url("http://gateway.example:8080"))


@pytest.mark.parametrize(
    ("service", "is_set", "lag", "proof", "lists_unfinished"),
    [
        (FAL, "", 600, False, False),
        (CUSTOM, "", 600, False, False),
        (EMBEDDED, "", 5, True, True),
        (HIDES, "", 0, True, False),
        (FAL, "yes", 600, True, True),
        (CUSTOM, "yes", 600, True, True),
        (HIDES, "yes", 0, True, False),
        (EMBEDDED, "no", 5, False, True),
    ],
)
def test_only_an_embedded_fal_is_believed_by_its_own_word(
    service: Service,
    is_set: str,
    lag: float,
    proof: bool,
    lists_unfinished: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A custom URL gets fal's careful defaults; a listing that hides what runs proves nothing, whatever is set."""
    monkeypatch.setenv("PREFECT_LTX_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_LTX_ABSENCE_IS_PROOF", is_set)
    options = Options.from_settings(Settings(), service)
    found = (options.listing_lag, options.absence_is_proof, options.lists_unfinished)
    assert found == (lag, proof, lists_unfinished)
