"""fal's key and hosts as a Prefect block."""

from typing import Annotated, ClassVar

from prefect.blocks.abstract import CredentialsBlock
from pydantic import Field, HttpUrl, model_validator

from prefect_ltx.blocks._forms import EMPTY, LOGO, Number, Secret, Text, WebAddress, one_of, page
from prefect_ltx.fal import FalClient, FalHosts


class FalCredentials(CredentialsBlock):
    """An account at fal: its API key, and the hosts it is used on.

    Flows and tasks take this block by its name, because a block inside a parameter carries its key in clear.

    Example:
        Load the stored block and use fal's client:

        ```python
        from prefect_ltx.blocks import FalCredentials

        credentials = FalCredentials.load("BLOCK_NAME")
        client = credentials.get_client()
        ```
    """

    _block_type_name: ClassVar[str] = "fal Credentials"
    _block_type_slug: ClassVar[str] = "fal-credentials"
    _documentation_url: ClassVar[HttpUrl] = page("tasks")
    _logo_url: ClassVar[HttpUrl] = LOGO
    _description: ClassVar[str] = "An account at fal: its API key, and the hosts it is used on."

    api_key: Secret = Field(
        default=None,
        json_schema_extra=EMPTY,
        title="API key",
        description="The key as fal shows it, id:secret; empty for a server without keys.",
    )
    account: Text = Field(
        default=None,
        json_schema_extra=EMPTY,
        title="Account",
        description="A name for the account, the same for all of its keys: what it bought stays known when a key "
        "is rotated. Empty: the name that fal gives, where the key may ask.",
    )
    base_url: WebAddress = Field(
        default=None,
        json_schema_extra=EMPTY,
        title="Base URL",
        description="One URL for all of fal's hosts, such as the embedded server's; empty for fal itself.",
    )
    run_url: WebAddress = Field(
        default=None, json_schema_extra=EMPTY, title="Run URL", description="In place of https://fal.run."
    )
    queue_url: WebAddress = Field(
        default=None,
        json_schema_extra=EMPTY,
        title="Queue URL",
        description="In place of https://queue.fal.run.",
    )
    rest_url: WebAddress = Field(
        default=None,
        json_schema_extra=EMPTY,
        title="REST URL",
        description="In place of https://rest.fal.ai.",
    )
    cdn_url: WebAddress = Field(
        default=None,
        json_schema_extra=EMPTY,
        title="CDN URL",
        description="In place of https://v3.fal.media.",
    )
    api_url: WebAddress = Field(
        default=None,
        json_schema_extra=EMPTY,
        title="Platform API URL",
        description="In place of https://api.fal.ai.",
    )
    is_gateway: bool = Field(
        default=False,
        title="The URL is a gateway to fal",
        description="Whether the base URL stands in front of fal: then the account is one of fal's.",
    )
    listing_lag_seconds: Number = Field(
        default=None,
        ge=0,
        title="Listing lag",
        description="Seconds that fal's request listing may be behind; empty for 600, or what an embedded fal says.",
    )
    absence_is_proof: Annotated[bool | None, *one_of("yes", "no")] = Field(
        default=None,
        json_schema_extra=EMPTY,
        title="Absence is proof",
        description=(
            "Whether a request that the listing does not show after the lag never ran and may be sent again; "
            "empty for no, so that it is parked for a person; an embedded fal says yes."
        ),
    )

    @model_validator(mode="after")
    def _one_way_of_naming_hosts(self) -> "FalCredentials":
        if self.base_url and any((self.run_url, self.queue_url, self.rest_url, self.cdn_url, self.api_url)):
            raise ValueError("Give either one base URL or the separate ones, not both.")
        return self

    @property
    def hosts(self) -> FalHosts:
        """The hosts this account is used on."""
        if self.base_url:
            return FalHosts.from_base_url(self.base_url, is_gateway=self.is_gateway)
        default = FalHosts.default()
        return FalHosts(
            run=self.run_url or default.run,
            queue=self.queue_url or default.queue,
            rest=self.rest_url or default.rest,
            cdn=self.cdn_url or default.cdn,
            api=self.api_url or default.api,
            is_gateway=self.is_gateway,
        )

    def get_client(self) -> FalClient:
        """A client of this account; close it with `aclose`, or use it as an async context manager.

        Raises:
            FalRequestInvalid: the key is not of the form id:secret.
        """
        return FalClient(self.api_key, hosts=self.hosts)
