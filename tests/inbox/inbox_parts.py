"""A watched place for tests: a folder or a bucket, and somebody who drops files there."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect_ltx.inbox import Inbox, Look, Record, look

DEFAULTS = "prompt: A clay figure dances.\nnum_frames: 9\nresolution: 256x192\n"


@dataclass
class Place:
    """Where the inbox is; `client` is boto3's for a bucket."""

    location: str
    client: Any = None

    def drop(self, name: str, data: bytes | str, *, age: float = 60) -> str:
        """Put a file there that was last written `age` seconds ago, and give its address."""
        data = data.encode() if isinstance(data, str) else data
        if self.client is not None:
            bucket, _, prefix = self.location.removeprefix("s3://").partition("/")
            self.client.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=data)
        else:
            path = Path(self.location, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            os.utime(path, (time.time() - age,) * 2)
        return f"{self.location}/{name}"

    async def look(self, **how: Any) -> Look:
        """One look by somebody who has nothing in memory."""
        async with Inbox(self.location) as inbox:
            return await look(inbox, await Record.load(inbox.record), **{"settle": 0.2, **how})

    async def told(self, found: Look) -> None:
        """Record that everything found was told."""
        async with Inbox(self.location) as inbox:
            record = await Record.load(inbox.record)
            for each in found.drops:
                assert await record.claim(each.event) == 1
                await record.mark_sent(each.event)
                await record.mark_seen(each.name, each.version, sha256=each.sha256, event=each.event)
