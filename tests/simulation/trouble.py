"""What is wrong in one history, drawn once: with fal, the network, the machines, and what is believed of fal.

What a worker believes is never more than what is true: a setting that says that absence is proof, or how far the
listing lags, is drawn true. All else may be as bad as it likes.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from chance import Chance
from wire import KINDS

Window = tuple[float, float] | None


@dataclass
class Trouble:
    """See the module; times in virtual seconds."""

    service: str = "embedded"
    """embedded (says what it is), custom (does not), fal (fal's own hosts)."""
    faults: dict[str, Any] = field(default_factory=dict)
    stays: frozenset[str] = frozenset()
    """Faults of fal that do not heal."""
    messages: dict[str, float] = field(default_factory=dict)
    """How likely each kind of trouble is for a message."""
    slow_submits: float = 0.0
    """How likely a submit is under way for minutes."""
    slow_listings: float = 0.0
    """How likely an answer of the listing is under way for long."""
    render_seconds: float = 4.0
    clock_skews: tuple[float, ...] = (0.0,)
    """How wrong the clock of each machine is."""
    clock_jumps: tuple[tuple[float, float] | None, ...] = (None,)
    """When the clock of each machine jumps, and by how much."""
    absence_is_proof: bool | None = None
    said_lag: float | None = None
    account_name: str = ""
    webhooks: bool = False
    budget_usd: Decimal | None = None
    disk_full: Window = None
    ledger_full: Window = None
    ledger_locked: Window = None
    commit_fails: Window = None
    archive_away: Window = None

    @classmethod
    def drawn(cls, chance: Chance) -> "Trouble":
        """The trouble of this seed."""
        found = cls()
        found.service = chance.pick("service", ("embedded", "embedded", "embedded", "custom", "fal"))
        found.render_seconds = chance.skewed("render seconds", 0.5, 15.0)
        if chance.fault("fal long jobs", "render/long", 0.1):
            found.render_seconds = chance.between("render/long/for", 120.0, 300.0)  # longer than a lease
        found._messages(chance)
        found._fal(chance)
        found._machine(chance)
        found._beliefs(chance)
        found.webhooks = chance.fraction("webhooks") < 0.4
        if chance.fraction("budget") < 0.3:
            found.budget_usd = Decimal("0.0024075") * chance.pick("budget/size", (1, 2, 3, 5))
        return found

    def _messages(self, chance: Chance) -> None:
        if chance.fraction("weather/slow submits") < 0.1:
            self.slow_submits = 0.4
        weather = chance.fraction("weather")
        if weather < 0.15:
            return
        level = chance.skewed("weather/level", 0.01, 0.12)
        for kind in KINDS:
            if chance.fraction(f"weather/{kind}") < 0.6:
                self.messages[kind] = level

    def _machine(self, chance: Chance) -> None:
        machines = ["machine", "second machine"][: 2 if chance.fraction("machines") < 0.2 else 1]
        self.clock_skews = tuple(self._skew(chance, name) for name in machines)
        self.clock_jumps = tuple(self._jump(chance, name) for name in machines)
        for kind in _MACHINE:
            if chance.fraction(f"machine/{kind}") < 0.15:
                begin = chance.between(f"machine/{kind}/from", 0, 80)
                setattr(self, kind, (begin, begin + chance.skewed(f"machine/{kind}/for", 0.5, 100)))

    @staticmethod
    def _skew(chance: Chance, machine: str) -> float:
        if not chance.fault(f"{machine} clock skew", f"{machine}/skew", 0.3):
            return 0.0
        by = chance.skewed(f"{machine}/skew/by", 1, 5000)
        return chance.pick(f"{machine}/skew/sign", (-1, 1)) * by

    @staticmethod
    def _jump(chance: Chance, machine: str) -> tuple[float, float] | None:
        if not chance.fault(f"{machine} clock jump", f"{machine}/jump", 0.15):
            return None
        by = chance.pick(f"{machine}/jump/sign", (-1, 1)) * chance.skewed(f"{machine}/jump/by", 1, 5000)
        return (chance.between(f"{machine}/jump/at", 1, 120), by)

    def _fal(self, chance: Chance) -> None:
        stays = set()
        for name, probability, knob in _FAL:
            if chance.fault("", f"fal/{name}", probability):
                self.faults[name] = knob if not callable(knob) else knob(chance)
        for name in (
            "listing_forbidden",
            "billing_forbidden",
            "billing_missing",
            "listing_without_payloads",
            "split_billing",
        ):
            if name in self.faults and chance.fraction(f"fal/{name}/stays") < 0.5:
                stays.add(name)
        if "listing_lag_seconds" in self.faults and chance.fraction("weather/slow listings") < 0.4:
            self.slow_listings = 0.5
        stays |= {"odd_result", "odd_number"} & self.faults.keys()  # what a job made does not get better
        if "listing_overlap" in self.faults:
            self.faults["listing_extra_page"] = True  # a page before the next one is needed for it
        hides = {"listing_hides_queued", "listing_by_ended_at"} & self.faults.keys()
        if hides and self.render_seconds < 60:
            self.render_seconds = chance.skewed(
                "render seconds", 8.0, 120.0
            )  # what is hidden is hidden for long
        if "split_billing" in self.faults and chance.fault("", "fal/split_billing_late", 0.5):
            self.faults["split_billing_late"] = {
                "value": round(chance.skewed("fal/split_billing_late/by", 60, 3000))
            }
        if "date_skew" in self.faults:
            stays.add("date_skew")
        self.stays = frozenset(stays)
        for name in list(chance.happened):
            if not chance.happened[name]:
                del chance.happened[name]  # whether it acted is seen at the end

    def _beliefs(self, chance: Chance) -> None:
        if self.service == "custom":
            self.faults["unidentified"] = True
            self.stays |= {"unidentified"}
        shows_all = not {"listing_hides_queued", "listing_by_ended_at"} & self.faults.keys()
        lag = self.faults.get("listing_lag_seconds", {}).get("value", 0.0)
        if self.service != "embedded":
            # Unless somebody set it, ten minutes are waited out, with a question every ten seconds.
            self.said_lag = max(lag * 1.5, 5.0) if chance.fraction("beliefs/lag") < 0.9 else None
            self.absence_is_proof = True if shows_all and chance.fraction("beliefs/proof") < 0.6 else None
        if chance.fraction("beliefs/account") < 0.5:
            self.account_name = "our team"


def _odd(chance: Chance) -> dict[str, Any]:
    field_name, *to = chance.pick(
        "fal/odd_result/what",
        (
            ("seed",),
            ("seed", None),
            ("seed", -1),
            ("seed", 2**70),
            ("seed", "7"),
            ("prompt",),
            ("prompt", None),
            ("prompt", "half \ud83d of it"),
            ("prompt", "nul \x00 in it"),
            ("video.file_size",),
            ("video.file_size", 0),
            ("video.file_size", -5),
            ("video.file_size", 1e300),
            ("video.file_size", "many"),
            ("video.content_type",),
            ("video", [{"url": "{url}"}]),
        ),
    )
    return {"field": field_name, "times": 2} | ({"to": to[0]} if to else {})


_MACHINE = ("disk_full", "ledger_full", "ledger_locked", "commit_fails", "archive_away")
_FAL: tuple[tuple[str, float, Any], ...] = (
    ("listing_lag_seconds", 0.3, lambda chance: {"value": round(chance.skewed("fal/lag", 0.5, 90), 1)}),
    ("listing_hides_queued", 0.12, True),
    ("listing_by_ended_at", 0.12, True),
    ("listing_forbidden", 0.06, True),
    ("listing_without_payloads", 0.06, True),
    ("listing_spelling", 0.06, True),
    ("listing_duplicates", 0.04, True),
    ("listing_overlap", 0.05, 1),
    ("listing_truncated", 0.05, {"value": 0}),
    ("listing_extra_page", 0.04, True),
    ("listing_repeats_cursor", 0.04, True),
    ("odd_item", 0.05, {"field": "json_input", "times": 10}),
    ("platform_5xx", 0.05, {"times": 3}),
    ("prices_down", 0.05, True),
    ("billing_forbidden", 0.06, True),
    ("billing_lag_seconds", 0.08, {"value": 300}),
    ("billing_missing", 0.05, True),
    ("split_billing", 0.10, {"value": 3}),
    ("no_billable_units", 0.06, True),
    ("lost_webhooks", 0.10, {"times": 2}),
    ("duplicate_webhooks", 0.10, {"times": 3, "value": 2}),
    ("reordered_webhooks", 0.10, {"times": 2}),
    ("webhook_payload_error", 0.10, {"times": 2}),
    ("jwks_5xx", 0.04, True),
    ("double_accept", 0.03, True),
    ("reject_5xx", 0.04, True),
    ("reject_429", 0.05, {"times": 2}),
    ("account_locked", 0.04, {"times": 1}),
    ("stuck_queue", 0.04, True),
    ("slow_run", 0.05, {"value": 120}),
    ("requeued", 0.05, True),
    ("job_fails", 0.05, True),
    ("job_422", 0.07, {"times": 3}),
    ("bill_422", 0.12, True),
    ("cancel_ignored", 0.20, True),
    ("bill_cancelled", 0.20, True),
    ("status_5xx", 0.06, {"times": 3}),
    ("result_5xx", 0.06, {"times": 3}),
    ("result_404", 0.04, True),
    ("result_purged", 0.04, True),
    ("false_404", 0.06, {"times": 2}),
    ("result_500_bare", 0.05, {"times": 3}),
    ("rate_limited", 0.05, {"times": 3}),
    ("odd_result", 0.10, _odd),
    ("odd_number", 0.03, {"field": "video.file_size", "value": 1}),
    ("truncated_download", 0.05, {"times": 2}),
    ("corrupted_download", 0.04, {"times": 1}),
    ("expired_file", 0.05, {"times": 2}),
    ("refused_upload", 0.04, {"times": 2}),
    ("upload_gone", 0.06, True),
    ("refused_cdn_token", 0.03, True),
    ("overbill", 0.04, {"value": 1}),
    ("absurd_bill", 0.04, {"value": 1000}),
    ("date_skew", 0.15, lambda chance: {"value": round(chance.between("fal/skew", -4000, 4000))}),
    ("date_missing", 0.04, True),
)
FAULT_KINDS = frozenset(
    [f"fal {name}" for name in (*(each for each, *_ in _FAL), "split_billing_late", "unidentified")]
    + [f"message {kind}" for kind in (*KINDS, "slow submit", "slow listing")]
    + [f"{machine} clock {what}" for machine in ("machine", "second machine") for what in ("skew", "jump")]
    + [kind.replace("_", " ") for kind in _MACHINE]
    + ["process killed", "process stopped", "process in a container", "second machine", "commit fails once"]
    + ["batch", "row without a seed in a batch", "run begun late", "fal long jobs", "rotated key"]
    + ["person cancels", "webhook forged", "webhook for a stranger's request"]
)
"""Everything that can happen in a history and is counted."""
