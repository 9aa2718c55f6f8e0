"""One run of the film flow in a process of its own, which kills itself at a stage of the work.

usage: python film_child.py STORYBOARD.json [STAGE [COUNT]]      (at the COUNTth time that STAGE is told; 1)
"""

import asyncio
import json
import sys
from pathlib import Path

from child import kill_self

from prefect_ltx.flows import storyboard_film
from prefect_ltx.generation import Progress, observe


def main() -> None:
    stage = sys.argv[2] if len(sys.argv) > 2 else ""
    left = int(sys.argv[3]) if len(sys.argv) > 3 else 1

    def look(progress: Progress) -> None:
        nonlocal left
        if progress.stage == stage:
            left -= 1
            if not left:
                kill_self()

    with observe(look):
        film = asyncio.run(storyboard_film(json.loads(Path(sys.argv[1]).read_text()), recipe="none"))
    print(json.dumps({"paid_now": film.paid_now, "frames": film.frames, "folder": film.folder}))


if __name__ == "__main__":
    main()
