"""Everything that can go wrong with fal, and what it means for the bill.

Every message is one line that says what happened, whether money was spent, and what to do next. None holds a
key or a URL's query string. All classes can be pickled, and raise no second error when they are printed.

                                                                                        billed?
    FalError
    ├── FalRequestInvalid         found here, before anything was sent (a ValueError)    no
    ├── FalNotSent                not a byte of the request left this machine            no
    ├── FalSubmitUnknown          the one POST left, no usable answer: NEVER repeat it   maybe
    ├── FalRequestRejected        any other definite refusal (4xx)                       no
    │   ├── FalAuthenticationError    401: the key                                       no
    │   ├── FalPermissionDenied       403: not allowed                                   no
    │   │   └── FalAccountLocked      403: the account is locked, often for its balance  no
    │   ├── FalNotFound               404: endpoint or request unknown                   no
    │   └── FalRateLimited            429: too many at once                              no
    ├── FalValidationError        422: the fields are in `.fields`      no at submit, maybe on a result
    ├── FalGenerationFailed       fal ran it and it failed              no for 5xx, maybe otherwise
    ├── FalGenerationCancelled    it was cancelled                                       maybe
    ├── FalResultNotReady         asked too early                                        unaffected
    ├── FalResultExpired          it finished, and fal no longer has the result          maybe
    ├── FalUnavailable            a read failed, retries included                        unaffected
    │   └── FalGateway                something between, not fal, answered               unaffected
    ├── FalProtocolError          an answer that cannot be read                          unaffected
    ├── FalHostRefused            an answer named a host that must not get a credential  unaffected
    ├── FalUploadError            an input file did not get to fal                       no
    ├── FalDownloadError          a file of fal's could not be fetched                   unaffected
    └── WebhookError              a webhook that must not be believed                    unaffected
        ├── WebhookHeaderMissing
        ├── WebhookStale              its timestamp is too old, or in the future
        ├── WebhookSignatureInvalid
        ├── WebhookMalformed          an unreadable header or body
        ├── WebhookWrongUser          signed by fal for another account
        └── WebhookKeysUnusable       the key set holds no Ed25519 key

What `FalClient.submit` raises reads: `billed == "no"` proves that nothing runs and nothing is owed;
`billed == "maybe"` (only `FalSubmitUnknown`) means look, never send again.
"unaffected" (`billed == "no"`): the call itself was free, and it says nothing about the generation.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final, Literal, Self

from prefect_ltx.fal.clock import Heard
from prefect_ltx.fal.field_problem import FieldProblem
from prefect_ltx.fal.safe_text import plain

Billed = Literal["no", "maybe", "yes"]

FREE_CALL: Final = "This call cost nothing and changes nothing about the generation"

_MONEY: dict[Billed, str] = {"no": "Not billed", "maybe": "May have been billed", "yes": "Billed"}


class FalError(Exception):
    """Root of all errors of this room.

    Attributes:
        what: what happened.
        billed: "no", "maybe" or "yes"; the table at the top of the file says of what.
        request_id: fal's id of the request, where one is known.
        next_step: what to do now.
        status: the HTTP status behind it, where there was one.
        heard: who answered and when it was asked, by fal's clock; None where nothing was asked.
    """

    default_billed: ClassVar[Billed] = "no"
    default_next_step: ClassVar[str] = ""
    heard: Heard | None = None
    money_note: str = ""
    """Said in place of "Not billed" where the call was free whatever became of the generation."""

    def __init__(
        self,
        what: str,
        *,
        billed: Billed | None = None,
        request_id: str | None = None,
        next_step: str | None = None,
        status: int | None = None,
        free_call: bool = False,
    ) -> None:
        if free_call:
            self.money_note = FREE_CALL
        self.what = plain(what, limit=1500).rstrip(". ")
        self.billed: Billed = billed or self.default_billed
        self.request_id = request_id
        self.next_step = plain(next_step if next_step is not None else self.default_next_step).rstrip(". ")
        self.status = status
        super().__init__(self._line())

    def _line(self) -> str:
        named = f" [request {plain(self.request_id, 80)}]" if self.request_id else ""
        money = self.money_note if self.money_note and self.billed == "no" else _MONEY[self.billed]
        return ". ".join(part for part in (self.what + named, money, self.next_step) if part) + "."

    def __str__(self) -> str:
        return self._line()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._line()!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, dict(self.__dict__))

    @classmethod
    def _bare(cls) -> Self:
        return cls.__new__(cls)


def _rebuild(cls: type[FalError], args: tuple[object, ...], state: dict[str, object]) -> FalError:
    error = cls._bare()
    error.args = args
    error.__dict__.update(state)
    return error


class _WithFields(FalError):
    def __init__(self, what: str, *, fields: Sequence[FieldProblem] = (), **rest: Any) -> None:
        self.fields = list(fields)
        listed = "; ".join(str(problem) for problem in self.fields)
        super().__init__(f"{what}: {listed}" if listed else what, **rest)


class FalRequestInvalid(_WithFields, ValueError):
    """Bad input, found before anything was sent; `.fields` has one entry a field."""

    default_next_step = "Nothing was sent; correct it and try again"


class FalNotSent(FalError):
    """Not a byte of the request left this machine: the connection was watched."""

    default_next_step = "Nothing was sent; check the network and the fal URL, then try again"


class FalSubmitUnknown(FalError):
    """The POST left and there is no usable answer. It may run and it may be billed: look, never send again.

    `.request_id` is set where even a broken answer named it: then ask for that request's status.
    """

    default_billed = "maybe"
    default_next_step = "Do not send it again: look for the request at fal first (prefect-ltx sweep)"


class FalRequestRejected(FalError):
    """A definite refusal by fal."""

    default_next_step = "It cannot succeed unchanged; correct it first"


class FalAuthenticationError(FalRequestRejected):
    """401: fal does not accept the key."""

    default_next_step = "Check FAL_KEY: the whole '<key_id>:<key_secret>', without spaces or a line break"


class FalPermissionDenied(FalRequestRejected):
    """403: the key is good, but may not do this."""

    default_next_step = "Use a key with the scope this call needs"


class FalAccountLocked(FalPermissionDenied):
    """403 "User is locked": balance exhausted, or locked by fal."""

    default_next_step = "Top up the balance or talk to fal's support, then try again"


class FalNotFound(FalRequestRejected):
    """404: no such endpoint, or no such request in this account."""

    default_next_step = "Check the endpoint, the request id, and that the key is of the same account"


class FalRateLimited(FalRequestRejected):
    """429. `.retry_after` is the wait in seconds that fal asks for, or None."""

    default_next_step = "Try again later"

    def __init__(self, what: str, *, retry_after: float | None = None, **rest: Any) -> None:
        self.retry_after = retry_after
        super().__init__(what, **rest)


class FalValidationError(_WithFields):
    """422. `.fields` says which field and why. On a result it may have been billed (fal-protocol §5.4)."""

    default_billed = "maybe"
    default_next_step = "Correct the request; unchanged it fails again"


class FalGenerationFailed(FalError):
    """fal ran the generation and it failed.

    `.error_type` is fal's word for it ("" when it gave none), `.retryable` whether fal says that a new
    generation may succeed (None: it does not say).
    """

    default_next_step = "A new submission may succeed if fal calls the error temporary"

    def __init__(
        self, what: str, *, error_type: str = "", retryable: bool | None = None, **rest: Any
    ) -> None:
        self.error_type = error_type
        self.retryable = retryable
        super().__init__(what, **rest)


class FalGenerationCancelled(FalError):
    """The generation was cancelled. What fal bills for one cancelled while running is not documented."""

    default_billed = "maybe"
    default_next_step = "Compare with fal's billing if it had already started"


class _FreeCall(FalError):
    money_note = FREE_CALL


class FalResultNotReady(_FreeCall):
    """The result was asked for before the request finished."""

    default_next_step = "Wait until its status is COMPLETED"


class FalResultExpired(FalError):
    """The request finished, but fal no longer has its result (fal-protocol §1.6)."""

    default_billed = "maybe"
    default_next_step = "Look for it in fal's request listing; it may still hold the output's URL"


class FalUnavailable(_FreeCall):
    """A read got no proper answer, retries included. Never a verdict on the generation."""

    default_next_step = "Try again later"


class FalGateway(FalUnavailable):
    """A proxy, a gateway or a login page answered in fal's place, with whatever status: fal was not heard."""

    default_next_step = "Look at the proxy or gateway between this machine and fal, then try again"


class FalProtocolError(_FreeCall):
    """An answer that is not what fal's protocol says."""

    default_next_step = "Try again; if it stays, check that the URL is fal's and not a proxy's page"


class FalHostRefused(_FreeCall):
    """An answer named a host that must not receive a credential, so none was sent."""

    default_next_step = "Check the fal URLs in use"


class FalUploadError(FalError):
    """An input file could not be uploaded. No generation was submitted by this call."""

    default_next_step = "Try again; uploading costs nothing"


class FalDownloadError(_FreeCall):
    """A file could not be fetched completely. `.gone`: the server says that it no longer exists."""

    default_next_step = "Try again soon: files on fal expire"

    def __init__(self, what: str, *, gone: bool = False, **rest: Any) -> None:
        self.gone = gone
        super().__init__(what, **rest)


class WebhookError(_FreeCall):
    """A webhook that must not be believed."""

    money_note = "A webhook costs nothing"
    default_next_step = "Ignore it; polling finds the result all the same"


class WebhookHeaderMissing(WebhookError):
    """One of fal's four webhook headers is missing."""


class WebhookStale(WebhookError):
    """The timestamp is outside the tolerance: a replay, or a wrong clock."""

    default_next_step = "Check this machine's clock; if it is right, ignore the webhook"


class WebhookSignatureInvalid(WebhookError):
    """No key of the set made this signature over these bytes."""


class WebhookMalformed(WebhookError):
    """A header or the body cannot be read."""


class WebhookWrongUser(WebhookError):
    """fal signed it, but for another account."""


class WebhookKeysUnusable(WebhookError):
    """The key set holds no Ed25519 key, so nothing can be verified."""

    default_next_step = "Fetch fal's key set again"
