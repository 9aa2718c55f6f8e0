"""A film in the archive, as flows and the command line give it."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from prefect_ltx.film import FilmManifest, ShotLineage
from prefect_ltx.film.manifest import SoundLineage
from prefect_ltx.flows.take_row import Take, TakeRow
from prefect_ltx.generation import Services


class ShotTake(BaseModel):
    """One archived take of a shot: where its video lies, what it is, and what was found in it."""

    shot: str
    number: int
    seed: int
    key: str
    """Of its video in the archive."""
    frames: int
    fps: str
    audio: bool
    chosen: bool
    findings: list[dict[str, Any]]
    """`kind`, `message`, and the take's frames from `start` to before `end` where it is not all of it."""


class ArchivedFilm(BaseModel):
    """A film in the archive. Holds no URL that expires and no secret."""

    title: str
    key: str
    archive: str
    folder: str
    video: str
    manifest: str
    manifest_sha256: str
    files: dict[str, str]
    """Role to place in the archive."""
    frames: int
    fps: str
    duration_seconds: str
    """An exact fraction, such as `85/6`."""
    width: int
    height: int
    shots: list[ShotLineage]
    takes: list[ShotTake]
    """Every archived take of every shot, for editing."""
    music: SoundLineage | None
    voices: list[SoundLineage]
    price_expected_usd: Decimal
    """Of the chosen takes of all shots, whenever they were paid for."""
    paid_now: int
    """Takes that this run sent; all others were paid for before."""
    reused: bool
    """True where the film itself was in the archive already."""
    stand_in: bool
    warnings: list[str]


def archived_film(
    services: Services,
    manifest: FilmManifest,
    key: str,
    chosen: Sequence[tuple[TakeRow, Take]],
    *,
    reused: bool,
    warnings: list[str],
) -> ArchivedFilm:
    """The film as a flow gives it."""

    def place(name: str) -> str:
        return f"{services.archive.location.rstrip('/')}/{manifest.folder}/{name}"

    video = manifest.video
    assert video is not None
    takes = [take.generation for row, _ in chosen for take in row.takes]
    return ArchivedFilm(
        title=manifest.film.title,
        key=key,
        archive=services.archive.location,
        folder=manifest.folder,
        video=place(video.name),
        manifest=place("manifest.json"),
        manifest_sha256=manifest.sha256,
        files={each.role: place(each.name) for each in manifest.files},
        frames=manifest.film.frames,
        fps=manifest.film.fps,
        duration_seconds=manifest.film.duration,
        width=int(str(manifest.delivered["width"])),
        height=int(str(manifest.delivered["height"])),
        shots=manifest.film.shots,
        takes=[
            _take(shot.shot, row, each, chosen=each.number == take.number)
            for shot, (row, take) in zip(manifest.film.shots, chosen, strict=True)
            for each in row.takes
        ],
        music=manifest.film.music,
        voices=manifest.film.voices,
        price_expected_usd=sum((take.generation.price_expected_usd for _, take in chosen), Decimal(0)),
        paid_now=len({each.key for each in takes if not each.reused}),
        reused=reused,
        stand_in=manifest.stand_in,
        warnings=warnings,
    )


def _take(shot: str, row: TakeRow, take: Take, *, chosen: bool) -> ShotTake:
    manifest = row.manifests[take.number]
    video, delivered = manifest.video, manifest.delivered
    assert video is not None  # every generation's manifest names one
    frames = delivered.get("num_frames")
    return ShotTake(
        shot=shot,
        number=take.number,
        seed=take.seed,
        key=f"{manifest.folder}/{video.name}",
        frames=frames if isinstance(frames, int) else row.request.num_frames,
        fps=str(delivered.get("fps") or row.request.frames_per_second),
        audio=bool(delivered.get("audio", row.request.generate_audio)),
        chosen=chosen,
        findings=[
            {"kind": each.kind, "message": each.message, "start": each.start_frame, "end": each.end_frame}
            for each in (manifest.quality.findings if manifest.quality else [])
        ],
    )
