"""Settings as .env files, shells and web pages leave them, and places that are no places."""

import pytest

from prefect_ltx.archive import Archive, ArchiveKeyInvalid
from prefect_ltx.inbox import Inbox
from prefect_ltx.ledger import Ledger, LedgerUnavailable
from prefect_ltx.places import settle_environment
from prefect_ltx.settings import Settings

KEY = "11111111-2222-3333-4444-555555555555:abc"


@pytest.mark.parametrize("around", ['"{}"', "'{}'", " {}\n", "\u00a0{}\u200b", "“{}”", '" {} "'])
def test_what_surrounds_a_setting_means_nothing(around: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """E8: quotes and blanks around a key, a URL, a place or a number are not part of it."""
    for name, value in {
        "FAL_KEY": KEY,
        "PREFECT_LTX_FAL_URL": "https://h.test",
        "PREFECT_LTX_ARCHIVE": "s3://bucket/x",
        "PREFECT_LTX_LEDGER": "sqlite:////data/l.db",
        "PREFECT_LTX_HOME": "/data/home",
        "PREFECT_LTX_BUDGET_USD": "5",
    }.items():
        monkeypatch.setenv(name, around.format(value))
    for _ in range(2):
        found = Settings()
        assert found.fal_key is not None
        assert found.fal_key.get_secret_value() == KEY
        assert (found.fal_url, found.archive, found.budget_usd) == ("https://h.test", "s3://bucket/x", 5)
        assert (found.ledger, str(found.home)) == ("sqlite:////data/l.db", "/data/home")
        settle_environment()


def test_a_wrong_setting_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error about a setting does not repeat what was set."""
    monkeypatch.setenv("PREFECT_LTX_BUDGET_USD", "secret-of-somebody")
    with pytest.raises(ValueError, match="budget_usd") as found:
        Settings()
    assert "secret-of-somebody" not in str(found.value)


def test_a_place_that_cannot_be_one_is_an_error_of_its_room() -> None:
    """E7, E8: a home that is not there, and # in a bucket's prefix, in archive, inbox and ledger."""
    for place in ("~nosuchuser/a", "s3://bucket/a#b"):
        with pytest.raises(ArchiveKeyInvalid, match="no home folder|without #|no # in it"):
            Archive(place)
    with pytest.raises(ArchiveKeyInvalid, match="no home folder"):
        Inbox("~nosuchuser/in")
    with pytest.raises(LedgerUnavailable, match="no home folder"):
        Ledger("sqlite:///~nosuchuser/l.db")
