"""What every test of a run wants."""

import pytest

from trainer import log


@pytest.fixture
def no_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event files are torch's business, and importing tensorboard takes seconds."""
    monkeypatch.setattr(log, "_open_events", lambda folder, from_step: None)
