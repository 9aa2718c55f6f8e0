"""What speaks against a take, from the quality control that its manifest records. The one place that knows it.

Technical defects reject, they do not rank: which of two sound takes is better is for a judge or a person
(ltx-model §6). A sheet that shows only at the beginning is no defect but frames to leave out.
"""

from typing import NamedTuple

from prefect_ltx.archive import Manifest
from prefect_ltx.generation.inspection import recorded_report
from prefect_ltx.quality import QualityPolicy, decide

_POLICY = QualityPolicy(actions={"sheet_lead_in": "trim"}, on_error="reject")


class Verdict(NamedTuple):
    """Why a take cannot be used, and how many of its first frames show the reference sheet."""

    defects: tuple[str, ...]
    skip_frames: int

    @property
    def passed(self) -> bool:
        """Nothing speaks against it."""
        return not self.defects


def verdict_of(manifest: Manifest) -> Verdict:
    """The verdict on an archived take. Pure; a take that nobody inspected has no known defects."""
    delivered = manifest.delivered
    if "problem" in delivered:
        return Verdict((f"it does not decode: {delivered['problem']}",), 0)
    record = manifest.quality
    if record is None:
        return Verdict((), 0)
    frames = delivered.get("num_frames")
    report = recorded_report(
        record, endpoint=manifest.endpoint, frames=frames if isinstance(frames, int) else 0
    )
    if report is None:
        # Findings of a later version: what it decided counts.
        return Verdict(tuple(each.message for each in record.findings) if record.rejected else (), 0)
    # A lead-in counts for what it is even beside another finding, so the two are asked for one by one.
    lead_in = max((each.end_frame or 0 for each in report.of("sheet_lead_in")), default=0)
    decision = decide(report, _POLICY)
    return Verdict(
        tuple(each.message for each in decision.reasons) if decision.verdict == "reject" else (),
        lead_in if 0 < lead_in < report.frames else 0,
    )
