import os
from pathlib import Path

import imageio_ffmpeg
import pytest

from prefect_ltx.media import FfmpegFailed, ffmpeg_binary, ffmpeg_version


@pytest.fixture
def other_ffmpeg(tmp_path: Path) -> Path:
    path = tmp_path / "ffmpeg"
    path.write_text("#!/bin/sh\necho ffmpeg version 5.1.9-0+deb12u1 Copyright\n")
    path.chmod(0o755)
    return path


def test_the_bundled_binary_comes_before_path(other_ffmpeg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ffmpeg versions write different bytes, so what is on PATH is the last choice."""
    monkeypatch.delenv("FFMPEG_BINARY", raising=False)
    monkeypatch.setenv("PATH", f"{other_ffmpeg.parent}{os.pathsep}{os.environ['PATH']}")
    assert ffmpeg_binary() == imageio_ffmpeg.get_ffmpeg_exe()


def test_the_variable_overrides_the_bundled_binary_and_an_argument_both(
    other_ffmpeg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Explicit comes before FFMPEG_BINARY, which comes before the bundled binary."""
    bundled = imageio_ffmpeg.get_ffmpeg_exe()
    monkeypatch.setenv("FFMPEG_BINARY", str(other_ffmpeg))
    assert ffmpeg_binary() == str(other_ffmpeg)
    assert ffmpeg_binary(bundled) == bundled


def test_a_named_binary_that_cannot_run_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong setting is never silently replaced by another ffmpeg."""
    monkeypatch.setenv("FFMPEG_BINARY", str(tmp_path / "none"))
    with pytest.raises(FfmpegFailed, match="FFMPEG_BINARY"):
        ffmpeg_binary()


def test_the_version_is_the_binarys_own(other_ffmpeg: Path, tmp_path: Path) -> None:
    """Manifests record which ffmpeg made a file; what is not ffmpeg is refused."""
    assert ffmpeg_version(str(other_ffmpeg)) == "5.1.9-0+deb12u1"
    (tmp_path / "no").write_text("#!/bin/sh\necho hello\n")
    (tmp_path / "no").chmod(0o755)
    with pytest.raises(FfmpegFailed, match="not ffmpeg"):
        ffmpeg_version(str(tmp_path / "no"))
