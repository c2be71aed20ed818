"""Weights of sets that change when a run continues: from which sample on, and what that means.

A checkpoint's config has the weights it was made with and those before; so the order of a run is a
function of its config and a position, however often they change and wherever it is killed.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shards.errors import UsageError
from shards.mixture.mixed_index import MixedIndex
from shards.terminal.counted import agreed, counted
from trainer.build import Parts
from trainer.settings.weighted_sets import split_weight
from trainer.setup.data_sets import former_weights


def with_past(parts: Parts, state: Mapping[str, Any]) -> tuple[Parts, str | None]:
    """The parts with the order of the run so far, and a sentence when weights change now.

    Args:
        parts: of the run as it goes on, with the sets of the checkpoint.
        state: the checkpoint.

    Raises:
        UsageError: other weights, of a method that cannot take them.
    """
    index, step = parts.index, state["step"]
    if not isinstance(index, MixedIndex):
        return parts, None
    data = state["config"]["data"]
    old = tuple(split_weight(text)[1] or 1.0 for text in data["train"])
    past = tuple(tuple(row) for row in data.get("former_weights", ()))
    is_changed = old != index.weights
    if is_changed and parts.method.whole_epochs:
        raise UsageError(
            f"{parts.config.method.name} keeps the weights of its sets, got {_shown(index.weights)}"
            f" after {_shown(old)}; give the former ones"
        )
    if is_changed and step:
        past = (*past, (float(step), *old))
    config = replace(parts.config, data=replace(parts.config.data, former_weights=past))
    index = index.with_weights(index.weights, former_weights(config))
    loop = config.loop
    parts = replace(
        parts,
        config=config,
        index=index,
        order=index.windowed_order(loop.seed, loop.window),
        timeline=replace(parts.timeline, num_images=index.epoch_samples),
    )
    if not is_changed:
        return parts, None
    sample = parts.timeline.cursor(step).position
    return parts, (
        f"from sample {sample:,} of the run on (step {step:,}) the sets' weights are "
        f"{_shown(index.weights)} in place of {_shown(old)}: an epoch is {index.epoch_samples:,} "
        f"images, and {counted(loop.epochs, 'epoch')} {agreed(loop.epochs, 'is', 'are')} "
        f"{counted(parts.timeline.total_steps, 'step')}, as if it had been so from the start; "
        "every set goes on where it was"
    )


def _shown(weights: tuple[float, ...]) -> str:
    return ", ".join(f"{weight:g}" for weight in weights)
