"""The money record as a Prefect block."""

from typing import ClassVar, Final

from prefect.blocks.core import Block
from pydantic import Field, HttpUrl, SecretStr

from prefect_ltx.blocks._forms import EMPTY, LOGO, WebAddress, page
from prefect_ltx.blocks._stored_places import StoresPlace
from prefect_ltx.ledger import Ledger
from prefect_ltx.places import Kind

ABSOLUTE_LEDGER: Final = (
    r"^(postgres(ql)?(\+psycopg)?://|sqlite(\+pysqlite)?:///(/|[A-Za-z]:|file:(/|%2[Ff])))"
)
"""What the UI's form takes: it has no folder by which a relative place could be completed."""


class GenerationLedger(StoresPlace, Block):
    """The database that remembers every generation, so that none is paid for twice.

    Everything that generates for one account has to share one ledger: SQLite for one machine, PostgreSQL for
    several.

    Example:
        Load the stored block and look at what is unfinished:

        ```python
        from prefect_ltx.blocks import GenerationLedger

        ledger = GenerationLedger.load("BLOCK_NAME").get_ledger()
        print(ledger.unfinished())
        ```
    """

    _block_type_name: ClassVar[str] = "Generation Ledger"
    _block_type_slug: ClassVar[str] = "generation-ledger"
    _documentation_url: ClassVar[HttpUrl] = page("money")
    _logo_url: ClassVar[HttpUrl] = LOGO
    _description: ClassVar[str] = (
        "The database that remembers every generation, so that none is paid for twice."
    )

    url: SecretStr = Field(
        default=...,
        title="Database URL",
        description=(
            "SQLAlchemy URL, such as sqlite:////data/ledger.db (an absolute path has four slashes) or "
            "postgresql://user:password@host/db."
        ),
        json_schema_extra={"pattern": ABSOLUTE_LEDGER},
    )
    lease_seconds: float = Field(
        default=120,
        gt=1,
        allow_inf_nan=False,
        # The form knows no other bound than this one; a shorter lease is refused in words where money is spent.
        json_schema_extra={"minimum": 60},
        title="Lease (seconds)",
        description="Seconds after which the work of a machine that vanished may be taken over; at least 60.",
    )

    webhook_url: WebAddress = Field(
        default=None,
        json_schema_extra=EMPTY,
        title="Webhook URL",
        description=(
            "Public base URL of the `prefect-ltx webhook` that records into this ledger; empty for none, or for "
            "PREFECT_LTX_WEBHOOK_URL."
        ),
    )

    place_field: ClassVar[str] = "url"
    place_kind: ClassVar[Kind] = "ledger"

    def get_ledger(self) -> Ledger:
        """Open the ledger; its tables are made when missing.

        Raises:
            SettingsError: the block was stored with a relative place. Nothing was sent or spent.
            LedgerError: it cannot be opened or is of an unknown version. Nothing was sent or spent.
        """
        self.refuse_relative_place()
        return Ledger(self.url.get_secret_value(), lease_seconds=self.lease_seconds)
