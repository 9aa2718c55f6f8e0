"""What an S3 failure means: is it worth another try, and what is it called here.

Server texts stay out of messages, because some quote headers and addresses; the error code says enough.
"""

import asyncio
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from prefect_ltx.archive.errors import ArchiveDenied, ArchiveError, ArchiveNotFound, ArchiveUnavailable
from prefect_ltx.archive.s3_answers import NotS3Answer

TAKEN: Final = frozenset({"PreconditionFailed", "412"})
RACED: Final = frozenset({"ConditionalRequestConflict", "OperationAborted", "409"})
GONE: Final = frozenset({"NoSuchKey", "NoSuchVersion", "NotFound", "404"})

_DENIED = {
    "AccessDenied",
    "AllAccessDisabled",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "Forbidden",
    "401",
    "403",
}
_CLOCK = {"RequestTimeTooSkewed", "RequestExpired"}
_CREDENTIALS = {"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "401"}
_SKEW_SECONDS = 300  # S3 takes 15 minutes
_PERMISSIONS = {
    # Without s3:ListBucket S3 answers a HEAD of what is not there as one that is forbidden.
    "HeadObject": "s3:GetObject (for HEAD) or s3:ListBucket",
    "GetObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "ListObjectsV2": "s3:ListBucket",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "DeleteObject": "s3:DeleteObject",
}
_RULES = {
    # What a bucket says of a rule that it does not take, and which setting it is.
    "InvalidEncryptionAlgorithmError": ("the encryption", "PREFECT_LTX_S3_ENCRYPTION"),
    "KMS.NotFoundException": ("the KMS key: no key has this name", "PREFECT_LTX_S3_KMS_KEY"),
    "KMS.DisabledException": ("the KMS key: it is disabled", "PREFECT_LTX_S3_KMS_KEY"),
    "KMS.KMSInvalidStateException": ("the KMS key: it cannot be used now", "PREFECT_LTX_S3_KMS_KEY"),
    "KMS.InvalidKeyUsageException": ("the KMS key: it is no key for encryption", "PREFECT_LTX_S3_KMS_KEY"),
    "KMS.AccessDeniedException": ("the KMS key: these credentials may not use it", "PREFECT_LTX_S3_KMS_KEY"),
    "InvalidStorageClass": ("the storage class", "PREFECT_LTX_S3_STORAGE_CLASS"),
    "InvalidTag": ("the object tags", "PREFECT_LTX_S3_TAGS"),
    "AccessControlListNotSupported": ("an access rule (ACL): it has none", "PREFECT_LTX_S3_ACL"),
    "ObjectLockConfigurationNotFoundError": (
        "a retention: it has no object lock",
        "PREFECT_LTX_S3_RETENTION",
    ),
    "InvalidRetentionPeriod": ("the retention's period", "PREFECT_LTX_S3_RETENTION"),
}
_WITHOUT_LOCK = "object lock"
"""In the text of an InvalidRequest, in small letters: the bucket has no object lock."""
_AGAIN = {
    "BadDigest",
    "IncompleteBody",
    "InternalError",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
    "429",
    "500",
    "502",
    "503",
    "504",
}


def error_code(error: BaseException) -> str:
    """Return S3's error code behind an exception of s3fs or botocore, or an empty string."""
    client_error = _client_error(error)
    return str(client_error.response.get("Error", {}).get("Code", "")) if client_error else ""


def worth_another_try(error: BaseException) -> bool:
    """Tell whether the same request may succeed if it is sent again."""
    if isinstance(error, NoCredentialsError | PartialCredentialsError | asyncio.CancelledError):
        return False
    if _not_trusted(error):
        return False
    if isinstance(error, NotS3Answer | ResponseParserError):
        return True
    code = error_code(error)
    if code:
        return code in _AGAIN or code in RACED or _status(error) >= 500
    # No answer, or half of one: connection errors of aiohttp, botocore and the system, time-outs.
    return isinstance(error, OSError | BotoCoreError | asyncio.TimeoutError) or type(
        error
    ).__module__.startswith(("aiohttp", "urllib3", "botocore", "aiobotocore"))


def settled_by_looking(error: BaseException) -> bool:
    """Tell whether a write failed in a way that its object, perhaps our own, may be there all the same."""
    # NoSuchUpload is what a repeated Complete gets when the first one's answer was lost.
    return error_code(error) in TAKEN | RACED | {"NoSuchUpload"}


def explained(error: BaseException, where: str) -> ArchiveError:
    """Return the archive's own error for a failure of S3 at `where` (`s3://bucket/key`)."""
    code = error_code(error)
    if isinstance(error, ArchiveError):
        return error
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return ArchiveDenied(
            f"{where}: there are no S3 credentials",
            next_step="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name them in the archive's block",
        )
    if code == "NoSuchBucket":
        return ArchiveNotFound(
            f"{where}: the bucket does not exist", next_step="Create it, or correct its name"
        )
    if code == "404" and _operation(error) != "HeadObject":
        # S3 says what is missing (NoSuchKey, NoSuchBucket); only a HEAD has no body to say it in.
        return _not_s3(where)
    if code in GONE:
        return ArchiveNotFound(f"{where} is not in the archive")
    if code == "InvalidRequest" and _WITHOUT_LOCK in _text(error).lower():
        code = "ObjectLockConfigurationNotFoundError"
    if code in _RULES:
        what, setting = _RULES[code]
        return ArchiveDenied(
            f"{where}: the bucket does not take {what} ({code})",
            next_step=f"Correct {setting}, or the same in the archive's block, then run `prefect-ltx sweep`",
        )
    if code in _DENIED:
        return _denied(error, code, where)
    if code in ("NotImplemented", "501"):
        return ArchiveDenied(
            f"{where}: this S3 server does not support what was asked ({code})",
            next_step="Use a server with conditional writes (If-None-Match) and the bucket's rules that are set "
            "(`prefect-ltx doctor` says which one it lacks), then run `prefect-ltx sweep`",
        )
    if isinstance(error, NotS3Answer | ResponseParserError):
        return _not_s3(where)
    if code:
        return ArchiveUnavailable(f"{where}: S3 answers {code} (HTTP {_status(error)})")
    if reason := _not_trusted(error):
        return ArchiveDenied(
            f"{where}: the S3 server's certificate is not trusted ({reason})",
            next_step="Set AWS_CA_BUNDLE to the file of the authority that signed it, or correct the endpoint",
        )
    if isinstance(error, EndpointConnectionError):
        return ArchiveUnavailable(f"{where}: the S3 server cannot be reached")
    if isinstance(error, asyncio.TimeoutError):
        return ArchiveUnavailable(f"{where}: S3 did not answer in time")
    return ArchiveUnavailable(f"{where}: the connection to S3 failed ({type(error).__name__})")


def _not_s3(where: str) -> ArchiveError:
    return ArchiveUnavailable(
        f"{where}: what answers there is not S3's own (a login page, a proxy, or half an answer)",
        next_step="Check the endpoint and what stands before it, then run it again",
    )


def _denied(error: BaseException, code: str, where: str) -> ArchiveDenied:
    """The refusal, with the clock where that is the reason, else with the permission that the call needs."""
    skew = _skew(error)
    if code in _CLOCK or abs(skew) > _SKEW_SECONDS:
        by = f": it is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} S3's" if skew else ""
        return ArchiveDenied(
            f"{where}: S3 refuses it ({code}) because of this machine's clock{by}",
            next_step="Set this machine's clock (switch time synchronisation on), then run `prefect-ltx sweep`",
        )
    needed = _PERMISSIONS.get(_operation(error))
    if code in _CREDENTIALS or needed is None:
        return ArchiveDenied(f"{where}: S3 refuses it ({code})")
    return ArchiveDenied(
        f"{where}: S3 refuses it ({code}): these credentials lack {needed}",
        next_step=f"Grant {needed}, then run `prefect-ltx sweep`",
    )


def _text(error: BaseException) -> str:
    """The server's own words, to be understood and never to be shown."""
    client_error = _client_error(error)
    return str(client_error.response.get("Error", {}).get("Message", "")) if client_error else ""


def _skew(error: BaseException) -> float:
    """Seconds by which this machine's clock is ahead of the server's, as its answer's `Date` says; 0: not known."""
    client_error = _client_error(error)
    headers = client_error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}) if client_error else {}
    try:
        return time.time() - parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return 0.0


def _operation(error: BaseException) -> str:
    client_error = _client_error(error)
    return str(client_error.operation_name) if client_error else ""


def _client_error(error: BaseException) -> ClientError | None:
    # s3fs turns a ClientError into an OSError and keeps it as the cause.
    for each in (error, error.__cause__):
        if isinstance(each, ClientError):
            return each
    return None


def _not_trusted(error: BaseException) -> str:
    """Return OpenSSL's reason for refusing the server's certificate; empty for any other failure."""
    refused = error.kwargs.get("error") if isinstance(error, SSLError) else None
    cause = getattr(refused, "certificate_error", None)
    return cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else ""


def _status(error: BaseException) -> int:
    client_error = _client_error(error)
    found = client_error.response.get("ResponseMetadata", {}) if client_error else {}
    return int(found.get("HTTPStatusCode", 0))
