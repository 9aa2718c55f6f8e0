"""Who is asking: `Authorization: Key <id>:<secret>`, a CDN token, or nobody (fal-protocol §2).

Every well-formed key is taken unless the server was given one of its own; so is no key at all, because the
embedded server is what a laptop without a key works against. The id before the colon is the account, unless
another is told: then several keys are one account, as after a rotation.
"""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from prefect_ltx.local.errors import Refusal

_MALFORMED: Final = "Invalid Key Authorization header format. Expected '<key_id>:<key_secret>'."
_WRONG: Final = "No user found for Key ID and Secret"


class Keys:
    """Which keys are good, and the tokens made from them. Tokens are signed, so they outlive a restart."""

    def __init__(
        self,
        secret: bytes,
        key: str | None = None,
        accounts: Mapping[str, str | None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`secret` signs the tokens; `key`, where given, is the only good one; `accounts` names the account of
        a key id, None where the key is revoked. What it says may change at any time. `clock` gives unix seconds."""
        self._clock = clock
        self._secret = secret
        self._key = key
        self._accounts: Mapping[str, str | None] = {} if accounts is None else accounts

    def account(self, authorization: str | None, *, query_token: str | None = None) -> str:
        """The account of a request: its key's id unless told otherwise, "" where no key was given and none is
        asked for.

        Raises:
            Refusal: 401 with fal's own wording.
        """
        if query_token is not None:
            return str(self.read_token(query_token, "realtime")["account"])
        if not authorization:
            if self._key is not None:
                raise Refusal(401, {"detail": "Authorization header is required"})
            return ""
        scheme, _, credentials = authorization.partition(" ")
        if scheme.lower() != "key":
            raise Refusal(401, {"detail": "Authorization header must start with 'Key '"})
        key_id, colon, key_secret = credentials.partition(":")
        if not colon or not key_id.strip() or not key_secret.strip() or credentials != credentials.strip():
            raise Refusal(401, {"detail": _MALFORMED})
        if self._key is not None and not hmac.compare_digest(credentials.encode(), self._key.encode()):
            raise Refusal(401, {"detail": _WRONG})
        account = self._accounts.get(key_id, key_id)
        if account is None:
            raise Refusal(401, {"detail": _WRONG})
        return account

    def uploader(self, authorization: str | None) -> str:
        """The account of an upload: a CDN token as Bearer, or a key.

        Raises:
            Refusal: 401.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() == "bearer":
            return str(self.read_token(token, "cdn")["account"])
        return self.account(authorization)

    def make_token(self, kind: Literal["cdn", "realtime", "upload"], seconds: float, /, **claims: Any) -> str:
        """A signed, URL-safe text that says `claims` until `seconds` from now."""
        payload = json.dumps({"kind": kind, "expires": self._clock() + seconds, **claims}, sort_keys=True)
        body = base64.urlsafe_b64encode(payload.encode()).rstrip(b"=").decode()
        return f"{body}.{self._signature(body)}"

    def read_token(self, token: str, kind: Literal["cdn", "realtime", "upload"]) -> dict[str, Any]:
        """The claims of a token that we made for this purpose and that has not expired.

        Raises:
            Refusal: 401.
        """
        body, _, signature = token.partition(".")
        if not hmac.compare_digest(signature, self._signature(body)):
            raise Refusal(401, {"detail": "Invalid token"})
        try:
            claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        except (ValueError, binascii.Error):
            raise Refusal(401, {"detail": "Invalid token"}) from None
        if claims.get("kind") != kind or claims.get("expires", 0) < self._clock():
            raise Refusal(401, {"detail": "Token has expired"})
        return claims

    def _signature(self, body: str) -> str:
        return hmac.new(self._secret, body.encode(), hashlib.sha256).hexdigest()[:43]
