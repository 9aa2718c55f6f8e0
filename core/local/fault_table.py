"""Every knob of the embedded fal, in groups: what it does, how often unless told otherwise, what its value
means.

The page docs/local-fal.md shows this table, and a test holds the two together.
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

ALWAYS: Final = -1

Route = Literal[
    "submit",
    "run",
    "status",
    "result",
    "cancel",
    "listing",
    "prices",
    "billing",
    "models",
    "files",
    "storage",
    "jwks",
    "identity",
]
"""What a question to fal is about, as `edges.route_of` reads it from method and path."""

ReplyKind = Literal["html", "empty", "json", "text", "fal", "cut", "reset"]
"""What comes instead of fal's answer: an HTML page, no body at all, somebody else's JSON, plain text; fal's own
JSON; half of fal's own answer; a reset connection."""


class FaultKind(NamedTuple):
    """One knob. `reads` names the further parameters it takes besides `value`, `endpoint`, `path`, `chance`."""

    sentence: str
    times: int = 1
    value: float | None = None
    reads: tuple[str, ...] = ()


GROUPS: Final[Mapping[str, Mapping[str, FaultKind]]] = {
    "On any route": {
        "edge_error": FaultKind(
            "Something between answers `value` instead of fal; `reply` says with what (html unless told), "
            "`after` that fal acted first.",
            1,
            502,
            ("route", "reply", "after"),
        ),
        "slow_answer": FaultKind(
            "Fal's answer is held back until `value` seconds after the question; with `after` false fal itself "
            "only acts then.",
            1,
            5,
            ("route", "after"),
        ),
        "rate_limited": FaultKind(
            "A burst of 429 in fal's own words, with `Retry-After` of `value` seconds.", 3, 1, ("route",)
        ),
        "date_skew": FaultKind(
            "Fal's clock is `value` seconds ahead of this machine's: `Date`, ids, the times of listing, bill and "
            "webhooks alike.",
            ALWAYS,
            720,
        ),
        "date_missing": FaultKind("Answers have no `Date` header.", ALWAYS),
    },
    "Submit": {
        "lost_reply": FaultKind(
            "The submit is accepted, then the connection is reset before a byte of the reply."
        ),
        "accept_then_timeout": FaultKind(
            "The submit is accepted, then nothing is sent for `value` seconds.", 1, 600
        ),
        "accept_then_502": FaultKind(
            "The submit is accepted, then nginx's HTML page comes as 502, without fal's id."
        ),
        "accept_then_cut_body": FaultKind(
            "The submit is accepted, 200, and the connection ends inside the body."
        ),
        "slow_accept": FaultKind("The submit is accepted at once and answered after `value` seconds.", 1, 1),
        "double_accept": FaultKind(
            "One POST is accepted twice: a second request with the same body runs and bills."
        ),
        "reject_reset": FaultKind("The connection is reset and the submit is not accepted."),
        "reject_5xx": FaultKind("The submit is refused with status `value` and not accepted.", 1, 503),
        "reject_429": FaultKind(
            "The submit is refused with 429 and not accepted; `Retry-After` says `value` seconds.", 1, 1
        ),
        "account_locked": FaultKind(
            "403 'User is locked' on submit and on storage initiate; reads go on.", ALWAYS
        ),
    },
    "Queue and run": {
        "stuck_queue": FaultKind(
            "The request stays IN_QUEUE until this fault is cleared or it is cancelled."
        ),
        "slow_run": FaultKind("The job takes `value` seconds more.", 1, 5),
        "requeued": FaultKind("The running job goes back to the queue once, as when fal's runner dies."),
        "job_fails": FaultKind(
            "The generation ends with fal's internal_server_error (500, retryable, not billed)."
        ),
        "job_422": FaultKind("The generation ends with content_policy_violation (422)."),
        "cancel_ignored": FaultKind("A running job is not stopped by a cancel; it finishes and is billed."),
        "concurrency": FaultKind("At most `value` jobs run at once.", ALWAYS, 2),
        "megapixel_cap": FaultKind("A request for more than `value` megapixels ends with 422.", ALWAYS, 150),
    },
    "Status and result": {
        "status_5xx": FaultKind("A status read answers `value`.", 1, 503),
        "result_5xx": FaultKind("A result read answers `value`, though the generation is fine.", 1, 500),
        "read_reset": FaultKind("The connection is reset on a status or result read."),
        "result_404": FaultKind(
            "The result has expired: 404 from then on; the listing still has it, with payload."
        ),
        "result_purged": FaultKind(
            "The result has expired and the request is gone from status and listing as well."
        ),
        "false_404": FaultKind(
            "Fal says NOT_FOUND on status, result or cancel, though it has the request; then it is there again.",
            reads=("route",),
        ),
        "result_500_bare": FaultKind(
            "A result read answers 500 without a body and without a word on whether to retry; with `reply` fal the "
            "body is fal's JSON.",
            reads=("reply",),
        ),
    },
    "Odd answers": {
        "odd_result": FaultKind(
            "A generation's `field` is missing, or `to`; without a field `to` is all there is. In result, webhook "
            "and listing alike, for `times` generations, until cleared. `{url}` in `to` is the clip's URL, `{value}` "
            "what was there.",
            reads=("field", "to"),
        ),
        "odd_number": FaultKind(
            "As `odd_result`, and `field` is `value` more than it should be.", 1, 1, ("field",)
        ),
        "odd_answer": FaultKind(
            "Any JSON answer of fal's on `route` has its `field` missing, or `to` there instead "
            "(`items.0.json_input`, `prices.*.unit`).",
            reads=("route", "field", "to"),
        ),
    },
    "Files": {
        "truncated_download": FaultKind(
            "A file download ends half-way, with the full Content-Length announced."
        ),
        "corrupted_download": FaultKind("A file download has the right length and other bytes."),
        "slow_download": FaultKind("A file download runs at `value` bytes a second.", 1, 100_000),
        "endless_download": FaultKind(
            "A file download has no length and no end, at `value` bytes a second.", 1, 20_000_000
        ),
        "expired_file": FaultKind("A file is gone from the CDN: 404."),
        "refused_upload": FaultKind(
            "A write to storage (upload, part, signed PUT, initiate) answers `value`.", 1, 500
        ),
        "upload_gone": FaultKind(
            "What a request's uploads were is deleted when its job wants it: 422 file_download_error."
        ),
        "refused_cdn_token": FaultKind("The CDN token endpoint answers `value`.", 1, 500),
    },
    "What is delivered": {
        "control_area": FaultKind(
            "Built-in control makes `value` megapixels per frame, in the shape asked for or the reference's, sides in "
            "multiples of 64: whatever size is asked.",
            ALWAYS,
            0.5,
        ),
        "pad_frames": FaultKind("The clip has its frames padded up to 8k+1.", ALWAYS),
        "snap": FaultKind(
            "The clip is made as the model does it: sides in multiples of 64, frames 8k+1.", ALWAYS
        ),
        "sheet_lead_in": FaultKind(
            "An ingredient clip opens with `value` frames of the reference sheet.", 1, 3
        ),
    },
    "Webhooks": {
        "duplicate_webhooks": FaultKind("A webhook is delivered `value` times.", 1, 2),
        "reordered_webhooks": FaultKind(
            "A webhook is held until the next one has gone, or for `value` seconds.", 1, 5
        ),
        "lost_webhooks": FaultKind("A webhook is never delivered."),
        "webhook_payload_error": FaultKind("A webhook comes with payload null and a payload_error."),
        "jwks_5xx": FaultKind("The key set of webhooks answers `value`.", ALWAYS, 503),
    },
    "Platform API": {
        "platform_5xx": FaultKind("A Platform API call answers `value`.", 1, 500),
        "listing_lag_seconds": FaultKind(
            "A request is listed only `value` seconds after its submit.", ALWAYS, 60
        ),
        "listing_forbidden": FaultKind("The key may not list requests: 403.", ALWAYS),
        "listing_hides_queued": FaultKind("A request is listed only once it has started.", ALWAYS),
        "listing_without_payloads": FaultKind("Listed requests carry no payloads.", ALWAYS),
        "listing_by_ended_at": FaultKind(
            "The listing sorts by `ended_at` and its window is of that time: what waits or runs is not in it.",
            ALWAYS,
        ),
        "listing_spelling": FaultKind(
            "The listing writes the endpoint otherwise: as `to`, else fal-ai/ltx-2.3-quality.",
            ALWAYS,
            None,
            ("to",),
        ),
        "listing_duplicates": FaultKind("Every entry is listed twice.", ALWAYS),
        "listing_overlap": FaultKind(
            "A page begins with the last `value` entries of the one before.", ALWAYS, 1
        ),
        "listing_truncated": FaultKind(
            "The listing ends after `value` entries, says that there are more, and gives no cursor.",
            ALWAYS,
            1,
        ),
        "listing_extra_page": FaultKind("After the last page comes an empty one.", ALWAYS),
        "listing_repeats_cursor": FaultKind("Every page names the first one as the next: no end.", ALWAYS),
        "odd_item": FaultKind(
            "A generation's entry in the listing has its `field` missing, or `to`; without a field `to` is all there "
            "is (null: it cannot be read). For `times` generations, until cleared.",
            reads=("field", "to"),
        ),
        "prices_down": FaultKind("The price list answers `value`.", ALWAYS, 503),
        "billing_forbidden": FaultKind(
            "The key may not read billing events, usage or the account: 403.", ALWAYS
        ),
        "billing_lag_seconds": FaultKind(
            "A charge is a billing event only `value` seconds later.", ALWAYS, 60
        ),
    },
    "Money": {
        "bill_padded_frames": FaultKind(
            "A generation is billed for frames padded up to 8k+1, whatever was delivered.", ALWAYS
        ),
        "bill_requested": FaultKind(
            "A generation is billed for what was asked, where that is more than what was delivered.", ALWAYS
        ),
        "absurd_bill": FaultKind("A generation is billed `value` times what it should be.", 1, 1000),
        "billed_unit_price": FaultKind(
            "A megapixel is billed at `value` dollars, whatever the price list says.", ALWAYS, 0.02
        ),
        "fallback": FaultKind(
            "A request that does not forbid it (`x-app-fal-disable-fallback`) is answered by another endpoint, named "
            "`to`, at `value` times the price.",
            1,
            3,
            ("to",),
        ),
        "split_billing": FaultKind("A charge is `value` billing events, which sum up to it.", ALWAYS, 2),
        "split_billing_late": FaultKind(
            "With `split_billing`: only the first of them shows for `value` seconds.", ALWAYS, 60
        ),
        "billing_missing": FaultKind(
            "A charge never becomes a billing event; `times` counts generations.", ALWAYS
        ),
        "no_billable_units": FaultKind("Results come without `x-fal-billable-units`.", ALWAYS),
        "bill_422": FaultKind("A generation that ends with 422 is billed for what it asked.", ALWAYS),
        "bill_cancelled": FaultKind("A job cancelled while it ran is billed for what it asked.", ALWAYS),
        "overbill": FaultKind("A generation is billed `value` megapixels more than it delivered.", ALWAYS, 1),
        "unit_price": FaultKind(
            "A megapixel costs `value` dollars, in the price list and on the bill.", ALWAYS, 0.0027075
        ),
    },
    "Who it is": {
        "unidentified": FaultKind(
            "The server does not say that it is the embedded fal: a client has to treat it as fal.", ALWAYS
        ),
    },
}

KNOWN: Final[Mapping[str, FaultKind]] = {
    name: kind for group in GROUPS.values() for name, kind in group.items()
}
