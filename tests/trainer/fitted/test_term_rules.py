"""A fitted run's terms: keys that nobody typed fit the queue and the length; typed ones stay."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tiny_sets import write_set

from shards.errors import UsageError
from trainer.fitted.fitted_config import fitted_config
from trainer.fitted.term_rules import TERM_RULES, fit_terms
from trainer.methods.moco import Settings as MoCo
from trainer.recipes.recipe import read_recipe
from trainer.terms.mochi import MoCHi
from trainer.terms.term_table import TERMS, read_terms


def fitted(data: Path, terms: object) -> tuple[dict[str, Any], MoCHi, str]:
    """MoCHi's keys, the term made with them beside the fitted queue, and what is told."""
    command = {
        "data": {"train": str(data)},
        "method": {"name": "mocov2", "terms": terms},
        "loop": {"epochs": 8},
        "run": {"device": "cpu"},
    }
    config, told = fitted_config(command, None, ExitStack())
    (given,) = read_terms(config.method.terms)
    term = MoCHi(given.settings, config.method.settings["queue_length"])
    return dict(config.method.terms[0]), term, "\n".join(told)  # type: ignore[arg-type]


@pytest.mark.parametrize("images", [12, 100, 500])
def test_mochi_fits_the_queue_of_a_small_set(images: int, tmp_path: Path) -> None:
    """A name alone is enough: fewer hardest than the queue has rows, from early on, and told."""
    keys, _, told = fitted(write_set(tmp_path / "set", [0] * images), "mochi")
    assert keys["start_epoch"] == 1
    assert f"method.terms=[{{'name':'mochi','hardest':{keys['hardest']}," in told
    assert "mixtures of an eighth of the queue's" in told


def test_what_is_typed_of_a_term_stays(tmp_path: Path) -> None:
    """Its other keys fit; more hardest than rows are refused; other terms are left alone."""
    data = write_set(tmp_path / "set", [0] * 100)
    keys, _, _ = fitted(data, ({"name": "mochi", "hardest": 3, "start_epoch": 5},))
    assert (keys["hardest"], keys["start_epoch"]) == (3, 5)
    assert keys["pairs"] < 100
    with pytest.raises(UsageError, match="rows of the queue, which holds 32, got 1000; lower"):
        fitted(data, ({"name": "mochi", "hardest": 1000},))
    assert fit_terms("augself,hsic", MoCo(), 8) == ([{"name": "augself"}, {"name": "hsic"}], "")


def test_long_queues_have_the_published_numbers_and_the_demo_its_own() -> None:
    """The rule gives what the recipes say; a method without a queue is left to be refused."""
    for name, epochs in (("mochi", 200), ("mochi_demo", 8)):
        recipe = read_recipe(name)["method"]
        terms, _ = fit_terms("mochi", MoCo(queue_length=recipe["queue_length"]), epochs)
        assert terms == recipe["terms"]
    assert fit_terms("mochi", object(), 8) == ([{"name": "mochi"}], "")
    assert set(TERM_RULES) <= set(TERMS)
