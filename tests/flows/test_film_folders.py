"""Films that are made at the same time: each from its own files, archived under its own manifest."""

import asyncio
from pathlib import Path
from typing import Any

import av
import pytest

from prefect_ltx.archive import Archive
from prefect_ltx.flows import storyboard_film
from prefect_ltx.flows.film_result import ArchivedFilm
from prefect_ltx.generation.work_folders import FILMS
from prefect_ltx.local import LocalFal
from prefect_ltx.media import verify_video

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # Prefect's own client
]


def board(picture: Path, title: str, shots: int, **each: Any) -> dict[str, Any]:
    """A storyboard of small shots that differ by their text."""
    return {
        "title": title,
        "resolution": {"width": 128, "height": 128},
        "defaults": {"frames": 9, "settings": {"video_write_mode": "fast"}},
        "cast": {"cup": {"look": "a white cup", "images": [str(picture)]}},
        "shots": [
            {"id": f"s{number}", "text": f"the cup turns {number}", **(each if number else {})}
            for number in range(shots)
        ],
    }


async def assert_own(film: ArchivedFilm, title: str) -> None:
    """The archived file is the film that its manifest names."""
    with av.open(film.video) as container:
        assert container.metadata["title"] == title
    await verify_video(film.video, width=128, height=128, frames=film.frames, audio=True)


async def test_films_of_the_same_shots_made_at_once_do_not_meet(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """Other titles and transitions, the same shots: each file is its own film's, and nothing is paid for twice."""
    picture = media_folder / "sheet.png"
    await storyboard_film(board(picture, "First", 3), recipe="none")
    titles = [f"Film {number}" for number in range(6)]
    films = await asyncio.gather(
        *(
            storyboard_film(
                board(picture, title, 3, **({"transition": {"cross_fade": 2}} if number % 2 else {})),
                recipe="none",
            )
            for number, title in enumerate(titles)
        )
    )
    for film, title in zip(films, titles, strict=True):
        await assert_own(film, title)
    assert len({film.folder for film in films}) == 6
    assert len(fal.bill) == 3
    assert (await Archive(str(ltx_env / "archive")).verify()).ok
    assert not [*(ltx_env / "home" / "work" / FILMS).glob("*")]


async def test_a_foreign_file_under_the_films_name_is_not_taken_for_the_film(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """What lies in the archive at the film's place without a manifest is compared before it is believed."""
    picture = media_folder / "sheet.png"
    made = await storyboard_film(board(picture, "Mine", 2), recipe="none")
    other = await storyboard_film(board(picture, "Other", 2), recipe="none")
    folder = ltx_env / "archive" / made.folder
    (folder / "manifest.json").unlink()
    (folder / "film.mp4").unlink()
    (folder / "film.mp4").write_bytes(Path(other.video).read_bytes())
    with pytest.raises(Exception, match="title is 'Other', expected 'Mine'"):
        await storyboard_film(board(picture, "Mine", 2), recipe="none")
    assert not (folder / "manifest.json").exists()
