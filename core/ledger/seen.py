"""Which machines use a ledger, told from the boot ids that opened it.

A kernel draws its boot id anew at each start, so one that was here before and after another's belongs to a
machine that ran all the while: two machines use this ledger. A reboot, a container that starts again and a new
host name do neither. Written to the ledger's own notes (`ltx_meta`); systems without a boot id are not seen.
"""

import json
import socket
from typing import Final, NamedTuple

from sqlalchemy import Connection, select

from prefect_ltx.ledger.owner import boot_id
from prefect_ltx.ledger.schema import meta

_PREFIX: Final = "machine:"
_FORGET_SECONDS: Final = 30 * 24 * 3600


class Machine(NamedTuple):
    """A boot of a machine that has used this ledger; Unix seconds."""

    boot: str
    host: str
    """Its name then, for people."""
    first_seen: float
    last_seen: float


def note(connection: Connection, now: float, here: Machine | None = None) -> list[Machine]:
    """Write down that this machine uses the ledger now; the others that have used it at the same time, the last
    first. `here` stands for another machine than this one."""
    boot = here.boot if here else boot_id()
    if not boot:
        return []
    known = machines(connection)
    ours = next((each for each in known if each.boot == boot), None)
    name = here.host if here else socket.gethostname()
    mine = Machine(boot, name, ours.first_seen if ours else now, now)
    value = json.dumps(mine._asdict())
    if ours:
        connection.execute(meta.update().where(meta.c.name == _PREFIX + boot).values(value=value))
    else:
        connection.execute(meta.insert().values(name=_PREFIX + boot, value=value))
    old = [_PREFIX + each.boot for each in known if each.last_seen < now - _FORGET_SECONDS]
    if old:
        connection.execute(meta.delete().where(meta.c.name.in_(old)))
    return [each for each in known if each.boot != boot and each.last_seen > mine.first_seen]


def machines(connection: Connection) -> list[Machine]:
    """All that have used it within a month or so, the last first; those that were rebooted are there twice."""
    rows = connection.execute(select(meta.c.value).where(meta.c.name.startswith(_PREFIX)))
    found = [Machine(**json.loads(value)) for (value,) in rows]
    return sorted(found, key=lambda each: -each.last_seen)
