"""The embedded fal: a server that speaks fal's protocol, keeps a bill, renders with ffmpeg and fails on
demand.

It is a stand-in for trying, testing and rehearsing. It is not the model, and everything it makes says so.

    with LocalFal() as fal:
        ...  # fal.url, fal.bill, fal.log, fal.faults.add("lost_reply")
"""

from prefect_ltx.local.bill import Bill
from prefect_ltx.local.fault_table import KNOWN, FaultKind, ReplyKind, Route
from prefect_ltx.local.faults import Fault, Faults
from prefect_ltx.local.renderer import (
    RenderCancelled,
    Renderer,
    RendererUnusable,
    RenderJob,
    RenderRefused,
    Report,
)
from prefect_ltx.local.rows import Charge
from prefect_ltx.local.server import LocalFal
from prefect_ltx.local.serving import serve
from prefect_ltx.local.stamp import STAND_IN
from prefect_ltx.local.store import StoreUnusable

__all__ = [
    "KNOWN",
    "STAND_IN",
    "Bill",
    "Charge",
    "Fault",
    "FaultKind",
    "Faults",
    "LocalFal",
    "RenderCancelled",
    "RenderJob",
    "RenderRefused",
    "Renderer",
    "RendererUnusable",
    "ReplyKind",
    "Report",
    "Route",
    "StoreUnusable",
    "serve",
]
