"""Checks of an installation and its settings, without Prefect: each finding comes with its remedy.

`check_all` reads and writes nothing that lasts (but the ledger's tables, where its database is empty) and spends
nothing. `learn` spends cents, when asked.
"""

import asyncio

from prefect_ltx.doctor.account import check_account
from prefect_ltx.doctor.conflicts import check_settings
from prefect_ltx.doctor.database import check_behind
from prefect_ltx.doctor.findings import Finding, Severity, error, info, ok, warning
from prefect_ltx.doctor.live import MOST_USD, LivePlan, learn, plan_live
from prefect_ltx.doctor.machine import check_machine
from prefect_ltx.doctor.places import check_places
from prefect_ltx.doctor.storage import check_archive, check_ledger
from prefect_ltx.settings import Settings

__all__ = [
    "MOST_USD",
    "Finding",
    "LivePlan",
    "Severity",
    "check_account",
    "check_all",
    "check_archive",
    "check_ledger",
    "check_machine",
    "check_places",
    "check_settings",
    "error",
    "info",
    "learn",
    "ok",
    "plan_live",
    "warning",
]


async def check_all(settings: Settings, *, machines: str | None = None) -> list[Finding]:
    """Every check that needs no Prefect, in the order in which one would mend things. `machines` says how it is
    known that several machines share the work."""
    found = await check_account(settings)
    places = await asyncio.to_thread(check_places, settings)
    found += places
    if any(each.severity == "error" for each in places):
        return found  # nothing else can be looked at
    found += await asyncio.to_thread(check_machine, settings)
    found += await asyncio.to_thread(check_ledger, settings)
    found += await check_archive(settings)
    found += await check_behind(settings)
    return found + await check_settings(settings, machines=machines)
