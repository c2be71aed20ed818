"""What stands beside a figure."""

from pathlib import Path

import pytest

import trainer.record.conditions as module
from trainer.record.conditions import conditions


def test_conditions_say_where_and_with_what() -> None:
    """Processor, cores, versions, date and commit stand beside every figure."""
    found = conditions()
    assert found["cpu"]
    assert isinstance(found["cores"], int)
    assert found["cores"] >= 1
    assert "torch" in dict(found["versions"])  # type: ignore[call-overload]
    assert str(found["date"]).endswith("UTC")


def test_the_commit_is_that_of_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed inside another checkout, it does not give that one's."""
    monkeypatch.setattr(module, "_ROOT", tmp_path)
    assert conditions()["commit"] is None
