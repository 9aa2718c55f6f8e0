"""The bill: what the embedded fal has charged. Readable while the server runs, after it was killed, and
from any process, because it is read from the data folder and never from the server's memory."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

from prefect_ltx.local.rows import Charge, charge_row
from prefect_ltx.local.store import DATABASE_NAME


class Bill:
    """The charges of a data folder, oldest first. Every read is fresh, until `freeze`."""

    def __init__(self, path: Path | str) -> None:
        """`path` is the data folder or the database file in it."""
        path = Path(path)
        self._path = path / DATABASE_NAME if path.is_dir() or path.suffix != ".db" else path
        self._frozen: list[Charge] | None = None

    @property
    def charges(self) -> list[Charge]:
        """Every charge, oldest first; [] where nothing was ever served from this folder."""
        if self._frozen is not None:
            return list(self._frozen)
        if not self._path.exists():
            return []
        with closing(
            sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
        ) as db:
            db.row_factory = sqlite3.Row
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'charges'").fetchone():
                return []  # a server is making the database this moment
            return [charge_row(row) for row in db.execute("SELECT * FROM charges ORDER BY at, request_id")]

    @property
    def total_usd(self) -> Decimal:
        """The sum in dollars, exactly."""
        return sum((charge.usd for charge in self.charges), Decimal(0))

    def __len__(self) -> int:
        """How many charges."""
        return len(self.charges)

    def __bool__(self) -> bool:
        """A bill without charges is a bill."""
        return True

    def __iter__(self) -> Iterator[Charge]:
        """The charges."""
        return iter(self.charges)

    def __repr__(self) -> str:
        """How many, and how much."""
        charges = self.charges
        return f"Bill({len(charges)} charges, ${sum((charge.usd for charge in charges), Decimal(0))})"

    def freeze(self) -> None:
        """Keep what it says now; the data folder may go."""
        self._frozen = self.charges
