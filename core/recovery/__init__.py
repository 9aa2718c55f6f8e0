"""Picking up what somebody else left: the sweep, and asking about what is in flight. Nothing here submits anything."""

from prefect_ltx.recovery.in_flight import InFlightReport, ask_in_flight
from prefect_ltx.recovery.rebuild import NotRebuilt, RebuildReport, rebuild_ledger
from prefect_ltx.recovery.report import SweepItem, SweepReport
from prefect_ltx.recovery.review import Choices, ChoicesUnreadable, ReviewReport, read_choices, review
from prefect_ltx.recovery.sweep import sweep_all

__all__ = [
    "Choices",
    "ChoicesUnreadable",
    "InFlightReport",
    "NotRebuilt",
    "RebuildReport",
    "ReviewReport",
    "SweepItem",
    "SweepReport",
    "ask_in_flight",
    "read_choices",
    "rebuild_ledger",
    "review",
    "sweep_all",
]
