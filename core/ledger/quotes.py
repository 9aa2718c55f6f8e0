"""What fal last quoted for a unit of an endpoint, by account: remembered in the ledger's own notes (`ltx_meta`)."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from sqlalchemy import Connection, select

from prefect_ltx.ledger.schema import meta

_PREFIX: Final = "price:"


@dataclass(frozen=True, slots=True)
class Quote:
    """Dollars per megapixel, as fal's pricing API answered at that time."""

    usd: Decimal
    quoted_at: datetime


def last(connection: Connection, account: str, endpoint: str) -> Quote | None:
    """The last quote for this account and endpoint."""
    value = connection.scalar(select(meta.c.value).where(meta.c.name == _name(account, endpoint)))
    if value is None:
        return None
    try:
        data = json.loads(value)
        return Quote(Decimal(data["usd"]), datetime.fromtimestamp(data["at"], UTC))
    except (ValueError, KeyError, TypeError, InvalidOperation):
        return None


def remember(connection: Connection, now: float, account: str, endpoint: str, usd: Decimal) -> None:
    """Keep a quote in place of the one before."""
    name = _name(account, endpoint)
    value = json.dumps({"usd": str(usd), "at": now, "account": account, "endpoint": endpoint})
    connection.execute(meta.delete().where(meta.c.name == name))
    connection.execute(meta.insert().values(name=name, value=value))


def _name(account: str, endpoint: str) -> str:
    # The column holds 64 characters.
    return _PREFIX + hashlib.sha256(f"{account}\n{endpoint}".encode()).hexdigest()[:40]
