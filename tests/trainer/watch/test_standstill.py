"""A run whose loss stays at a constant output's hears of it early and once; no good run does."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_run import tiny_config
from typed import typed

from trainer.methods.protocol import Method
from trainer.recipes.recipe import as_mapping, resolve, to_yaml
from trainer.record.log import read_metrics
from trainer.settings.strict import merge
from trainer.setup.timeline import Timeline
from trainer.terms.term import Seen, Term
from trainer.watch.standstill import NEAR, STILL_EPOCHS, STILL_STEPS, Standstill

WARM_EPOCHS = 2.0
WARM_STEPS = 200
CONSTANT = 4.0


class Toy(Method):
    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        assert (num_images, views) == (8, (2, 8))
        return CONSTANT


class Best(Toy):
    constant_is_best = True


class ByImage(Toy):
    def prepare(self, num_images: int) -> None: ...


class Adds(Term):
    def forward(self, seen: Seen) -> torch.Tensor:
        raise AssertionError


class Changes(Term):
    changes = "queries"


def judge(method: Method | None = None) -> Standstill:
    groups = (SimpleNamespace(count=2), SimpleNamespace(count=6))
    parts: Any = SimpleNamespace(
        config=tiny_config(Path("x"), "swav", optim={"warmup_epochs": WARM_EPOCHS}),
        method=method or Toy(),
        policy=SimpleNamespace(groups=groups),
        timeline=Timeline(num_images=800, batch_size=8, epochs=100),
    )
    return Standstill(parts)


def said_at(losses: dict[int, float], method: Method | None = None) -> list[int]:
    still = judge(method)
    return [step for step, loss in losses.items() if still.look(step, loss)]


def test_it_is_told_of_a_loss_that_stays() -> None:
    """So many steps after the warm-up, once, noise or not."""
    losses = {s: CONSTANT * (1 + 0.4 * NEAR * (-1) ** (s // 10)) for s in range(10, 1000, 10)}
    assert said_at(losses) == [WARM_STEPS + STILL_STEPS]
    text = judge_text(losses)
    assert text.startswith(f"the loss has stood at 4.0080 for {STILL_STEPS} steps, where equal ")
    assert "(4.0000); stop the run and try method.num_prototypes=96 " in text


def judge_text(losses: dict[int, float]) -> str:
    still = judge()
    return next(text for s, loss in losses.items() if (text := still.look(s, loss)))


def test_rare_looks_are_enough() -> None:
    """Two of them, as far apart as that."""
    assert said_at({300: CONSTANT, 1300: CONSTANT, 2300: CONSTANT}) == [1300]


@pytest.mark.parametrize("losses", [
    {s: CONSTANT * (1.2 - s / 2000) for s in range(10, 1000, 10)},  # passes it
    {s: CONSTANT * (1 + NEAR - s / 100_000) for s in range(10, 2000, 10)},  # slowly
    dict.fromkeys(range(10, 1000, 10), CONSTANT * (1 - 1.1 * NEAR)),  # below
    {s: CONSTANT * (0.9 if s % 200 == 0 else 1) for s in range(10, 1000, 10)},  # leaves it
    dict.fromkeys(range(10, 1000, 10), math.nan),
], ids=["pass", "slow", "below", "leave", "nan"])  # fmt: skip
def test_it_is_silent_of_a_loss_that_moves(losses: dict[int, float]) -> None:
    """Through the constant output's, past it, or away from it again."""
    assert said_at(losses) == []


def test_methods_differ() -> None:
    """One that is best there, or does not say, is never told of; one by image has epochs more."""
    losses = dict.fromkeys(range(10, 1000, 10), CONSTANT)
    assert said_at(losses, Best()) == []
    assert said_at(losses, Method()) == []
    assert said_at(losses, ByImage()) == [WARM_STEPS + 100 * STILL_EPOCHS]


def test_the_methods_own_loss_is_judged_beside_terms() -> None:
    """What they add has no say, and no constant of the whole is told; a changed step has none."""
    losses = dict.fromkeys(range(10, 1000, 10), CONSTANT)
    method = Toy()
    method.terms = torch.nn.ModuleList([Adds()])
    assert said_at(losses, method) == [WARM_STEPS + STILL_STEPS]
    still = judge(method)
    assert still.constant_loss is None
    (text,) = [x for s, loss in losses.items() if (x := still.look(s, loss))]
    assert text.startswith("method_loss has stood at 4.0000 for ")
    method.terms = torch.nn.ModuleList([Adds(), Changes()])
    assert said_at(losses, method) == []


def test_a_score_below_untrained_is_told() -> None:
    """Late enough, early enough, by more than chance, and once."""
    still, late = judge(), WARM_STEPS + STILL_STEPS
    assert still.score(0, 0.3, 0.3, 10_000) is None
    assert still.score(late - 1, 0.2, 0.3, 10_000) is None
    assert still.score(late, 0.292, 0.3, 10_000) is None
    assert still.score(10_000, 0.2, 0.3, 10_000) is None
    text = still.score(late, 0.29, 0.3, 10_000)
    assert text is not None
    assert text.startswith("kNN 29.0% is below the untrained encoder's 30.0% after 400 steps")
    assert still.score(late, 0.2, 0.3, 10_000) is None


@pytest.mark.slow
def test_a_run_that_stands_still_says_so_and_writes_it_down(
    shard_folder: Path, tmp_path: Path
) -> None:
    """At a rate of next to nothing DINO's loss stays at ln K of its few prototypes."""
    changes = {
        "method": {"num_prototypes": 1000, "temperature": 100.0, "freeze_epochs": 0.0},
        "optim": {"name": "sgd", "base_lr": 1e-9, "warmup_epochs": 0.0},
        "loop": {"epochs": 60, "batch_size": 8},
        "run": {"log_every": 10, "save_every_epochs": 1000.0},
    }
    config = resolve(merge(as_mapping(tiny_config(shard_folder, "dino")), changes))
    (tmp_path / "still.yaml").write_text(to_yaml(config))
    said = typed("python -m trainer.run --config still.yaml --out run", tmp_path)
    assert said.count("the loss has stood at 6.90") == 1
    assert "(constant output 6.9078)" in said
    (told,) = [record for record in read_metrics(tmp_path / "run") if "warning" in record]
    assert told["step"] == STILL_STEPS + 10
    assert "stop the run and try method.num_prototypes=96" in told["warning"]
    assert told["constant_loss"] == pytest.approx(math.log(1000))
