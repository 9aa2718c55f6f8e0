"""Prompt expansion as a stand-in: a deterministic rewrite, the same for the same prompt and seed.

fal's own rewrites the text with a language model and can lose the "Reference sheet: … Generated video: …"
structure (ltx-model §2). This one keeps every word and adds to the end, where the description of the video
is.
"""

import random
from typing import Final

_LIGHT: Final = ("soft window light", "low golden light", "even studio light", "cool overcast light")
_CAMERA: Final = (
    "a slow push-in",
    "a steady lateral track",
    "a locked-off frame with a slight drift",
    "a gentle handheld sway",
)
_SOUND: Final = (
    "quiet room tone under the movement",
    "a low hum and soft footsteps",
    "a light breeze and distant voices",
    "close, dry sound with little echo",
)


def expand_prompt(prompt: str, seed: int) -> str:
    """`prompt` with a sentence about light, camera and sound, chosen by `seed`."""
    chosen = random.Random(f"expansion {seed}")  # noqa: S311  (has to be repeatable)
    text = prompt.strip()
    end = "" if text.endswith((".", "!", "?", "…", '"')) else "."
    return (
        f"{text}{end} One continuous cinematic shot in {chosen.choice(_LIGHT)}, {chosen.choice(_CAMERA)}, "
        f"with {chosen.choice(_SOUND)}."
    )
