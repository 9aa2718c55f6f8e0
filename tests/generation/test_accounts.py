"""Whose account a key belongs to."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from prefect_ltx.generation.accounts import Account, decide
from prefect_ltx.ledger import KnownAccount

FAL = "fal.ai"


def known(
    key_id: str, account: str, name: str = "", named_by: Any = "none", service: str = FAL
) -> KnownAccount:
    return KnownAccount(key_id, service, account, name, named_by, first_seen=0.0, last_seen=0.0)


def test_the_first_key_of_a_ledger_is_its_own_account() -> None:
    """Nothing is asked where there is nothing to confuse it with."""
    assert decide([], key_id="k1", service=FAL) == Account("k1", "k1", FAL)


def test_a_key_that_is_known_keeps_its_account() -> None:
    """Whatever it was first called, and whatever fal says now."""
    seen = [known("k1", "a"), known("k2", "a"), known("k3", "b")]
    assert decide(seen, key_id="k2", service=FAL, fal_name="x").id == "a"


def test_a_rotated_key_without_a_name_is_a_question() -> None:
    """The ledger knows this service under another key, and nobody says whose this one is."""
    found = decide([known("k1", "a")], key_id="k2", service=FAL)
    assert "ledger account same" in found.unclear
    assert "PREFECT_LTX_ACCOUNT" in found.unclear


def test_a_rotated_key_with_the_users_name_is_the_same_account() -> None:
    """The user's word comes first, and a name stands for one account whatever the key."""
    seen = [known("k1", "a", "studio", "user")]
    found = decide(seen, key_id="k2", service=FAL, user_name="studio", fal_name="other")
    assert (found.id, found.unclear) == ("a", "")


def test_a_rotated_key_that_fal_calls_by_the_same_name_is_the_same_account() -> None:
    """Learned once, it needs no setting."""
    seen = [known("k1", "a", "ann", "fal")]
    assert decide(seen, key_id="k2", service=FAL, fal_name="ann").id == "a"


def test_two_names_that_fal_gives_are_two_accounts() -> None:
    """fal itself says that they differ: nothing to ask."""
    found = decide([known("k1", "a", "ann", "fal")], key_id="k2", service=FAL, fal_name="bob")
    assert (found.id, found.unclear) == ("k2", "")


def test_another_name_of_the_users_is_another_account() -> None:
    """One setting answers the question with: another."""
    found = decide([known("k1", "a")], key_id="k2", service=FAL, user_name="second")
    assert found.id not in ("a", "k1", "k2")
    assert not found.unclear


def test_a_name_given_later_belongs_to_the_account_that_the_key_has() -> None:
    """Naming an account must not make its videos unknown; nor those that the first release bought with this key."""
    assert decide([known("k1", "a")], key_id="k1", service=FAL, user_name="studio").id == "a"
    assert decide([], key_id="k1", service=FAL, user_name="studio", row_accounts=["k1"]).id == "k1"


def test_another_service_is_no_question() -> None:
    """What an embedded fal knows says nothing about fal."""
    seen = [known("k1", "a", service="embedded:1")]
    assert decide(seen, key_id="k2", service=FAL) == Account("k2", "k2", FAL)


names = st.sampled_from(["", "ann", "bob"])
entries = st.builds(
    known,
    st.sampled_from(["k1", "k2", "k3"]),
    st.sampled_from(["a", "b", "k1"]),
    st.sampled_from(["ann", "bob"]),
    st.sampled_from(["user", "fal", "none"]),
    st.sampled_from([FAL, "embedded:1"]),
)


@given(st.lists(entries, max_size=5, unique_by=lambda each: (each.key_id, each.service)), names, names)
def test_an_account_of_the_ledger_is_shared_only_for_a_reason(
    seen: list[KnownAccount], user: str, told: str
) -> None:
    """Only for the same key, or the same name from the same source; else it is a question or a new one."""
    found = decide(seen, key_id="k9", service=FAL, user_name=user, fal_name=told)
    here = [each for each in seen if each.service == FAL]
    if any(each.account == found.id for each in here):
        source = "user" if user else "fal"
        assert any(
            (each.account, each.name, each.named_by) == (found.id, user or told, source) for each in here
        )
    if here and not user and not told:
        assert found.unclear
