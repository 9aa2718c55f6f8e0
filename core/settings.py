"""The settings in one place: `FAL_KEY` and every `PREFECT_LTX_*`, from the environment or from Prefect's own files.

Command-line flags are written into these variables, so a flow reads the same settings whether a person, a
worker or a schedule started it. Every setting that is a place is absolute here, or refused (`prefect_ltx.places`).
"""

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from prefect_ltx.fal.sendable import unquoted
from prefect_ltx.places import (
    VARIABLES,
    SettingsError,
    absolute,
    default_home,
    deployed_places,
    refuse_forgetting,
)
from prefect_ltx.settings_files import TABLE, NamedSource, sources_for

if TYPE_CHECKING:
    from prefect_ltx.bucket_rules import BucketRules

__all__ = ["Settings", "SettingsError"]


ENVIRONMENT: Final = "the environment"
DEPLOYED_BY: Final = "`prefect-ltx deploy`"


def variable_of(field: str) -> str:
    """The variable that sets a field of `Settings`."""
    return "FAL_KEY" if field == "fal_key" else f"PREFECT_LTX_{field.upper()}"


class Settings(BaseSettings):
    """Settings of this process, read when made: from the environment, then `.env`, `prefect.toml`, `pyproject.toml`
    and the Prefect profile, and last what `prefect-ltx deploy` wrote for the run.

    Raises:
        SettingsError: a place is relative in a worker's run, or there is no home for the default ones.
    """

    # The keys beyond pydantic's are those of Prefect's settings base (`build_settings_config`).
    model_config = cast(
        SettingsConfigDict,
        {
            "env_prefix": "PREFECT_LTX_",
            "extra": "ignore",
            "hide_input_in_errors": True,
            "env_file": ".env",
            "toml_file": "prefect.toml",
            "prefect_toml_table_header": TABLE,
            "pyproject_toml_table_header": ("tool", "prefect", *TABLE),
        },
    )

    fal_key: SecretStr | None = Field(default=None, validation_alias=AliasChoices("FAL_KEY", "fal_key"))
    fal_url: str | None = None
    """One base URL for all of fal's hosts: the embedded server, or another that speaks the contract."""
    fal_url_is_gateway: bool = False
    """Whether the URL stands in front of fal, as a company's gateway does: then its account is one of fal's."""
    account: str | None = None
    """The account's name, the same for all of its keys: what it bought stays known when a key is rotated."""
    home: Path = Field(default_factory=default_home)
    """The folder of unfinished work (`work`), and of the default ledger and archive."""
    ledger: str = ""
    """SQLAlchemy URL of the ledger; empty: SQLite in `home`."""
    archive: str = ""
    """A folder or `s3://bucket/prefix`; empty: `archive` in `home`."""
    archive_url: str | None = None
    """Where a browser reads the archive's files: a web server, a CDN, or a gateway that signs on demand. Artifacts link
    there; a secret in it would be stored with them, so `Archive` takes none with a user or a query."""
    budget_usd: Decimal | None = Field(default=None, ge=0)
    """The most that may be spent per UTC day, over everything in the ledger."""
    unit_price_usd: Decimal | None = Field(default=None, gt=0)
    """Dollars per megapixel by your account's page, for when fal's pricing API does not say."""
    stop_factor: Decimal = Field(default=Decimal(3), ge=1)
    """How many times its bound fal may bill one request before nothing more is bought until a person has looked."""
    listing_lag_seconds: float | None = Field(default=None, ge=0)
    """How long fal's request listing may lag behind a submit; empty: what was learned, what an
    embedded fal says of itself, else 600."""
    absence_is_proof: bool | None = None
    """Whether a request missing from the listing after the lag never ran. Unconfirmed for fal: empty means
    yes on an embedded fal, no everywhere else, where such a generation is parked for a person instead."""
    distributed: bool | None = None
    """Whether several machines share this work: then a SQLite ledger and a local folder are refused. Empty: found
    out from the run and the ledger; no: never refused."""
    lease_seconds: float = Field(default=120, gt=1, allow_inf_nan=False)
    """How long a row stays its owner's without a sign of life; `refuse_short_lease` says which are too short."""
    queue_timeout_seconds: float = Field(default=6 * 3600, gt=0)
    run_timeout_seconds: float = Field(default=3600, gt=0)

    webhook_url: str | None = None
    """Public base URL of `prefect-ltx webhook`: every submit then asks fal to call it. Empty: no webhooks."""
    fal_user_id: str | None = None
    """The account as fal's webhooks name it, such as `github|123`: webhooks signed for another are refused."""

    judges: str = ""
    """Judges of takes that a run or a storyboard may name, `module:object` each, separated by commas or blanks; besides
    those that installed packages offer as entry points of the group `prefect_ltx.judges`."""

    s3_encryption: str = ""
    """Server-side encryption of what is written into the archive's bucket: AES256, aws:kms or aws:kms:dsse."""
    s3_kms_key: str = ""
    """The KMS key for it: id, ARN or alias; empty: the account's own."""
    s3_storage_class: str = ""
    """The storage class, such as INTELLIGENT_TIERING; only those whose objects can be read at once."""
    s3_tags: str = ""
    """Object tags, such as `client=acme, kind=video`."""
    s3_acl: str = ""
    """A canned access rule, such as bucket-owner-full-control."""
    s3_retention: str = ""
    """An object lock's mode and days, such as `GOVERNANCE 365`."""
    s3_legal_hold: bool = False
    s3_request_payer: str = ""
    """`requester` where whoever reads and writes pays for it."""

    c2pa_certificate: Path | None = None
    """PEM file with the user's certificate chain, leaf first: renditions are signed with Content Credentials."""
    c2pa_key: Path | None = None
    """PEM file with that certificate's private key."""
    c2pa_timestamp_url: str | None = None
    """RFC 3161 time-stamping authority for those signatures; empty: none is asked."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment first, then Prefect's files in Prefect's order."""
        files = [each.source for each in sources_for(settings_cls)]
        return (init_settings, env_settings, *files)

    @staticmethod
    def _settings_warn_unused_config_keys(
        sources: tuple[object, ...], model_config: SettingsConfigDict
    ) -> None:
        """Nothing is unused: the sources that read these keys are made only where there is a file for them."""

    @classmethod
    def origins(cls) -> dict[str, str]:
        """Where the value of each setting comes from that has one, by the name of its variable."""
        found: dict[str, str] = {}
        named = [NamedSource(ENVIRONMENT, EnvSettingsSource(cls)), *sources_for(cls)]
        for name, source in named:
            given = {key.lower() for key, value in source().items() if value not in (None, "")}
            for variable in map(variable_of, cls.model_fields):
                if given & {variable.lower(), variable.lower().removeprefix("prefect_ltx_")}:
                    found.setdefault(variable, name)
        for variable in VARIABLES:
            if deployed_places().get(variable):
                found.setdefault(variable, DEPLOYED_BY)
        return found

    @model_validator(mode="before")
    @classmethod
    def _without_what_surrounds_them(cls, values: Any) -> Any:
        # Quotes of .env files, blanks of web pages, and the newline of a mounted secret file, which is a 401
        # (fal-protocol §2).
        if not isinstance(values, dict):
            return values
        return {name: unquoted(value) if isinstance(value, str) else value for name, value in values.items()}

    @field_validator("fal_key", mode="before")
    @classmethod
    def _empty_is_no_key(cls, value: object) -> object:
        return value or None

    @field_validator(
        "fal_url",
        "account",
        "budget_usd",
        "unit_price_usd",
        "listing_lag_seconds",
        "absence_is_proof",
        "distributed",
        "webhook_url",
        "fal_user_id",
        "c2pa_timestamp_url",
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @model_validator(mode="before")
    @classmethod
    def _places_written_by_deploy(cls, values: Any) -> Any:
        # Only where this environment names none itself: a worker's own settings win.
        if not isinstance(values, dict):
            return values
        deployed = deployed_places()
        for name in VARIABLES:
            field = name.removeprefix("PREFECT_LTX_").lower()
            if isinstance(values.get(field), str):
                values[field] = values[field].strip()
            if values.get(field) in (None, ""):
                values.pop(field, None)
                if text := deployed.get(name):
                    values[field] = text
        return values

    @model_validator(mode="after")
    def _places_are_absolute(self) -> "Settings":
        for name, kind in VARIABLES.items():
            field = name.removeprefix("PREFECT_LTX_").lower()
            if value := getattr(self, field):
                place = absolute(kind, str(value), name=name)
                # Not through validation again: that would call this for ever.
                self.__dict__[field] = Path(place) if isinstance(value, Path) else place
        return self

    @property
    def bucket_rules(self) -> "BucketRules":
        """What the archive's bucket asks of everything that is written into it.

        Raises:
            SettingsError: a rule that no bucket takes.
        """
        from prefect_ltx.bucket_rules import BucketRules, BucketRulesInvalid

        try:
            if self.s3_request_payer.strip().lower() not in ("", "requester"):
                raise BucketRulesInvalid("The bucket's rules: request payer is requester, or empty")
            return BucketRules.from_texts(
                encryption=self.s3_encryption.strip(),
                kms_key=self.s3_kms_key.strip(),
                storage_class=self.s3_storage_class.strip().upper(),
                tags=self.s3_tags,
                acl=self.s3_acl.strip().lower(),
                retention=self.s3_retention,
                legal_hold=self.s3_legal_hold,
                requester_pays=bool(self.s3_request_payer.strip()),
            )
        except BucketRulesInvalid as error:
            raise SettingsError(f"{error} Correct PREFECT_LTX_S3_….") from None

    @property
    def ledger_url(self) -> str:
        """The ledger's SQLAlchemy URL, with the default filled in.

        Raises:
            SettingsError: none is set, and there is no home folder for the default.
        """
        if self.ledger:
            return self.ledger
        self.require_home()
        return f"sqlite:///{self.home / 'ledger.db'}"

    @property
    def archive_location(self) -> str:
        """The archive's folder or bucket, with the default filled in.

        Raises:
            SettingsError: none is set, and there is no home folder for the default, or the working folder holds an
                archive that an earlier release made there.
        """
        if self.archive:
            return self.archive
        self.require_home()
        refuse_forgetting(self.home / "archive")
        return str(self.home / "archive")

    def require_home(self) -> None:
        """Refuse to make a home folder that a user does not have: HOME=/nonexistent is how systems say so.

        Raises:
            SettingsError: `PREFECT_LTX_HOME` is not set, and HOME is no folder.
        """
        if "home" not in self.model_fields_set and not self.home.parent.is_dir():
            raise SettingsError(
                f"HOME is {self.home.parent}, which is not a folder, so there is no place for the ledger, the archive "
                "and unfinished work. Nothing was sent or spent. Set PREFECT_LTX_HOME to a folder that lasts, such as "
                "/var/lib/prefect-ltx."
            )

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
