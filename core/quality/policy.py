"""What to do about findings: a pure decision, so that a rule can be read, tested and changed alone.

An action is chosen for every finding. The strongest one wins, and what costs money loses against what does
not: reject > next_seed > trim > warn. `next_seed` buys another take: it is in the policy of that name alone.
"""

from collections.abc import Mapping
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from prefect_ltx.quality.findings import FindingKind, QualityFinding, QualityReport

Action = Literal["warn", "trim", "reject", "next_seed"]
Verdict = Literal["accept", "trim", "reject", "next_seed"]
PolicyName = Literal["warn", "trim", "reject", "next_seed"]

_STRENGTH: Final[tuple[Action, ...]] = ("warn", "trim", "next_seed", "reject")
_TRIMMABLE: Final[tuple[FindingKind, ...]] = ("sheet_lead_in", "black", "frozen")


class Decision(BaseModel):
    """What is to be done with a clip. `reasons` are the findings that led to it, `warnings` the others."""

    model_config = ConfigDict(frozen=True)

    verdict: Verdict
    trim_frames: int = Field(default=0, description="Leading frames that renditions leave out.")
    reasons: tuple[QualityFinding, ...] = ()
    warnings: tuple[QualityFinding, ...] = ()


class QualityPolicy(BaseModel):
    """An action for each kind of finding; what is not named gets `otherwise`, or `on_error` at severity error.

    `trim` cuts what stands at the clip's beginning (the sheet, black or frozen frames); where a finding of that
    action is anywhere else, or is all of the clip, it is a warning.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    actions: Mapping[FindingKind, Action] = Field(default_factory=dict)
    otherwise: Action = "warn"
    on_error: Action | None = None

    @classmethod
    def named(cls, name: PolicyName) -> Self:
        """A ready-made policy.

        `warn` only tells. `trim` cuts a lead-in of the reference sheet and tells of the rest. `reject` refuses
        every clip with a finding of severity error, a lead-in among them. `next_seed` refuses the same, but cuts
        a lead-in, which is free, and lets another seed be bought for the rest.
        """
        if name == "trim":
            return cls(actions={"sheet_lead_in": "trim"})
        if name == "next_seed":
            return cls(actions={"sheet_lead_in": "trim"}, on_error="next_seed")
        return cls(on_error="reject") if name == "reject" else cls()

    def action(self, finding: QualityFinding) -> Action:
        """What this policy does about one finding."""
        if finding.severity == "info":
            return "warn"
        if finding.kind in self.actions:
            return self.actions[finding.kind]
        if finding.severity == "error" and self.on_error is not None:
            return self.on_error
        return self.otherwise


def decide(report: QualityReport, policy: QualityPolicy) -> Decision:
    """Decide about a clip. Pure: the same report and policy always give the same answer."""
    chosen = [(each, _possible(policy.action(each), each, report)) for each in report.findings]
    strongest = max((action for _, action in chosen), key=_STRENGTH.index, default="warn")
    if strongest == "warn":
        return Decision(verdict="accept", warnings=report.findings)
    reasons = tuple(each for each, action in chosen if action == strongest)
    return Decision(
        verdict=strongest,
        trim_frames=max(each.end_frame or 0 for each in reasons) if strongest == "trim" else 0,
        reasons=reasons,
        warnings=tuple(each for each in report.findings if each not in reasons),
    )


def _possible(action: Action, finding: QualityFinding, report: QualityReport) -> Action:
    if action != "trim":
        return action
    leads = finding.start_frame == 0 and 0 < (finding.end_frame or 0) < report.frames
    return "trim" if finding.kind in _TRIMMABLE and leads else "warn"
