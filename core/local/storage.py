"""Uploads in every dialect (fal-protocol §6.1, §6.2): the CDN token path, multipart as the Python and as the
JavaScript client speak it, and `initiate` with a signed URL that needs no key."""

from datetime import timedelta
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from prefect_ltx.local.errors import Refusal
from prefect_ltx.local.filestore import name_for, safe_name, safe_type
from prefect_ltx.local.jsonbody import json_object
from prefect_ltx.local.lifecycle import lifetime_of
from prefect_ltx.local.origin import origin_of
from prefect_ltx.local.replies import json_reply
from prefect_ltx.local.site import site_of
from prefect_ltx.local.submit import locked

_TOKEN_SECONDS: Final = 3600
_SIGNED_URL_SECONDS: Final = 120
_MULTIPART_SECONDS: Final = 24 * 3600
_REALTIME_SECONDS: Final = 120

router = APIRouter()


@router.post("/storage/auth/token")
async def cdn_token(request: Request) -> Response:
    """A short-lived token for the CDN, so that the account's key never goes there."""
    site = site_of(request)
    account = site.keys.account(request.headers.get("authorization"))
    if fault := site.fault("refused_cdn_token", request):
        return json_reply({"detail": "Upload tokens are not available"}, int(fault.value or 500))
    expires = site_of(request).runtime.now() + timedelta(seconds=_TOKEN_SECONDS)
    return json_reply(
        {
            "token": site.keys.make_token("cdn", _TOKEN_SECONDS, account=account),
            "token_type": "Bearer",
            "base_url": origin_of(request).url("cdn", ""),
            "expires_at": expires.isoformat(timespec="seconds"),
        }
    )


@router.post("/tokens")
async def realtime_token(request: Request) -> Response:
    """A token for a browser (`fal_jwt_token`): a JSON string, as fal answers."""
    site = site_of(request)
    account = site.keys.account(request.headers.get("authorization"))
    wish = await json_object(request)
    seconds = wish.get("token_expiration", _REALTIME_SECONDS)
    lifetime = float(seconds) if isinstance(seconds, int | float) else _REALTIME_SECONDS
    return json_reply(site.keys.make_token("realtime", lifetime, account=account))


@router.post("/files/upload")
async def upload(request: Request) -> Response:
    """Raw bytes in, `access_url` out."""
    site = site_of(request)
    site.keys.uploader(request.headers.get("authorization"))
    _refuse_if_told(request)
    claims = _claims_from_headers(request)
    await site.files.receive(request.stream(), **claims)
    return json_reply({"access_url": origin_of(request).url("cdn", claims["path"])})


@router.post("/files/upload/multipart")
async def begin_multipart(request: Request) -> Response:
    """The Python client's multipart: `{access_url, uploadId}`; parts go to
    `{access_url}/multipart/{id}/{n}`."""
    site = site_of(request)
    site.keys.uploader(request.headers.get("authorization"))
    _refuse_if_told(request)
    claims = _claims_from_headers(request)
    token = site.keys.make_token("upload", _MULTIPART_SECONDS, **claims)
    return json_reply({"access_url": origin_of(request).url("cdn", claims["path"]), "uploadId": token})


@router.put("/files/{file:path}/multipart/{upload_id}/{number:int}")
async def put_part(request: Request, file: str, upload_id: str, number: int) -> Response:
    """One part, with a CDN token; the etag comes as a header and in the body."""
    site_of(request).keys.uploader(request.headers.get("authorization"))
    return await _take_part(request, upload_id, number)


@router.post("/files/{file:path}/multipart/{upload_id}/complete")
async def complete_multipart(request: Request, file: str, upload_id: str) -> Response:
    """Join the parts; they may be listed in any order."""
    site_of(request).keys.uploader(request.headers.get("authorization"))
    return await _complete(request, upload_id)


@router.post("/storage/upload/initiate")
async def initiate(request: Request) -> Response:
    """`{upload_url, file_url}`: a signed URL for one PUT without a key, for either storage_type."""
    return await _initiate(request, _SIGNED_URL_SECONDS)


@router.post("/storage/upload/initiate-multipart")
async def initiate_multipart(request: Request) -> Response:
    """The JavaScript client's multipart: parts go to `{upload_url}/{n}`, the query string kept."""
    return await _initiate(request, _MULTIPART_SECONDS)


@router.put("/signed-upload/{upload_id}")
async def put_signed(request: Request, upload_id: str) -> Response:
    """The bytes of an initiated upload; again before the URL expires replaces them."""
    site = site_of(request)
    claims = _claims_of(request, upload_id)
    _refuse_if_told(request)
    row = await site.files.receive(request.stream(), **claims)
    return json_reply({"file_size": row.size}, headers={"etag": f'"{row.sha256[:32]}"'})


@router.put("/signed-upload/{upload_id}/{number:int}")
async def put_signed_part(request: Request, upload_id: str, number: int) -> Response:
    """One part of an initiated multipart upload."""
    return await _take_part(request, upload_id, number)


@router.post("/signed-upload/{upload_id}/complete")
async def complete_signed(request: Request, upload_id: str) -> Response:
    """Join the parts of an initiated multipart upload."""
    return await _complete(request, upload_id)


async def _initiate(request: Request, seconds: float) -> Response:
    site, origin = site_of(request), origin_of(request)
    site.keys.account(request.headers.get("authorization"))
    if site.fault("account_locked", request):
        raise locked()
    _refuse_if_told(request)
    wish = await json_object(request)
    content_type = safe_type(str(wish.get("content_type") or ""))
    name = str(wish.get("file_name") or name_for(content_type))
    claims: dict[str, Any] = {
        "path": site.files.new_path(name),
        "name": safe_name(name),
        "content_type": content_type,
        "lifetime": _lifetime(request),
    }
    token = site.keys.make_token("upload", seconds, **claims)
    # The signature is the token's own; a query string is there because clients have to carry one along.
    upload_url = origin.url("cdn", f"/signed-upload/{token}") + f"?X-Expires={seconds:g}"
    return json_reply({"upload_url": upload_url, "file_url": origin.url("cdn", claims["path"])})


async def _take_part(request: Request, upload_id: str, number: int) -> Response:
    site = site_of(request)
    _claims_of(request, upload_id)
    _refuse_if_told(request)
    etag = await site.files.receive_part(request.stream(), upload_id, number)
    return json_reply({"partNumber": number, "etag": etag}, headers={"etag": etag})


async def _complete(request: Request, upload_id: str) -> Response:
    site = site_of(request)
    claims = _claims_of(request, upload_id)
    listed = (await json_object(request)).get("parts")
    try:
        parts = [(int(part["partNumber"]), str(part["etag"])) for part in listed]  # type: ignore[union-attr]
    except (TypeError, KeyError, ValueError):
        raise Refusal(400, {"detail": "Expected parts: [{partNumber, etag}]"}) from None
    if any(not etag.strip('"').isalnum() for _, etag in parts):
        raise Refusal(400, {"detail": "Invalid etag"})
    await site.files.complete(upload_id, parts, **claims)
    return json_reply({"access_url": origin_of(request).url("cdn", claims["path"])})


def _claims_from_headers(request: Request) -> dict[str, Any]:
    content_type = safe_type(request.headers.get("content-type", ""))
    name = request.headers.get("x-fal-file-name") or name_for(content_type)
    return {
        "path": site_of(request).files.new_path(name),
        "name": safe_name(name),
        "content_type": content_type,
        "lifetime": _lifetime(request),
    }


def _claims_of(request: Request, upload_id: str) -> dict[str, Any]:
    claims = site_of(request).keys.read_token(upload_id, "upload")
    return {name: claims[name] for name in ("path", "name", "content_type", "lifetime")}


def _lifetime(request: Request) -> float | None:
    headers = request.headers
    return lifetime_of(
        headers.get("x-fal-object-lifecycle"), headers.get("x-fal-object-lifecycle-preference")
    )


def _refuse_if_told(request: Request) -> None:
    if fault := site_of(request).fault("refused_upload", request):
        raise Refusal(int(fault.value or 500), {"detail": "Upload refused"})
