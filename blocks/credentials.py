"""fal's key and hosts as a Prefect block."""

from typing import ClassVar

from prefect.blocks.abstract import CredentialsBlock
from pydantic import Field, HttpUrl, SecretStr, model_validator

from prefect_ltx.fal import FalClient, FalHosts

DOCUMENTATION = "https://fal.ai/models/fal-ai/ltx-2.3-quality/reference-video-to-video/api"


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
    _documentation_url: ClassVar[HttpUrl] = HttpUrl(DOCUMENTATION)
    _description: ClassVar[str] = "An account at fal: its API key, and the hosts it is used on."

    api_key: SecretStr | None = Field(
        default=None,
        title="API key",
        description="The key as fal shows it, id:secret; empty for a server without keys.",
    )
    account: str | None = Field(
        default=None,
        title="Account",
        description="A name for the account, the same for all of its keys: what it bought stays known when a key "
        "is rotated. Empty: the name that fal gives, where the key may ask.",
    )
    base_url: str | None = Field(
        default=None,
        title="Base URL",
        description="One URL for all of fal's hosts, such as the embedded server's; empty for fal itself.",
    )
    run_url: str | None = Field(default=None, title="Run URL", description="In place of https://fal.run.")
    queue_url: str | None = Field(
        default=None, title="Queue URL", description="In place of https://queue.fal.run."
    )
    rest_url: str | None = Field(
        default=None, title="REST URL", description="In place of https://rest.fal.ai."
    )
    cdn_url: str | None = Field(
        default=None, title="CDN URL", description="In place of https://v3.fal.media."
    )
    api_url: str | None = Field(
        default=None, title="Platform API URL", description="In place of https://api.fal.ai."
    )
    is_gateway: bool = Field(
        default=False,
        title="The URL is a gateway to fal",
        description="Whether the base URL stands in front of fal: then the account is one of fal's.",
    )
    listing_lag_seconds: float | None = Field(
        default=None,
        ge=0,
        title="Listing lag",
        description="Seconds that fal's request listing may be behind; empty for 600, or what an embedded fal says.",
    )
    absence_is_proof: bool | None = Field(
        default=None,
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
