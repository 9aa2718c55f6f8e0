"""The words by which everything that the stand-in makes says what it is."""

from typing import Final

STAND_IN: Final = "prefect-ltx embedded stand-in, not LTX"
