"""Whose account a key belongs to: an identity that survives a rotated key.

A generation's key holds the account, so an account that looks like another one buys everything again. It is known,
in this order: by what the ledger remembers of this key, by the name that the user gives it, by the name that fal
gives it (`GET /account/billing`, where the key may ask). Where the ledger knows this service under another key and
nothing names the account, nobody can tell whether both keys are one account's: then nothing is bought before a
person has said so.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from prefect_ltx.fal import GenerationRequest
from prefect_ltx.ledger import Generation, KnownAccount
from prefect_ltx.ledger.key import generation_keys
from prefect_ltx.settings import SettingsError

NamedBy = Literal["user", "fal", "none"]


class AccountUnclear(SettingsError):
    """Nobody can tell whether this key's account is one that the ledger knows already. Nothing was sent or spent."""


@dataclass(frozen=True, slots=True)
class Account:
    """In whose name a process acts.

    `id` stands in the rows and in the keys of generations; `key_id` is the fingerprint of service and key id.
    `unclear` says why nothing may be bought in its name, where that is so.
    """

    id: str
    key_id: str
    service: str
    name: str = ""
    named_by: NamedBy = "none"
    unclear: str = ""

    def check(self) -> None:
        """Refuse to buy in the name of an account that nobody can tell.

        Raises:
            AccountUnclear: how to answer. Nothing was sent or spent.
        """
        if self.unclear:
            raise AccountUnclear(self.unclear)


def decide(
    known: Collection[KnownAccount],
    *,
    key_id: str,
    service: str,
    user_name: str = "",
    fal_name: str = "",
    row_accounts: Collection[str] = (),
) -> Account:
    """The account of a key. Pure.

    Args:
        known: what the ledger remembers: a key's fingerprint, its account, service and name.
        key_id: `FalClient.account`, the fingerprint of host and key id: the account of every row that the first
            release wrote.
        service: `Service.id`.
        user_name: PREFECT_LTX_ACCOUNT or the credentials block's field.
        fal_name: the user name that fal gives.
        row_accounts: accounts that have rows on this service, or rows of the first release, which name no service.
    """
    here = [each for each in known if each.service == service]
    mine = next((each for each in here if each.key_id == key_id), None)
    if user_name:
        same = next((each for each in here if each.named_by == "user" and each.name == user_name), None)
        if same is not None:
            account_id = same.account
        elif mine is not None and mine.named_by != "user":
            account_id = mine.account  # the same key, which has a name from now on
        else:
            account_id = key_id if key_id in row_accounts else _named_id(service, user_name)
        return Account(account_id, key_id, service, user_name, "user")
    if mine is not None:
        return Account(mine.account, key_id, service, mine.name or "", mine.named_by)
    named_by: NamedBy = "fal" if fal_name else "none"
    if fal_name:
        same = next((each for each in here if each.named_by == "fal" and each.name == fal_name), None)
        if same is not None:
            return Account(same.account, key_id, service, fal_name, "fal")
    account = Account(key_id, key_id, service, fal_name, named_by)
    if key_id in row_accounts:
        return account  # the first release bought with this very key
    # Two accounts that fal itself names differently are two; of all others nobody can tell.
    doubtful = {each.account for each in here if not fal_name or each.named_by != "fal"}
    doubtful |= set(row_accounts) - {each.account for each in known}
    return replace(account, unclear=_question(service, sorted(doubtful))) if doubtful else account


def keys_elsewhere(
    known: Collection[KnownAccount], account: Account, request: GenerationRequest, media: Mapping[str, str]
) -> tuple[str, ...]:
    """The keys that this very request has in the other accounts of the same service.

    None where the user named the account: fal may call two keys of one team by different names, a person does not.
    `media` is the content sha256 of each media field.
    """
    if account.named_by == "user":
        return ()
    others = {each.account for each in known if each.service == account.service} - {account.id}
    return tuple(
        key
        for other in sorted(others)
        for key in generation_keys(other, request.ENDPOINT, request.body(), media)
    )


def nobody_answered(url: str) -> str:
    """Why nothing is bought at a server that has not said what it is: its rows would be those of another service."""
    return (
        f"The server at {url} could not be asked which service it is, and this ledger does not know the key yet, so "
        "what is bought could not be found again. Nothing was sent or spent. Run it again once the server answers."
    )


def bought_elsewhere(row: Generation) -> AccountUnclear:
    """The question in place of buying what another account has bought."""
    return AccountUnclear(
        f"This very request is generation {row.id} ({row.state}) of account {row.account} in this ledger, bought "
        f"with another key. Nothing was sent or spent. {_ANSWERS}"
    )


_ANSWERS = (
    "If both keys are of the same account, run `prefect-ltx ledger account same`; if this key is of another one, set "
    "PREFECT_LTX_ACCOUNT to a name for it (the same name wherever its keys are used)."
)


def _question(service: str, accounts: list[str]) -> str:
    which = f"account {accounts[0]}" if len(accounts) == 1 else f"accounts {', '.join(accounts)}"
    return (
        f"This ledger knows {service} under another key ({which}), and nothing says whether this key is of the "
        f"same account. Nothing was sent or spent. {_ANSWERS}"
    )


def _named_id(service: str, name: str) -> str:
    return hashlib.sha256(f"{service}\nname\n{name}".encode()).hexdigest()[:16]
