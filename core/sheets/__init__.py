"""Reference sheets for the ingredient endpoint, and the prompt that goes with one.

A sheet is one picture of separate panels on black; the prompt says what stands on it, then what happens
(ltx-model §5).
"""

from prefect_ltx.sheets.build import ReferenceSheet, SheetImage, build_reference_sheet
from prefect_ltx.sheets.errors import PromptInvalid, SheetError, SheetInvalid
from prefect_ltx.sheets.layout import (
    GUTTER,
    LAYOUTS,
    MOST_PANELS,
    Box,
    Layout,
    arrange,
    sheet_size,
)
from prefect_ltx.sheets.prompt import (
    ANTI_COLLAGE,
    Element,
    Line,
    ShotDescription,
    compose_prompt,
    composed_fields,
    describe_shot,
)

__all__ = [
    "ANTI_COLLAGE",
    "GUTTER",
    "LAYOUTS",
    "MOST_PANELS",
    "Box",
    "Element",
    "Layout",
    "Line",
    "PromptInvalid",
    "ReferenceSheet",
    "SheetError",
    "SheetImage",
    "SheetInvalid",
    "ShotDescription",
    "arrange",
    "build_reference_sheet",
    "compose_prompt",
    "composed_fields",
    "describe_shot",
    "sheet_size",
]
