"""The animatic of a storyboard: the whole film on an embedded fal, with what an editor needs on every frame."""

import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from prefect_ltx.cli.progress import say

if TYPE_CHECKING:
    from prefect_ltx.film import Storyboard
    from prefect_ltx.flows.film_result import ArchivedFilm


async def make_animatic(
    board: "Storyboard", target: Path, make: "Callable[[Storyboard], Awaitable[ArchivedFilm]]"
) -> "ArchivedFilm":
    """The film on an embedded fal with a ledger and an archive of its own, all of which go at the end."""
    from prefect_ltx.film import TakePolicy
    from prefect_ltx.local import LocalFal

    # One take each: the stand-in's takes are as good as each other, and nobody should be asked to choose.
    plain = board.model_copy(
        update={
            "defaults": board.defaults.model_copy(update={"takes": TakePolicy()}),
            "shots": [shot.model_copy(update={"takes": None}) for shot in board.shots],
        }
    )
    with tempfile.TemporaryDirectory(prefix="ltx-animatic-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with LocalFal(data=folder / "fal") as fal, _environment(fal.url, folder):
            say(f"The embedded fal serves {fal.url}; nothing is spent")
            made = await make(plain)
            await _slated(board, made, target)
    return made


async def _slated(board: "Storyboard", made: "ArchivedFilm", target: Path) -> None:
    """The film with shot, text, frame and timecode on every frame, and where a shot starts from."""
    from fractions import Fraction

    from prefect_ltx.film import Timeline
    from prefect_ltx.film.slate import SlateText, burn_slates

    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    timeline = Timeline.of(
        Fraction(made.fps), [(each.shot, each.frames, each.overlap) for each in made.shots]
    )
    texts = [SlateText(shot.id, shot.title or shot.id, shot.text, shot.start_from) for shot in board.shots]
    await burn_slates(Path(made.video), target, timeline, texts)


@contextmanager
def _environment(fal_url: str, folder: Path) -> Iterator[None]:
    """Settings that point into the folder, without the user's key and budget; put back at the end."""
    before = dict(os.environ)
    for name in [*os.environ]:
        if name == "FAL_KEY" or name.startswith("PREFECT_LTX_"):
            del os.environ[name]
    os.environ |= {
        "PREFECT_LTX_FAL_URL": fal_url,
        "PREFECT_LTX_HOME": str(folder),
        "PREFECT_LTX_LEDGER": f"sqlite:///{folder / 'ledger.db'}",
        "PREFECT_LTX_ARCHIVE": str(folder / "archive"),
    }
    try:
        yield
    finally:
        for name in {*os.environ} - {*before}:
            del os.environ[name]
        os.environ |= before
