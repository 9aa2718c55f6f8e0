"""Quality control of what fal delivered: typed findings, and a policy that decides what to do about them."""

from prefect_ltx.quality.findings import FindingKind, QualityFinding, QualityReport, Severity
from prefect_ltx.quality.inspection import inspect
from prefect_ltx.quality.pictures import finding_pictures
from prefect_ltx.quality.policy import Action, Decision, PolicyName, QualityPolicy, Verdict, decide

__all__ = [
    "Action",
    "Decision",
    "FindingKind",
    "PolicyName",
    "QualityFinding",
    "QualityPolicy",
    "QualityReport",
    "Severity",
    "Verdict",
    "decide",
    "finding_pictures",
    "inspect",
]
