"""What tests of whole runs share."""

from collections.abc import Callable

import pytest

import trainer.train
from trainer.build import Parts
from trainer.recipes.recipe import as_mapping
from trainer.watch.footprint import Footprint

_WEIGHED: dict[str, Footprint | str] = {}


@pytest.fixture
def weighed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of runs of one config in this process the first one alone is weighed, which costs steps.

    For tests that start one many times; that a step is weighed, and that weighing changes nothing,
    is tested in watch/test_footprint.py.
    """
    weigh: Callable[[Parts], Footprint | str] = trainer.train.weigh

    def once(parts: Parts) -> Footprint | str:
        values = as_mapping(parts.config)
        key = repr({name: values[name] for name in values if name not in ("run", "eval")})
        if key not in _WEIGHED:
            _WEIGHED[key] = weigh(parts)
        return _WEIGHED[key]

    monkeypatch.setattr(trainer.train, "weigh", once)
