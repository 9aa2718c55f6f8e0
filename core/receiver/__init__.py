"""Receiving fal's webhooks: verified, recorded in the ledger, and only then answered. No Prefect in here.

A webhook never spends anything: it names a request that was paid for, and says how it ended.
"""

from prefect_ltx.receiver.announcer import Announcer, Tell
from prefect_ltx.receiver.app import DEFAULT_MAX_BYTES, Receiver, build_app
from prefect_ltx.receiver.keys import KeyRing, KeysUnavailable
from prefect_ltx.receiver.meaning import delivery_of
from prefect_ltx.receiver.recorder import Recorder, RecorderBusy
from prefect_ltx.receiver.server import serve

__all__ = [
    "DEFAULT_MAX_BYTES",
    "Announcer",
    "KeyRing",
    "KeysUnavailable",
    "Receiver",
    "Recorder",
    "RecorderBusy",
    "Tell",
    "build_app",
    "delivery_of",
    "serve",
]
