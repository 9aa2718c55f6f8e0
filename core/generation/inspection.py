"""Quality control in the life of a generation: what is found is kept in the manifest, and nothing paid is lost.

A policy never keeps a video out of the archive. `trim` changes what renditions are made of; `reject` and
`next_seed` mark the manifest, and the run fails, or buys another take, after everything is archived.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ValidationError

from prefect_ltx.archive import QualityRecord, RecordedFinding
from prefect_ltx.fal import endpoint_model
from prefect_ltx.generation.collect import CollectedVideo
from prefect_ltx.generation.errors import QualityRejected
from prefect_ltx.generation.store import ArchivedGeneration
from prefect_ltx.media import MediaError, Rendition
from prefect_ltx.quality import (
    Decision,
    PolicyName,
    QualityPolicy,
    QualityReport,
    decide,
    finding_pictures,
    inspect,
)

QualityMode = Literal["off", "warn", "trim", "reject", "next_seed"]
"""What to do about findings; `next_seed` is for whoever may buy another take."""
KeepingMode = Literal["off", "warn", "trim", "reject"]
"""The modes of what submits nothing."""
FOLDER: Final = "quality"
UNRENDERED: Final = "unrendered"
"""What a manifest says of a video that no renditions could be made of; no finding of quality control."""


class Inspection(BaseModel):
    """What was found in one delivered video, what the policy makes of it, and a picture of each finding."""

    policy: str
    report: QualityReport
    decision: Decision
    pictures: list[Rendition] = []

    @property
    def trim_frames(self) -> int:
        """Leading frames that renditions leave out."""
        return self.decision.trim_frames

    def record(self) -> QualityRecord:
        """The manifest's account of it."""
        pictures = {each.name: each.path.name for each in self.pictures}
        return QualityRecord(
            policy=self.policy,
            verdict=self.decision.verdict,
            trimmed_frames=self.trim_frames,
            findings=[
                RecordedFinding(**each.model_dump(), picture=pictures.get(f"finding-{number}"))
                for number, each in enumerate(self.report.findings, 1)
            ],
            measures=self.report.measures,
        )


def unrendered(record: QualityRecord | None, error: MediaError) -> QualityRecord:
    """The manifest's account where renditions could not be made: a paid video is archived without them."""
    record = record or QualityRecord(policy="off", verdict="accept")
    record.findings.append(RecordedFinding(kind=UNRENDERED, severity="warning", message=str(error)))
    return record


async def inspect_delivery(
    video: CollectedVideo | Path,
    *,
    asked: Mapping[str, Any],
    endpoint: str,
    inputs: Mapping[str, Path] | None = None,
    policy: QualityPolicy | PolicyName = "warn",
    folder: Path | None = None,
) -> Inspection:
    """Inspect a downloaded video. `inputs` are the request's media by field, where they are still there.

    Pictures of findings are written to `folder`, by default `quality` beside the video.

    Raises:
        FileNotFoundError: there is no such video.
    """
    path = video.path if isinstance(video, CollectedVideo) else video
    there = {field: file for field, file in (inputs or {}).items() if file.is_file()}
    model = endpoint_model(endpoint)
    report = await inspect(
        path,
        asked=asked,
        endpoint=endpoint,
        sheet=there.get(model.SHEET_FIELD) if model else None,
        reference=there.get(model.reference_field() if model else "video_url"),
        # What was collected was decoded in full, or says that it cannot be.
        decoded=isinstance(video, CollectedVideo) and "problem" not in video.delivered,
    )
    rules = policy if isinstance(policy, QualityPolicy) else QualityPolicy.named(policy)
    try:
        pictures = await finding_pictures(path, report, folder or path.parent / FOLDER)
    except (MediaError, OSError):
        # A video that does not decode has no pictures; the finding is what counts.
        pictures = []
    return Inspection(
        policy=policy if isinstance(policy, str) else "custom",
        report=report,
        decision=decide(report, rules),
        pictures=pictures,
    )


def reasons_against(result: ArchivedGeneration, mode: QualityMode) -> list[str]:
    """Why a policy refuses an archived video, from the findings in its manifest, whatever policy it was made with."""
    record = result.quality
    if record is None or mode not in ("reject", "next_seed"):
        return []
    # A lead-in ends before the clip does: what does not is `sheet_throughout`.
    frames = 1 + max((each.end_frame or 0 for each in record.findings), default=0)
    report = recorded_report(record, endpoint=result.endpoint, frames=frames)
    if report is None:
        return [each.message for each in record.findings] if record.rejected else []
    decision = decide(report, QualityPolicy.named(mode))
    return [each.message for each in decision.reasons] if decision.verdict == mode else []


def recorded_report(record: QualityRecord, *, endpoint: str, frames: int) -> QualityReport | None:
    """A manifest's findings as they were reported; None where a later version wrote kinds unknown here."""
    findings = [each.model_dump(exclude={"picture"}) for each in record.findings if each.kind != UNRENDERED]
    try:
        return QualityReport.model_validate({"endpoint": endpoint, "frames": frames, "findings": findings})
    except ValidationError:
        return None


def refuse_rejected(result: ArchivedGeneration, mode: QualityMode) -> None:
    """End a run of policy `reject` on an archived video with findings that the policy refuses.

    Raises:
        QualityRejected: naming them, and where the video is.
    """
    reasons = reasons_against(result, mode)
    if reasons and mode == "reject":
        raise QualityRejected(result.generation_id, place_of(result), reasons)


def place_of(result: ArchivedGeneration) -> str:
    """The folder of an archived generation, with its archive."""
    return f"{result.archive.rstrip('/')}/{result.folder}"
