import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from prefect_ltx.fal import (
    WebhookError,
    WebhookHeaderMissing,
    WebhookKeysUnusable,
    WebhookMalformed,
    WebhookSignatureInvalid,
    WebhookStale,
    WebhookWrongUser,
    verify_webhook,
)

NOW = 1_790_000_000
USER = "github|123"
OURS = Ed25519PrivateKey.from_private_bytes(b"1" * 32)
THEIRS = Ed25519PrivateKey.from_private_bytes(b"2" * 32)
CONTENT = {
    "request_id": "r-1",
    "gateway_request_id": "g-1",
    "status": "OK",
    "payload": {"seed": 3},
    "error": None,
}
BODY = json.dumps(CONTENT, indent=1).encode()


def jwk(key: Ed25519PrivateKey) -> dict[str, Any]:
    x = base64.urlsafe_b64encode(key.public_key().public_bytes_raw()).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": x}


def signed(
    body: bytes = BODY, key: Ed25519PrivateKey = OURS, stamp: str = str(NOW), **changes: str
) -> dict[str, str]:
    digest = hashlib.sha256(body).hexdigest()
    message = f"r-1\n{USER}\n{stamp}\n{digest}".encode()
    headers = {
        "X-Fal-Webhook-Request-Id": "r-1",
        "X-Fal-Webhook-User-Id": USER,
        "X-Fal-Webhook-Timestamp": stamp,
        "X-Fal-Webhook-Signature": key.sign(message).hex(),
    }
    return headers | {
        f"X-Fal-Webhook-{name.replace('_', '-').title()}": value for name, value in changes.items()
    }


def verify(headers: dict[str, str], body: bytes = BODY, **options: Any) -> Any:
    return verify_webhook(headers, body, **({"jwks": {"keys": [jwk(OURS)]}, "now": NOW} | options))


def test_a_signed_webhook_is_believed() -> None:
    """What fal signed comes out typed, whatever the case of the header names."""
    headers = {name.lower(): value for name, value in signed().items()}
    got = verify(headers, user_id=USER)
    assert (got.request_id, got.gateway_request_id, got.status) == ("r-1", "g-1", "OK")
    assert (got.payload, got.user_id, got.timestamp) == ({"seed": 3}, USER, NOW)


def test_any_key_of_the_set_will_do() -> None:
    """During a change of keys both verify, and keys of other kinds are passed over."""
    others = [
        {"kty": "RSA", "n": "x"},
        {"kty": "OKP", "crv": "Ed25519", "x": "short"},
        5,
        jwk(THEIRS),
        jwk(OURS),
    ]
    assert verify(signed(), jwks=others)
    assert verify(signed(), jwks={"keys": others})


@pytest.mark.parametrize("name", [*signed()])
@pytest.mark.parametrize("missing", [True, False])
def test_each_header_is_needed(name: str, missing: bool) -> None:
    """A header that is absent or empty is named in the error."""
    headers = signed() | {name: ""}
    if missing:
        del headers[name]
    with pytest.raises(WebhookHeaderMissing, match=name):
        verify(headers)


@pytest.mark.parametrize("offset", [-301, 301, -86400])
def test_an_old_or_future_webhook_is_stale(offset: int) -> None:
    """Outside five minutes, a good signature does not help."""
    with pytest.raises(WebhookStale):
        verify(signed(stamp=str(NOW + offset)))


@pytest.mark.parametrize("offset", [-300, 0, 300])
def test_within_the_tolerance_it_is_fresh(offset: int) -> None:
    """Exactly five minutes are still good, and the tolerance can be set."""
    assert verify(signed(stamp=str(NOW + offset)))
    with pytest.raises(WebhookStale):
        verify(signed(stamp=str(NOW + offset)), tolerance=abs(offset) - 1)


@pytest.mark.parametrize("stamp", ["soon", "-1", "1.5", "１２", "9" * 30, " 5"])
def test_a_timestamp_that_is_none_is_malformed(stamp: str) -> None:
    """Only plain digits are a timestamp."""
    with pytest.raises(WebhookMalformed, match="Timestamp"):
        verify(signed(stamp=stamp))


def test_a_signature_that_is_not_hex_is_malformed() -> None:
    """An unreadable signature is told from a wrong one."""
    with pytest.raises(WebhookMalformed, match="Signature"):
        verify(signed(signature="zz"))


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (signed(key=THEIRS), BODY),
        (signed(), BODY + b" "),
        (signed(signature="00"), BODY),
        (signed(user_id="github|124"), BODY),
        (signed(request_id="r-2"), BODY),
        (signed(timestamp=str(NOW + 1)), BODY),
    ],
)
def test_whatever_was_changed_breaks_the_signature(headers: dict[str, str], body: bytes) -> None:
    """Another key, body, user, request or time than was signed is not believed."""
    with pytest.raises(WebhookSignatureInvalid):
        verify(headers, body)


@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_no_byte_of_the_body_can_be_changed(at: int, flip: int) -> None:
    """Every single byte is under the signature."""
    changed = bytearray(BODY)
    changed[at] ^= flip
    with pytest.raises(WebhookSignatureInvalid):
        verify(signed(), bytes(changed))


def test_another_accounts_webhook_is_not_ours() -> None:
    """fal's keys sign for everybody, so the user is checked as well."""
    with pytest.raises(WebhookWrongUser):
        verify(signed(), user_id="github|124")


@pytest.mark.parametrize("jwks", [{}, {"keys": []}, [], {"keys": None}, [{"kty": "RSA"}], {"keys": "abc"}])
def test_a_key_set_without_a_key_verifies_nothing(jwks: Any) -> None:
    """An empty or foreign key set is an error of its own, never a pass."""
    with pytest.raises(WebhookKeysUnusable):
        verify(signed(), jwks=jwks)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b"{}",
        b'{"request_id":"r","status":"MAYBE"}',
        b'{"request_id":"","status":"OK"}',
        b"[" * 9999,
    ],
)
def test_a_signed_body_that_is_not_fals_is_malformed(body: bytes) -> None:
    """A good signature over nonsense is still nonsense."""
    with pytest.raises(WebhookMalformed):
        verify(signed(body), body)


def test_an_error_webhook_keeps_the_models_words() -> None:
    """ERROR carries the error body, or says that the payload could not be written."""
    body = json.dumps(
        {"request_id": "r-1", "status": "ERROR", "error": "Invalid status code: 422", "payload": None}
    ).encode()
    got = verify(signed(body), body)
    assert (got.status, got.error, got.payload) == ("ERROR", "Invalid status code: 422", None)


def test_every_refusal_is_a_webhook_error() -> None:
    """A receiver needs one except clause."""
    with pytest.raises(WebhookError):
        verify({})


@pytest.mark.parametrize(
    "payload",
    [
        '{"seed": ' + "9" * 5000 + "}",
        '{"prompt": "\\ud800\\u0000"}',
        '{"seed": NaN, "x": 1e999, "y": ' + str(2**80) + "}",
        '["\xff"]',
    ],
)
def test_an_odd_payload_is_readable_and_storable(payload: str) -> None:
    """What fal signed is believed, and no number or text in it breaks a reader or a database."""
    body = f'{{"request_id": "r-1", "status": "OK", "error": {{"a": 1}}, "payload": {payload}}}'.encode(
        "latin-1"
    )
    got = verify(signed(body), body)
    assert json.dumps(got.payload, allow_nan=False, ensure_ascii=False).encode()
    assert "\\u0000" not in json.dumps(got.payload)
    assert got.request_id == "r-1"


@pytest.mark.parametrize("named", ["x" * 1_000_000, "../r", "a b", "", 5, None])
def test_a_webhook_names_a_request_id_that_can_be_one(named: object) -> None:
    """An id of a megabyte is refused before anybody logs it or asks for it."""
    body = json.dumps(CONTENT | {"request_id": named}).encode()
    with pytest.raises(WebhookMalformed) as caught:
        verify(signed(body), body)
    assert len(str(caught.value)) < 500
