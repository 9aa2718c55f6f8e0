"""Where finished videos are kept, as a Prefect block."""

from typing import ClassVar, Final

from prefect.blocks.core import Block
from pydantic import Field, HttpUrl, SecretStr

from prefect_ltx.archive import Archive
from prefect_ltx.blocks._stored_places import StoresPlace
from prefect_ltx.blocks.credentials import DOCUMENTATION
from prefect_ltx.places import Kind

ABSOLUTE_ARCHIVE: Final = r"^(/|[A-Za-z]:|s3://|file:///)"
"""What the UI's form takes: it has no folder by which a relative place could be completed."""


class VideoArchive(StoresPlace, Block):
    """A write-once archive of videos and manifests, in a folder or an S3 bucket.

    Example:
        Load the stored block and check every byte of the archive:

        ```python
        import asyncio

        from prefect_ltx.blocks import VideoArchive

        archive = VideoArchive.load("BLOCK_NAME").get_archive()
        print(asyncio.run(archive.verify()))
        ```
    """

    _block_type_name: ClassVar[str] = "Video Archive"
    _block_type_slug: ClassVar[str] = "video-archive"
    _documentation_url: ClassVar[HttpUrl] = HttpUrl(DOCUMENTATION)
    _description: ClassVar[str] = "A write-once archive of videos and manifests, in a folder or an S3 bucket."

    location: str = Field(
        default=...,
        title="Location",
        description="A folder by its absolute path, such as /data/archive, or s3://bucket/prefix.",
        min_length=1,
        json_schema_extra={"pattern": ABSOLUTE_ARCHIVE},
    )
    endpoint_url: str | None = Field(
        default=None,
        title="S3 endpoint",
        description="URL of an S3 server other than AWS; empty for AWS or the environment's setting.",
    )
    region: str | None = Field(
        default=None,
        title="Region",
        description="AWS region of the bucket; empty for the environment's setting.",
    )
    access_key_id: SecretStr | None = Field(
        default=None, title="Access key ID", description="Empty for the machine's own credentials."
    )
    secret_access_key: SecretStr | None = Field(
        default=None, title="Secret access key", description="Belongs to the access key ID."
    )

    place_field: ClassVar[str] = "location"
    place_kind: ClassVar[Kind] = "archive"

    def get_archive(self) -> Archive:
        """The archive; nothing is read or written before it is used.

        Raises:
            SettingsError: the block was stored with a relative place. Nothing was sent or spent.
        """
        self.refuse_relative_place()
        return Archive(
            self.location,
            endpoint_url=self.endpoint_url,
            region=self.region,
            key=self.access_key_id.get_secret_value() if self.access_key_id else None,
            secret=self.secret_access_key.get_secret_value() if self.secret_access_key else None,
        )
