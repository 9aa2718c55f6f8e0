"""Bringing an archive back, from a folder, from moto and from Swift."""

from pathlib import Path

from archive_parts import FOLDER, Place, archive_generation, noise

from prefect_ltx.archive import Archive, VerifyProgress

SECOND = "2026/11/22/ingredient-fedcba9876543210"


async def test_everything_comes_back_and_verifies(place: Place, tmp_path: Path) -> None:
    """The folder is an archive of the same bytes, manifests included; progress ends at the total."""
    first = await archive_generation(place.archive, {"video.mp4": noise(200_000), "poster.jpg": b"p"})
    await archive_generation(place.archive, {"video.mp4": b"two"}, folder=SECOND, generation_key="f" * 64)
    seen: list[VerifyProgress] = []
    report = await place.archive.rehydrate(tmp_path / "back", seen.append)
    assert report.ok
    assert (report.generations, report.files, report.fetched) == (2, 3, 3)
    assert report.bytes == 200_000 + 1 + 3
    assert seen[-1] == VerifyProgress(3, 3, report.bytes, report.bytes)
    back = Archive(tmp_path / "back")
    assert (await back.verify()).ok
    found = await back.manifest(FOLDER)
    assert found is not None
    assert found.sha256 == first.sha256
    assert not list((tmp_path / "back").rglob("*.part"))


async def test_what_is_there_already_is_not_fetched_again(place: Place, tmp_path: Path) -> None:
    """A broken run is repeated; only what is missing or has other bytes is read."""
    await archive_generation(place.archive, {"video.mp4": b"video", "poster.jpg": b"poster"})
    await place.archive.rehydrate(tmp_path / "back")
    (tmp_path / "back" / FOLDER / "poster.jpg").write_bytes(b"POSTER")
    report = await place.archive.rehydrate(tmp_path / "back")
    assert (report.files, report.fetched, report.ok) == (2, 1, True)
    assert (tmp_path / "back" / FOLDER / "poster.jpg").read_bytes() == b"poster"


async def test_damage_is_named_and_the_rest_comes_back(place: Place, tmp_path: Path) -> None:
    """Altered and missing files do not arrive under their names, nor does the manifest that vouches for them."""
    await archive_generation(
        place.archive, {"video.mp4": b"video", "poster.jpg": b"poster", "web.mp4": b"web"}
    )
    await archive_generation(place.archive, {"video.mp4": b"two"}, folder=SECOND, generation_key="f" * 64)
    place.tamper(f"{FOLDER}/video.mp4", b"vide0")
    place.remove(f"{FOLDER}/poster.jpg")
    place.tamper("2026/bad/manifest.json", b"no manifest")
    report = await place.archive.rehydrate(tmp_path / "back")
    assert not report.ok
    assert (report.generations, report.files, len(report.failed)) == (1, 2, 3)
    assert any(line.startswith(f"{FOLDER}/video.mp4") for line in report.failed)
    assert {each.name for each in (tmp_path / "back" / FOLDER).iterdir()} == {"web.mp4"}
    assert (await Archive(tmp_path / "back").verify()).generations == 1


async def test_a_folder_that_cannot_be_written_is_named(place: Place, tmp_path: Path) -> None:
    """A file where the folder should be."""
    await archive_generation(place.archive, {"video.mp4": b"video"})
    (tmp_path / "back").write_bytes(b"")
    report = await place.archive.rehydrate(tmp_path / "back")
    assert not report.ok
    assert "cannot be written" in report.failed[0]
