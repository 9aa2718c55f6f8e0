"""The decision about a clip, as a pure function."""

import pytest
from pydantic import ValidationError

from prefect_ltx.quality import (
    Decision,
    FindingKind,
    QualityFinding,
    QualityPolicy,
    QualityReport,
    Severity,
    decide,
)


def finding(kind: FindingKind, severity: Severity = "error", start: int = 0, end: int = 5) -> QualityFinding:
    return QualityFinding(
        kind=kind, severity=severity, message="m", start_frame=start, end_frame=end,
        start_seconds=start / 24, end_seconds=end / 24,
    )  # fmt: skip


def report(*findings: QualityFinding, frames: int = 49) -> QualityReport:
    return QualityReport(endpoint="e", frames=frames, findings=findings)


LEAD_IN = finding("sheet_lead_in")
FOR_EVER = finding("sheet_throughout", end=49)
SIZE = QualityFinding(kind="size", severity="warning", message="m")


def test_no_findings_are_accepted_by_every_policy() -> None:
    """Nothing to decide about."""
    for policy in (QualityPolicy(), *map(QualityPolicy.named, ("warn", "trim", "reject"))):
        assert decide(report(), policy) == Decision(verdict="accept")


def test_warn_only_tells() -> None:
    """The default policy refuses nothing, however bad."""
    assert decide(report(LEAD_IN, FOR_EVER), QualityPolicy.named("warn")) == Decision(
        verdict="accept", warnings=(LEAD_IN, FOR_EVER)
    )


def test_trim_cuts_the_lead_in_and_tells_of_the_rest() -> None:
    """As many frames as the finding has."""
    decision = decide(report(SIZE, LEAD_IN), QualityPolicy.named("trim"))
    assert decision == Decision(verdict="trim", trim_frames=5, reasons=(LEAD_IN,), warnings=(SIZE,))


def test_what_cannot_be_trimmed_is_a_warning() -> None:
    """All of the clip, a place in the middle, or a fault that no cut removes."""
    policy = QualityPolicy(otherwise="trim")
    for each in (finding("black", end=49), finding("black", start=3), finding("cut"), SIZE):
        assert decide(report(each), policy) == Decision(verdict="accept", warnings=(each,))


def test_reject_refuses_errors_and_lets_warnings_pass() -> None:
    """A snapped size is fal's way; a sheet that never goes away is no video."""
    policy = QualityPolicy.named("reject")
    assert decide(report(SIZE), policy).verdict == "accept"
    decision = decide(report(SIZE, FOR_EVER), policy)
    assert (decision.verdict, decision.reasons, decision.warnings) == ("reject", (FOR_EVER,), (SIZE,))


def test_the_strongest_action_wins_and_never_the_one_that_costs() -> None:
    """Reject beats the next seed, which beats a cut."""
    actions = {"sheet_lead_in": "trim", "sheet_throughout": "next_seed", "undecodable": "reject"}
    policy = QualityPolicy.model_validate({"actions": actions})
    assert decide(report(LEAD_IN, FOR_EVER), policy).verdict == "next_seed"
    assert decide(report(LEAD_IN, FOR_EVER, finding("undecodable")), policy).verdict == "reject"


def test_what_is_only_said_decides_nothing() -> None:
    """A check that could not be made is no reason to refuse a clip."""
    unmeasured = QualityFinding(kind="unmeasured", severity="info", message="m")
    policy = QualityPolicy(otherwise="reject")
    assert decide(report(unmeasured), policy).verdict == "accept"


def test_a_policy_names_kinds_that_exist() -> None:
    """A mistyped kind or action is refused, not ignored."""
    for bad in ({"actions": {"sheet": "trim"}}, {"actions": {"cut": "drop"}}, {"sheet_lead_in": "trim"}):
        with pytest.raises(ValidationError):
            QualityPolicy.model_validate(bad)


def test_a_finding_has_a_whole_range_or_none() -> None:
    """An end before its start, or a start alone, is a mistake of a detector."""
    with pytest.raises(ValidationError, match="range"):
        finding("cut", start=5, end=4)
    with pytest.raises(ValidationError, match="range"):
        QualityFinding(kind="cut", severity="info", message="m", start_seconds=1)
