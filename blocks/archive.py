"""Where finished videos are kept, as a Prefect block."""

from typing import Annotated, ClassVar, Final, Literal, get_args

from prefect.blocks.core import Block
from pydantic import Field, HttpUrl

from prefect_ltx.archive import Archive
from prefect_ltx.archive.keys import WEB_ADDRESS
from prefect_ltx.blocks._forms import EMPTY, LOGO, Secret, Text, WebAddress, one_of, page, whole
from prefect_ltx.blocks._stored_places import StoresPlace
from prefect_ltx.bucket_rules import Acl, BucketRules, StorageClass
from prefect_ltx.places import Kind
from prefect_ltx.settings import Settings

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
    _documentation_url: ClassVar[HttpUrl] = page("operations")
    _logo_url: ClassVar[HttpUrl] = LOGO
    _description: ClassVar[str] = "A write-once archive of videos and manifests, in a folder or an S3 bucket."

    location: str = Field(
        default=...,
        title="Location",
        description="A folder by its absolute path, such as /data/archive, or s3://bucket/prefix.",
        min_length=1,
        json_schema_extra={"pattern": ABSOLUTE_ARCHIVE},
    )
    web_url: WebAddress = Field(
        default=None,
        json_schema_extra=EMPTY | {"pattern": f"^({WEB_ADDRESS})?$"},
        title="Web address",
        description="Where a browser reads what is archived: a web server, a CDN or a gateway that signs on demand, "
        "for links in artifacts; without a user and a query. Empty for PREFECT_LTX_ARCHIVE_URL.",
    )
    endpoint_url: WebAddress = Field(
        default=None,
        json_schema_extra=EMPTY,
        title="S3 endpoint",
        description="URL of an S3 server other than AWS; empty for AWS or the environment's setting.",
    )
    region: Text = Field(
        default=None,
        json_schema_extra=EMPTY,
        title="Region",
        description="AWS region of the bucket; empty for the environment's setting.",
    )
    access_key_id: Secret = Field(
        default=None,
        json_schema_extra=EMPTY,
        title="Access key ID",
        description="Empty for the machine's own.",
    )
    secret_access_key: Secret = Field(
        default=None,
        json_schema_extra=EMPTY,
        title="Secret access key",
        description="Belongs to the access key ID.",
    )

    encryption: Annotated[
        Literal["AES256", "aws:kms", "aws:kms:dsse"] | None, *one_of("AES256", "aws:kms", "aws:kms:dsse")
    ] = Field(
        default=None,
        json_schema_extra=EMPTY,
        title="Encryption",
        description="Server-side encryption of what is written; empty for the environment's setting.",
    )
    kms_key_id: Text = Field(
        default=None,
        json_schema_extra=EMPTY,
        title="KMS key",
        description="Id, ARN or alias of the key for aws:kms; empty for the account's own.",
    )
    storage_class: Annotated[StorageClass | None, *one_of(*get_args(StorageClass))] = Field(
        default=None,
        json_schema_extra=EMPTY,
        title="Storage class",
        description="Of what is written into the bucket; only classes whose objects can be read at once.",
    )
    object_tags: dict[str, str] = Field(
        default_factory=dict,
        title="Object tags",
        description="Tags of everything that is written into the bucket, at most ten.",
    )
    acl: Annotated[Acl | None, *one_of(*get_args(Acl))] = Field(
        default=None,
        json_schema_extra=EMPTY,
        title="Access (ACL)",
        description="A canned access rule, such as bucket-owner-full-control for another account's bucket.",
    )
    retention_mode: Annotated[
        Literal["GOVERNANCE", "COMPLIANCE"] | None, *one_of("GOVERNANCE", "COMPLIANCE")
    ] = Field(
        default=None,
        json_schema_extra=EMPTY,
        title="Retention",
        description="Object lock of what is written once; the bucket has to have object lock switched on.",
    )
    retention_days: Annotated[int | None, *whole(1, 36_500)] = Field(
        default=None, ge=1, le=36_500, title="Retention in days", description="How long it is locked."
    )
    legal_hold: bool = Field(
        default=False, title="Legal hold", description="Lock what is written once until somebody lifts it."
    )
    requester_pays: bool = Field(
        default=False,
        title="Requester pays",
        description="Say that these credentials pay for reading and writing, as such buckets ask.",
    )

    place_field: ClassVar[str] = "location"
    place_kind: ClassVar[Kind] = "archive"

    def get_archive(self) -> Archive:
        """The archive; nothing is read or written before it is used.

        Raises:
            SettingsError: the block was stored with a relative place. Nothing was sent or spent.
            BucketRulesInvalid: rules that no bucket takes. Nothing was sent or spent.
        """
        self.refuse_relative_place()
        rules = self._rules() if self.location.startswith("s3://") else None
        return Archive(
            self.location,
            endpoint_url=self.endpoint_url,
            region=self.region,
            key=self.access_key_id.get_secret_value() if self.access_key_id else None,
            secret=self.secret_access_key.get_secret_value() if self.secret_access_key else None,
            rules=rules,
            web_url=self.web_url or Settings().archive_url,
        )

    def _rules(self) -> BucketRules:
        """The block's rules; what it does not say, the environment does."""
        own = {
            "encryption": self.encryption,
            "kms_key": self.kms_key_id,
            "storage_class": self.storage_class,
            "tags": self.object_tags,
            "acl": self.acl,
            "retention": self.retention_mode,
            "retention_days": self.retention_days,
            "legal_hold": self.legal_hold,
            "requester_pays": self.requester_pays,
        }
        around = Settings().bucket_rules.model_dump()
        return BucketRules.of(**around | {name: value for name, value in own.items() if value})
