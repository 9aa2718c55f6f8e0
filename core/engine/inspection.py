"""Quality control in the life of a generation: what is found is kept in the manifest, and nothing paid is lost.

A policy never keeps a video out of the archive. `trim` changes what renditions are made of; `reject` marks the
manifest, and the run fails after everything is archived.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ValidationError

from prefect_ltx.archive import QualityRecord, RecordedFinding
from prefect_ltx.engine.collect import CollectedVideo
from prefect_ltx.engine.errors import QualityRejected
from prefect_ltx.engine.store import ArchivedGeneration
from prefect_ltx.fal import INGREDIENT
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

QualityMode = Literal["off", "warn", "trim", "reject"]
FOLDER: Final = "quality"


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
    record.findings.append(RecordedFinding(kind="unrendered", severity="warning", message=str(error)))
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
    report = await inspect(
        path,
        asked=asked,
        endpoint=endpoint,
        sheet=there.get("image_url") if endpoint == INGREDIENT else None,
        reference=there.get("video_url"),
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


def refuse_rejected(result: ArchivedGeneration, mode: QualityMode) -> None:
    """End a run of policy `reject` on an archived video with findings that the policy refuses.

    Raises:
        QualityRejected: naming them, and where the video is.
    """
    record = result.quality
    if mode != "reject" or record is None:
        return
    findings = [each.model_dump(exclude={"picture"}) for each in record.findings]
    try:
        report = QualityReport.model_validate({"endpoint": result.endpoint, "findings": findings})
        reasons = [each.message for each in decide(report, QualityPolicy.named("reject")).reasons]
    except ValidationError:
        # A later version's findings: what it decided counts.
        reasons = [each.message for each in record.findings] if record.rejected else []
    if reasons:
        raise QualityRejected(result.generation_id, f"{result.archive.rstrip('/')}/{result.folder}", reasons)
