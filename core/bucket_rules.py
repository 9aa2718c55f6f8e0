"""What a bucket asks of everything that is written into it: encryption, storage class, tags, access, retention, payer.

The rules go with every write, whole files and files in parts alike, since a bucket's policy refuses a single request
that lacks one. What replaces something else (the gallery, a table) is encrypted and paid for as everything is, and
never retained.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import quote, urlencode

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

Encryption = Literal["", "AES256", "aws:kms", "aws:kms:dsse"]
StorageClass = Literal[
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "EXPRESS_ONEZONE",
    "OUTPOSTS",
]
"""Classes whose objects can be read at once: of a glacier's neither verify nor the gallery could read one."""
Acl = Literal[
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
]
Retention = Literal["", "GOVERNANCE", "COMPLIANCE"]

_BEGINS: Final = ("put_object", "copy_object", "create_multipart_upload")
_PAID: Final = (
    *_BEGINS,
    "upload_part",
    "complete_multipart_upload",
    "abort_multipart_upload",
    "list_multipart_uploads",
    "list_objects_v2",
    "get_object",
    "head_object",
    "delete_object",
)
_MOST_TAGS: Final = 10
_SIGNS: Final = " _.:/=+-@"


class BucketRulesInvalid(ValueError):
    """Rules that no bucket takes. Nothing was sent or spent."""


class BucketRules(BaseModel):
    """The rules of one archive's bucket; empty ones leave it to the bucket's own defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encryption: Encryption = ""
    kms_key: Annotated[str, Field(max_length=2048)] = ""
    """A KMS key's id, ARN or alias; empty: the account's own. With aws:kms and aws:kms:dsse."""
    storage_class: StorageClass | Literal[""] = ""
    tags: dict[str, str] = Field(default_factory=dict)
    acl: Acl | Literal[""] = ""
    retention: Retention = ""
    """The mode of the object lock that keeps what is written for `retention_days`."""
    retention_days: Annotated[int, Field(ge=0, le=36_500)] = 0
    legal_hold: bool = False
    requester_pays: bool = False

    @field_validator("tags")
    @classmethod
    def _can_be_tags(cls, tags: dict[str, str]) -> dict[str, str]:
        if len(tags) > _MOST_TAGS:
            raise ValueError(f"an object takes {_MOST_TAGS} tags, and these are {len(tags)}")
        for name, value in tags.items():
            if not name or len(name) > 128 or len(value) > 256:
                raise ValueError("a tag's name has 1 to 128 characters, its value at most 256")
            if name.lower().startswith("aws:"):
                raise ValueError(f"{name!a}: names that begin with aws: are AWS's own")
            if any(not (each.isalnum() or each in _SIGNS) for each in name + value):
                raise ValueError(f"{name!a}: a tag has letters, digits, blanks and {_SIGNS.strip()}")
        return tags

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.kms_key and not self.encryption.startswith("aws:kms"):
            raise ValueError("a KMS key needs the encryption aws:kms or aws:kms:dsse")
        if bool(self.retention) != bool(self.retention_days):
            raise ValueError("a retention is a mode (GOVERNANCE, COMPLIANCE) and a number of days")
        return self

    @classmethod
    def of(cls, **values: Any) -> Self:
        """The rules; an error is one line.

        Raises:
            BucketRulesInvalid: naming the rule.
        """
        try:
            return cls(**{name: value for name, value in values.items() if value not in (None, "")})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = ".".join(map(str, first["loc"])).replace("_", " ")
            what = first["msg"].removeprefix("Value error, ")
            raise BucketRulesInvalid(
                f"The bucket's rules: {f'{name}: ' if name else ''}{what}. Nothing was sent or spent."
            ) from None

    @classmethod
    def from_texts(cls, *, tags: str = "", retention: str = "", **values: Any) -> Self:
        """The same from texts, as settings have them: tags as `client=acme, kind=video`, retention as `GOVERNANCE 365`.

        Raises:
            BucketRulesInvalid: naming the rule.
        """
        mode, _, days = retention.strip().replace(":", " ").partition(" ")
        if retention.strip() and not days.strip().isdecimal():
            raise BucketRulesInvalid(
                f"The bucket's rules: retention is a mode and days, such as GOVERNANCE 365, not {retention[:80]!a}. "
                "Nothing was sent or spent."
            )
        return cls.of(
            tags=tags_of(tags),
            retention=mode.upper(),
            retention_days=int(days) if days.strip() else 0,
            **values,
        )

    def of_request(
        self, method: str, request: Mapping[str, Any], now: datetime | None = None
    ) -> dict[str, Any]:
        """What one S3 request carries because of the rules."""
        found: dict[str, Any] = (
            {"RequestPayer": "requester"} if self.requester_pays and method in _PAID else {}
        )
        if method not in _BEGINS:
            return found
        found |= {
            "ServerSideEncryption": self.encryption,
            "SSEKMSKeyId": self.kms_key,
            "StorageClass": self.storage_class,
            "Tagging": urlencode(self.tags, quote_via=quote),
            "ACL": self.acl,
        }
        if method == "copy_object" and self.tags:
            found["TaggingDirective"] = "REPLACE"
        if "IfNoneMatch" in request or method != "put_object":  # what is written once
            found["ObjectLockMode"] = self.retention
            if self.retention:
                until = (now or datetime.now(UTC)) + timedelta(days=self.retention_days)
                found["ObjectLockRetainUntilDate"] = until
            if self.legal_hold:
                found["ObjectLockLegalHoldStatus"] = "ON"
            if method == "put_object" and (self.retention or self.legal_hold):
                # S3 takes nothing to be locked without it, though the checksum itself is there.
                found["ChecksumAlgorithm"] = "SHA256"
        return {name: value for name, value in found.items() if value not in ("", None)}

    @property
    def stated(self) -> dict[str, str]:
        """The rules that are set, in words, without the names of keys."""
        found = {
            "encryption": self.encryption + (" with a key of its own" if self.kms_key else ""),
            "storage class": self.storage_class,
            "tags": ", ".join(f"{name}={value}" for name, value in self.tags.items()),
            "access": self.acl,
            "retention": f"{self.retention} {self.retention_days} days" if self.retention else "",
            "legal hold": "on" if self.legal_hold else "",
            "request payer": "requester" if self.requester_pays else "",
        }
        return {name: value for name, value in found.items() if value}


def tags_of(text: str) -> dict[str, str]:
    """Tags as a person writes them, `client=acme, kind=video`.

    Raises:
        BucketRulesInvalid: one is no name and value, or is there twice.
    """
    tags: dict[str, str] = {}
    for part in text.split(","):
        if not part.strip():
            continue
        name, equals, value = (each.strip() for each in part.partition("="))
        if not equals or name in tags:
            why = "is there twice" if name in tags else "is no NAME=VALUE"
            raise BucketRulesInvalid(
                f"The bucket's rules: the tag {part.strip()[:80]!a} {why}. Nothing was sent or spent."
            )
        tags[name] = value
    return tags
