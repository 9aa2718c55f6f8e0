"""Which rule does a bucket's refusal ask for? Found out by writing a few bytes with one rule after the other.

S3 refuses what lacks a rule and what has a wrong one with the same two words, AccessDenied. Only trying tells.
"""

import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any, Final, NamedTuple

from prefect_ltx.archive.errors import ArchiveDenied, ArchiveError, ArchiveUnavailable
from prefect_ltx.archive.probe import FOLDER
from prefect_ltx.archive.s3 import S3Backend
from prefect_ltx.archive.s3_session import S3Settings
from prefect_ltx.bucket_rules import BucketRules


class RuleAsked(NamedTuple):
    """What the bucket takes that it refused before: in words, and how to say it."""

    what: str
    remedy: str


_Rules = tuple[dict[str, Any], ...]

_ENCRYPTION: _Rules = ({"encryption": "AES256"}, {"encryption": "aws:kms"}, {"encryption": "aws:kms:dsse"})
_ACLS: _Rules = ({"acl": "bucket-owner-full-control"}, {"acl": "private"})
_CLASSES: _Rules = tuple(
    {"storage_class": name}
    for name in ("INTELLIGENT_TIERING", "STANDARD_IA", "ONEZONE_IA", "GLACIER_IR", "STANDARD")
)
_PAYER: _Rules = ({"requester_pays": True},)
# Last: what is kept by it cannot be removed before tomorrow.
_RETENTION: _Rules = ({"retention": "GOVERNANCE", "retention_days": 1}, {"legal_hold": True})
_NAMES: Final = {
    "encryption": ("server-side encryption {}", "PREFECT_LTX_S3_ENCRYPTION={}"),
    "kms_key": ("a KMS key", "PREFECT_LTX_S3_KMS_KEY"),
    "storage_class": ("the storage class {}", "PREFECT_LTX_S3_STORAGE_CLASS={}"),
    "tags": ("object tags", "PREFECT_LTX_S3_TAGS"),
    "acl": ("the access rule (ACL) {}", "PREFECT_LTX_S3_ACL={}"),
    "retention": ("a retention ({})", "PREFECT_LTX_S3_RETENTION='{} DAYS'"),
    "legal_hold": ("a legal hold", "PREFECT_LTX_S3_LEGAL_HOLD=yes"),
    "requester_pays": ("that the requester pays", "PREFECT_LTX_S3_REQUEST_PAYER=requester"),
}


async def rule_asked(location: str, how: Mapping[str, Any]) -> RuleAsked | None:
    """The rule with which the bucket takes what it refuses by its rules, or the one that it does not take; else None.

    `how` is `S3Settings`, with the rules. What is written is removed again, where that is allowed.
    """
    rules: BucketRules = how["rules"]

    def make(other: BucketRules) -> S3Backend:
        return S3Backend(location, S3Settings(**{**how, "rules": other}))

    for name in [each for each in _NAMES if getattr(rules, each)]:
        if await _takes(make, _without(rules, name)):
            what, setting = _said(name, getattr(rules, name))
            return RuleAsked(
                f"the bucket does not take {what}",
                f"Take {setting} back, in the settings or in the archive's block",
            )
    for changes in _candidates(rules):
        if await _takes(make, rules.model_copy(update=changes)):
            said = [_said(name, value) for name, value in changes.items() if name in _NAMES]
            what = " and ".join(each[0] for each in said)
            settings = " and ".join(each[1] for each in said)
            return RuleAsked(
                f"the bucket takes only what is written with {what}",
                f"Set {settings}, or the same in the archive's block",
            )
    return None


def _candidates(rules: BucketRules) -> Iterator[dict[str, Any]]:
    singles = [*_PAYER, *_ENCRYPTION, *_ACLS, *_CLASSES]
    pairs = [
        one | other
        for first, second in (
            (_PAYER, _ENCRYPTION),
            (_ENCRYPTION, _ACLS),
            (_ENCRYPTION, _CLASSES),
            (_PAYER, _ACLS),
        )
        for one, other in product(first, second)
    ]
    for changes in [*singles, *pairs, *_RETENTION]:
        if any(getattr(rules, name) != value for name, value in changes.items()):
            yield changes


async def _takes(make: Callable[[BucketRules], S3Backend], rules: BucketRules) -> bool:
    backend = make(rules)
    key = f"{FOLDER}/rule-{secrets.token_hex(8)}"
    try:
        await backend.put_bytes(key, secrets.token_bytes(32), content_type="application/octet-stream")
    except (ArchiveDenied, ArchiveUnavailable):
        return False
    finally:
        with contextlib.suppress(ArchiveError):
            await backend.remove_probe(key)
        with contextlib.suppress(ArchiveError):
            await backend.aclose()
    return True


def _without(rules: BucketRules, name: str) -> BucketRules:
    with_it = {"encryption": ("encryption", "kms_key"), "retention": ("retention", "retention_days")}.get(
        name, (name,)
    )
    empty = BucketRules()
    return rules.model_copy(update={each: getattr(empty, each) for each in with_it})


def _said(name: str, value: Any) -> tuple[str, str]:
    what, setting = _NAMES[name]
    return what.format(value), setting.format(value)
