"""The environment of a user of an embedded fal and a Prefect server, for the processes that are measured."""

import os
from pathlib import Path


def environment(fal_url: str, api: str, home: Path) -> dict[str, str]:
    """Ledger, archive and Prefect's own files lie below `home`."""
    return os.environ | {
        "FAL_KEY": "me:secret",
        "PREFECT_LTX_FAL_URL": fal_url,
        "PREFECT_LTX_HOME": str(home / "home"),
        "PREFECT_LTX_LEDGER": f"sqlite:///{home / 'ledger.db'}",
        "PREFECT_LTX_ARCHIVE": str(home / "archive"),
        "PREFECT_API_URL": api,
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "DO_NOT_TRACK": "1",
    }
