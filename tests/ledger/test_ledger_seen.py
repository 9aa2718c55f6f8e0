"""Two machines at one ledger are told from one machine that was rebooted."""

from pathlib import Path

from prefect_ltx.ledger import Ledger
from prefect_ltx.ledger.database import Database
from prefect_ltx.ledger.seen import Machine, machines, note


def elsewhere(boot: str) -> Machine:
    return Machine(boot, f"host-of-{boot}", 0, 0)


def opened(url: str, boot: str, at: float) -> list[str]:
    """What a machine is told that opens the ledger then."""
    database = Database(url)
    try:
        return database.write(lambda tx: [each.host for each in note(tx, at, elsewhere(boot))])
    finally:
        database.close()


def test_alone_on_one_machine(ledger_url: str) -> None:
    """A machine that opens its ledger again and again, from many processes, is alone."""
    with Ledger(ledger_url) as ledger, Ledger(ledger_url) as again:
        assert ledger.note_machine() == again.note_machine() == ledger.note_machine() == []


def test_a_reboot_is_no_other_machine(ledger_url: str) -> None:
    """A boot that is never seen again after the next one was the same machine."""
    Ledger(ledger_url).close()
    assert opened(ledger_url, "first", 100) == []
    assert opened(ledger_url, "second", 200) == []
    assert opened(ledger_url, "second", 300) == []
    assert opened(ledger_url, "third", 400) == []


def test_two_machines_know_of_each_other_once_the_first_comes_back(ledger_url: str) -> None:
    """A boot that was here before and after another's ran all the while: both machines are told."""
    Ledger(ledger_url).close()
    assert opened(ledger_url, "one", 100) == []
    assert opened(ledger_url, "two", 200) == []
    assert opened(ledger_url, "one", 300) == ["host-of-two"]
    assert opened(ledger_url, "two", 400) == ["host-of-one"]


def test_boots_of_long_ago_are_forgotten(tmp_path: Path) -> None:
    """A ledger of years does not keep a note of every boot."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    Ledger(url).close()
    month = 30 * 24 * 3600
    for number in range(5):
        opened(url, f"boot-{number}", number * month * 2)
    assert [each.boot for each in Database(url).read(machines)] == ["boot-4"]
