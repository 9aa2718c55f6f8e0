"""Prefect blocks: the account at fal, the ledger, the archive, the budget, and presets.

Flows and tasks take them by name and load them inside, so that no secret stands in a parameter or a pickle.
"""

from prefect_ltx.blocks.archive import VideoArchive
from prefect_ltx.blocks.budget import SpendingBudget
from prefect_ltx.blocks.credentials import FalCredentials
from prefect_ltx.blocks.ledger import GenerationLedger
from prefect_ltx.blocks.preset import GenerationPreset, GenerationRun

__all__ = [
    "FalCredentials",
    "GenerationLedger",
    "GenerationPreset",
    "GenerationRun",
    "SpendingBudget",
    "VideoArchive",
]
