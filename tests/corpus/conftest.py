import fcntl
import os
from pathlib import Path

import pytest
from clips import make_all


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every clip of `clips`; the processes of a run share one."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    clips = folder / "corpus"
    with (folder / "corpus.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (clips / "made").exists():
            clips.mkdir(exist_ok=True)
            make_all(clips)
            (clips / "made").touch()
    return clips
