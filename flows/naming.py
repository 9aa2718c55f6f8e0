"""What a run says it makes: the words of a prompt that tell one run from another."""

import contextlib
import re
from pathlib import Path
from typing import Final
from uuid import UUID

from prefect import get_client
from prefect.runtime import flow_run

REHEARSAL: Final = (
    "**Rehearsal: made by a stand-in server, not by the model at fal. Prices are what fal would ask; nothing was "
    "paid.**"
)
_SCENE = re.compile(r"\bgenerated video\s*:\s*", re.IGNORECASE)


def words_of(prompt: str, most: int = 48) -> str:
    """The prompt's first words on one line, at most `most` characters.

    Of a prompt in the form `Reference sheet: … Generated video: …` it is the scene that tells runs apart.
    """
    scene = _SCENE.split(" ".join(prompt.split()), maxsplit=1)[-1] or prompt
    return scene if len(scene) <= most else scene[:most].rstrip() + "…"


def unmarked(text: str) -> str:
    """Text without what Markdown or HTML could be made of: an artifact's description is rendered in one interface."""
    return re.sub(r"</?[a-zA-Z][^>]*>|[<>`*_|\[\]\\~]", "", text)


def in_markdown(text: str) -> str:
    """Text as one line of Markdown in which nothing of it is rendered: neither HTML nor a link, a table or a style."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|!#~])", r"\\\1", line)


def code_block(text: str, width: int = 76) -> str:
    """Text to the letter in a code block, its lines broken at spaces: neither interface wraps them."""
    lines = []
    for line in text.replace("```", "'''").split("\n"):
        while len(line) > width and (cut := line.rfind(" ", 0, width)) > 0:
            lines.append(line[:cut])
            line = line[cut + 1 :]
        lines.append(line)
    return "\n".join(["```text", *lines, "```"])


def film_tags(title: str, storyboard: object) -> list[str]:
    """The ledger's tags of what a film is made of: by its title, and by its storyboard's file where it has one."""
    named = isinstance(storyboard, Path) or (isinstance(storyboard, str) and "\n" not in storyboard)
    file = Path(str(storyboard).partition("?")[0]).stem if named else ""
    return [f"film:{_short(title)}", f"storyboard:{_short(file or title)}"]


def _short(name: str) -> str:
    # A tag of the ledger has 200 characters.
    return " ".join(name.split())[:150]


def named(name: str) -> str:
    """The run's name: the one that a person typed, else `name`. Prefect's own are two words, such as `brave-otter`."""
    typed = str(flow_run.name or "")
    return typed if typed and not _PREFECTS.fullmatch(typed) else name


_PREFECTS = re.compile(r"[a-z]+-[a-z]+")


async def show_drawn_seed(seed: int) -> None:
    """Add a seed that was drawn to the name that the run was given by its request, so that equal ones differ."""
    run_id, name = flow_run.id, str(flow_run.name or "")
    if not run_id or not name.endswith(" frames)"):
        return
    with contextlib.suppress(Exception):  # a name must never end the work
        async with get_client() as client:
            await client.update_flow_run(UUID(str(run_id)), name=f"{name[:-1]}, seed {seed})")
