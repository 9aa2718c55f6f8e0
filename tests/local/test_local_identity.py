"""By what a client knows the embedded fal, and nothing else: its well-known page, its id, its port."""

from pathlib import Path
from typing import Any

import pytest
from local_fal_helpers import Caller

from prefect_ltx.local import LocalFal

PAGE = "/.well-known/prefect-ltx-local-fal"


def said_by(url: str, **options: Any) -> dict[str, Any]:
    with Caller(url) as caller:
        said: dict[str, Any] = caller.get(PAGE, **options).raise_for_status().json()
    return said


def test_it_says_who_it_is_without_a_key() -> None:
    """Asked without a key, also where a key is needed for everything else."""
    with LocalFal(key="me:secret") as fal:
        said = said_by(fal.url)
    assert said == {
        "prefect_ltx_local_fal": fal_id(said),
        "port": int(fal.url.rpartition(":")[2]),
        "listing_lag_seconds": 0,
        "lists_unfinished": True,
    }


def fal_id(said: dict[str, Any]) -> str:
    name = said["prefect_ltx_local_fal"]
    assert len(str(name)) == 32
    return str(name)


def test_the_id_stays_with_the_data_folder_and_the_port_does_not(tmp_path: Path) -> None:
    """Started again on the same folder it is the same server; on another folder it is another."""
    with LocalFal(data=tmp_path / "one") as fal:
        first = said_by(fal.url)
        assert first["prefect_ltx_local_fal"] == fal.id
        with LocalFal(data=tmp_path / "two") as other:
            assert other.id != fal.id
            with LocalFal(data=tmp_path / "three"):
                pass
    with LocalFal(data=tmp_path / "one") as again:
        second = said_by(again.url)
        assert second["port"] == int(again.url.rpartition(":")[2])
    assert second["prefect_ltx_local_fal"] == first["prefect_ltx_local_fal"]


def test_the_port_is_the_sockets_whatever_the_host_header_says(fal: LocalFal) -> None:
    """What a proxy in front passes on shows a port that is not the proxy's."""
    port = int(fal.url.rpartition(":")[2])
    for host in ("127.0.0.1:1", "rest.fal.ai", "queue.fal.run:8443"):
        assert said_by(fal.url, headers={"host": host})["port"] == port


@pytest.mark.parametrize(
    ("knob", "value", "lag", "unfinished"),
    [
        ("listing_lag_seconds", 5, 5, True),
        ("listing_hides_queued", None, 0, False),
    ],
)
def test_it_tells_the_truth_about_its_listing(
    fal: LocalFal, knob: str, value: float | None, lag: float, unfinished: bool
) -> None:
    """As the knobs stand now, and again after they are off."""
    fal.faults.add(knob, value=value)
    said = said_by(fal.url)
    assert (said["listing_lag_seconds"], said["lists_unfinished"]) == (lag, unfinished)
    fal.faults.clear()
    said = said_by(fal.url)
    assert (said["listing_lag_seconds"], said["lists_unfinished"]) == (0, True)


def test_it_can_hide_who_it_is(fal: LocalFal, caller: Caller) -> None:
    """unidentified: 404 as for any page that fal does not have; everything else goes on."""
    fal.faults.add("unidentified")
    assert caller.get(PAGE).status_code == 404
    assert caller.get("/v1/meta").status_code == 200
    fal.faults.clear()
    assert caller.get(PAGE).status_code == 200
