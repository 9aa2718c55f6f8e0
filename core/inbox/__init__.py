"""Watched folders and prefixes: which files are new, whole and usable, and which were announced already.

Nothing here sends anything or spends anything; whoever receives a file's event starts the run.
"""

from prefect_ltx.inbox.defaults import Defaults, DefaultsInvalid
from prefect_ltx.inbox.look import Drop, Look, Refused, look, seed_scope, shown, whole_requests
from prefect_ltx.inbox.place import Inbox, InboxFile, Kind
from prefect_ltx.inbox.record import Record

__all__ = [
    "Defaults",
    "DefaultsInvalid",
    "Drop",
    "Inbox",
    "InboxFile",
    "Kind",
    "Look",
    "Record",
    "Refused",
    "look",
    "seed_scope",
    "shown",
    "whole_requests",
]
