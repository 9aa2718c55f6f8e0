"""Helpers that tests of several rooms share."""

from pathlib import Path

from prefect_ltx.local import LocalFal

SECRET = "keyid-for-tests:s3cr3t-value-for-tests"


def environment(url: str, folder: Path) -> dict[str, str]:
    """The settings of a user whose fal is at `url` and whose files are below `folder`."""
    return {
        "FAL_KEY": SECRET,
        "PREFECT_LTX_FAL_URL": url,
        "PREFECT_LTX_HOME": str(folder / "home"),
        "PREFECT_LTX_LEDGER": f"sqlite:///{folder / 'ledger.db'}",
        "PREFECT_LTX_ARCHIVE": str(folder / "archive"),
    }


def submits(fal: LocalFal) -> int:
    """How many POSTs to one of the two endpoints arrived at the server."""
    return sum(1 for method, path, _ in fal.log if method == "POST" and "/ltx-2.3-quality/" in path)
