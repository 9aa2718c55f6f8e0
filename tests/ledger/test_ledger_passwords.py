"""A password in a database URL, however it is written, is in no message."""

import pytest
from pydantic import SecretStr

from prefect_ltx.blocks import GenerationLedger
from prefect_ltx.doctor.storage import check_ledger
from prefect_ltx.fal import plain, strip_url
from prefect_ltx.ledger import Ledger, LedgerError
from prefect_ltx.ledger.database import Database
from prefect_ltx.settings import Settings, SettingsError

PASSWORDS = (
    "hush@TAIL", "hush@TAIL/more", "hush@TAIL@more", "@TAIL", "TAIL@", "hush:TAIL", "hush/TAIL", "hush#TAIL",
    "hush?TAIL", "hush%TAIL", "hush%40TAIL", "hush@TAIL:more", "hush@TAIL?more", "hush@TAIL#more", "hush/@TAIL",
    "hush#@TAIL", "[TAIL]", "hush@[TAIL", "hush TAIL", "hush&TAIL=x",
)  # fmt: skip
URLS = (
    "postgresql://hana:{}@127.0.0.1:9/ledger",
    "postgres://hana:{}@127.0.0.1:9/ledger?sslmode=disable",
    "postgresql+asyncpg://hana:{}@127.0.0.1:9/ledger",
    "mysql://hana:{}@127.0.0.1:9/ledger",
    "postgresql://127.0.0.1:9/ledger?user=hana&password={}",
)


def test_no_message_holds_a_part_of_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening, the doctor, the settings, a block, and what cleans messages: none shows a character of it."""
    for url in URLS:
        for password in PASSWORDS:
            text = url.format(password)
            said: list[str] = [
                strip_url(text),
                plain(f"cannot open {text!s} now") if " " not in password else "",
            ]
            said.append(repr(GenerationLedger(url=SecretStr(text))))
            try:
                said.append(Database(text).name)
            except LedgerError as refused:
                # Refused before anything is connected to, so everybody else may be asked as well.
                said += [str(refused), repr(refused)]
                monkeypatch.setenv("PREFECT_LTX_LEDGER", text)
                try:
                    said += [f"{each.what} {each.remedy}" for each in check_ledger(Settings())]
                    GenerationLedger(url=SecretStr(text)).get_ledger()
                except (SettingsError, LedgerError) as error:
                    said.append(str(error))
            shown = [line for line in said if "TAIL" in line or "hush" in line]
            assert shown == [], (text, shown)


def test_an_at_sign_that_is_not_escaped_is_refused_with_the_remedy() -> None:
    """It cannot be told where the host begins; %40 says so."""
    for password in ("p@ss", "p@ss/x", "@", "p@s:s"):
        with pytest.raises(LedgerError, match="%40"):
            Ledger(f"postgresql://hana:{password}@host/ledger", lease_seconds=120)
    assert Database("postgresql://hana:p%40ss@host/ledger").name.endswith("hana:***@host/ledger")
