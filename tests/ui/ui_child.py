"""What the UI tests look at, made on the Prefect server of PREFECT_API_URL: `python ui_child.py made|takes SHEET`.

`made` makes a video, a batch of it, a spend report, the block types and a deployment, and prints what it made as JSON;
`takes` waits until a person approves two takes, makes them, and waits until a person chooses one.
"""

import asyncio
import json
import sys
from typing import Any

from prefect_ltx.blocks import (
    FalCredentials,
    GenerationLedger,
    GenerationPreset,
    SpendingBudget,
    VideoArchive,
)
from prefect_ltx.flows import best_of_takes, generate_batch, ingredient_to_video, spend_report

PROMPT = "Reference sheet: a copper pan. Generated video: the <b>pan</b> turns | slowly, steam rising. " * 2


def request(sheet: str, **changes: object) -> Any:
    size = {"width": 512, "height": 256}
    return {
        "prompt": PROMPT,
        "image_url": sheet,
        "num_frames": 25,
        "resolution": size,
        "video_write_mode": "fast",
        **changes,
    }


async def made(sheet: str) -> None:
    result = await ingredient_to_video(request(sheet, seed=7))
    # Paid for already: the batch has its table, and the report its sums.
    await generate_batch([{**request(sheet), "seed": 7, "id": "pan"}], name="pans", recipe="web")
    await spend_report(days=1)
    for block in (FalCredentials, GenerationLedger, GenerationPreset, SpendingBudget, VideoArchive):
        await block.register_type_and_schema()
    by_hand = await ingredient_to_video.ato_deployment("by hand", tags=["ltx"])
    print(json.dumps({**result.model_dump(mode="json"), "deployment": str(await by_hand.aapply())}))


async def takes(sheet: str) -> None:
    found = await best_of_takes(
        request(sheet, seed=20, num_frames=9), n=2, choose="person", recipe="none", approve=True
    )
    print(json.dumps({"chosen": found.chosen.number}))


asyncio.run({"made": made, "takes": takes}[sys.argv[1]](sys.argv[2]))
