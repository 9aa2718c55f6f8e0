"""What the environment says, in one place: `FAL_KEY` and every `PREFECT_LTX_*` variable.

Command-line flags are written into these variables, so a flow reads the same settings whether a person, a
worker or a schedule started it.
"""

from decimal import Decimal
from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(Exception):
    """The configuration cannot work. Nothing was sent and nothing was spent."""


class Settings(BaseSettings):
    """Settings of this process, read from the environment when made."""

    model_config = SettingsConfigDict(env_prefix="PREFECT_LTX_", extra="ignore")

    fal_key: SecretStr | None = Field(default=None, validation_alias=AliasChoices("FAL_KEY", "fal_key"))
    fal_url: str | None = None
    """One base URL for all of fal's hosts: the embedded server, or another that speaks the contract."""
    home: Path = Field(default_factory=lambda: Path.home() / ".prefect-ltx")
    ledger: str = ""
    """SQLAlchemy URL of the ledger; empty: SQLite in `home`."""
    archive: str = ""
    """A folder or `s3://bucket/prefix`; empty: `prefect-ltx-archive` in the current folder."""
    budget_usd: Decimal | None = Field(default=None, ge=0)
    """The most that may be spent per UTC day, over everything in the ledger."""
    listing_lag_seconds: float | None = Field(default=None, ge=0)
    """How long fal's request listing may lag behind a submit; empty: 0 on a custom URL, 600 on fal."""
    absence_is_proof: bool | None = None
    """Whether a request missing from the listing after the lag never ran. Unconfirmed for fal: empty means
    yes on a custom URL, no on fal, where such a generation is parked for a person instead."""
    distributed: bool | None = None
    """Whether several machines share this work: then a SQLite ledger and a local folder are refused. Empty: found
    out from the run and the ledger; no: never refused."""
    lease_seconds: float = Field(default=120, gt=1)
    queue_timeout_seconds: float = Field(default=6 * 3600, gt=0)
    run_timeout_seconds: float = Field(default=3600, gt=0)

    webhook_url: str | None = None
    """Public base URL of `prefect-ltx webhook`: every submit then asks fal to call it. Empty: no webhooks."""
    fal_user_id: str | None = None
    """The account as fal's webhooks name it, such as `github|123`: webhooks signed for another are refused."""

    c2pa_certificate: Path | None = None
    """PEM file with the user's certificate chain, leaf first: renditions are signed with Content Credentials."""
    c2pa_key: Path | None = None
    """PEM file with that certificate's private key."""
    c2pa_timestamp_url: str | None = None
    """RFC 3161 time-stamping authority for those signatures; empty: none is asked."""

    @field_validator("fal_key", mode="before")
    @classmethod
    def _strip(cls, value: object) -> object:
        # A trailing newline from a mounted secret file is a 401 (fal-protocol §2).
        return (value.strip() or None) if isinstance(value, str) else value

    @field_validator(
        "fal_url",
        "budget_usd",
        "listing_lag_seconds",
        "absence_is_proof",
        "distributed",
        "webhook_url",
        "fal_user_id",
        "c2pa_certificate",
        "c2pa_key",
        "c2pa_timestamp_url",
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @property
    def ledger_url(self) -> str:
        """The ledger's SQLAlchemy URL, with the default filled in."""
        return self.ledger or f"sqlite:///{self.home / 'ledger.db'}"

    @property
    def archive_location(self) -> str:
        """The archive's folder or bucket, with the default filled in."""
        return self.archive or str(Path("prefect-ltx-archive").absolute())

    def require_fal(self) -> None:
        """Refuse to go on where neither a key nor a URL is set; the embedded server is never used silently.

        Raises:
            SettingsError: naming both variables.
        """
        if self.fal_key is None and not self.fal_url:
            raise SettingsError(
                "No fal account: set FAL_KEY to use fal, or PREFECT_LTX_FAL_URL to use another server "
                "(`prefect-ltx local-fal` starts the embedded one). Nothing was sent or spent."
            )
