"""Libraries that only some things need: imported, or asked for in a line."""

import sys
from pathlib import Path

import pytest

from shards.errors import UsageError
from shards.plugins.optional_library import optional_library


def test_it_is_imported_or_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A submodule too; one that is there and cannot be imported says what is wrong with it."""
    assert optional_library("os.path", "a file", "nothing").join("a", "b") == str(Path("a/b"))
    with pytest.raises(UsageError) as absent:
        optional_library("absent_library.part", "a chart", "'absent>=1'")
    asked = "a chart needs absent_library, which is not installed; pip install 'absent>=1'"
    assert str(absent.value) == asked
    (tmp_path / "half_a_library.py").write_text("import absent_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="half_a_library, got No module named 'absent_library'"):
        optional_library("half_a_library", "a chart", "half")
    assert "half_a_library" not in sys.modules
