"""LTX-2.3 video generation on fal as a Prefect collection.

Importing this package imports nothing else. True without Prefect: `prefect_ltx.fal`, `.ledger`, `.media`,
`.archive`, `.local`, `.generation`, `.batch`, `.recovery`; for Prefect: `.blocks`, `.tasks`, `.flows`. The blocks
are named here too, because `prefect block register -m prefect_ltx` looks for them among a module's members; each is
imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect_ltx.blocks import (
        FalCredentials,
        GenerationLedger,
        GenerationPreset,
        SpendingBudget,
        VideoArchive,
    )

__all__ = [
    "FalCredentials",
    "GenerationLedger",
    "GenerationPreset",
    "SpendingBudget",
    "VideoArchive",
    "__version__",
]

_BLOCKS = frozenset(
    {"FalCredentials", "GenerationLedger", "GenerationPreset", "SpendingBudget", "VideoArchive"}
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # costs more than the rest of this import

        return version("prefect-ltx")
    if name in _BLOCKS:
        return getattr(import_module("prefect_ltx.blocks"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
