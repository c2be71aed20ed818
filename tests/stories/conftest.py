"""Every story has a folder to work in and is told at two lengths."""

from pathlib import Path

import pytest

SHORT = pytest.param(1, marks=pytest.mark.slow, id="short")
LONG = pytest.param(8, marks=pytest.mark.long, id="long")


@pytest.fixture(params=[SHORT, LONG])
def times(request: pytest.FixtureRequest) -> int:
    """How many times as many images and epochs as on every commit."""
    return request.param


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the commands are typed; what is cached for a user is cached in it."""
    monkeypatch.setenv("AUGENGINE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "desk with a space"
    folder.mkdir()
    return folder
