"""The embedded fal's webhook key: replaced while it runs, and out of reach on demand."""

from local_fal_helpers import Caller

from prefect_ltx.local import LocalFal


def test_a_new_key_signs_beside_the_old_one_or_alone(caller: Caller) -> None:
    """The key in use stands first; the old one stays until it is taken out."""
    (first,) = caller.get("/.well-known/jwks.json").json()["keys"]
    second, old = caller.post("/_local/webhook-key").json()["keys"]
    assert (old, second["x"] != first["x"]) == (first, True)
    (third,) = caller.post("/_local/webhook-key?keep=0").json()["keys"]
    assert third["x"] not in (first["x"], second["x"])
    assert caller.get("/.well-known/jwks.json").json()["keys"] == [third]


def test_the_key_set_can_be_out_of_reach(fal: LocalFal, caller: Caller) -> None:
    """jwks_5xx, until it is cleared."""
    fal.faults.add("jwks_5xx")
    assert caller.get("/.well-known/jwks.json").status_code == 503
    fal.faults.clear()
    assert caller.get("/.well-known/jwks.json").status_code == 200
