"""One run of the ingredient flow in a process of its own, which kills itself where it is told to.

usage: python child.py REQUEST.json [STAGE[+SECONDS]]      (STAGE "start": counted from the flow's start)
"""

import asyncio
import json
import os
import signal
import sys
import threading
from contextlib import AbstractContextManager
from pathlib import Path

from prefect_ltx.fal import IngredientRequest
from prefect_ltx.flows import ingredient_to_video
from prefect_ltx.generation import Progress, observe, tell


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killer(where: str) -> AbstractContextManager[None]:
    stage, _, delay = where.partition("+")

    def look(progress: Progress) -> None:
        if progress.stage == stage:
            if delay:
                threading.Timer(float(delay), kill_self).start()
            else:
                kill_self()

    return observe(look)


def run() -> None:
    request = IngredientRequest.model_validate(json.loads(Path(sys.argv[1]).read_text()))
    tell("start", "")
    result = asyncio.run(ingredient_to_video(request))
    print(result.model_dump_json())


if __name__ == "__main__":
    if len(sys.argv) > 2:
        with killer(sys.argv[2]):
            run()
    else:
        run()
