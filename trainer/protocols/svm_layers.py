"""`svm`: one-vs-all linear SVMs on the frozen features of each layer.

Exemplar-CNN (1406.6909) max-pools the maps of a layer over four quadrants and fits a one-vs-all
linear SVM; VISSL (1905.01235) takes squared hinge on vectors of length 1 and chooses the cost by
three-fold cross-validation. Here: layer1 to layer4 of a ResNet pooled so, then the encoder's own
output; vectors of length 1; the cost chosen on a held-out tenth of the training images, from the
weakest to the strongest fit, each from the one before. Other encoders have the last row alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

from trainer.eval.features import Features
from trainer.protocols.svm_solver import Svm, fit_svm
from trainer.protocols.sweep_part import best, held_out_part
from trainer.protocols.task import Row, Task, summary

COSTS = (0.01, 0.1, 1.0, 10.0, 100.0)
LAYERS = ("layer1", "layer2", "layer3", "layer4")
OUTPUT = "output"
QUADRANTS = 2  # a side


def svm_layers(task: Task) -> Iterator[Row]:
    """A row a layer and seed, then the mean of a layer's seeds."""
    for layer in layers_of(task.encoder):
        with _giving(task, layer) as layered:
            train = _unit(layered.centre_features(task.sets.train, f"{layer}: training features"))
            chosen = [_sweep(task, train, seed, layer) for seed in task.seeds]
            test = _unit(layered.centre_features(task.sets.test, f"{layer}: held-out features"))
        rows = []
        for seed, sweep in zip(task.seeds, chosen, strict=True):
            cost = best(sweep) if sweep else COSTS[len(COSTS) // 2]
            svm = _fit(task, train, cost, None)
            note = f"C {cost:g}, {train.values.shape[1]:,} features, duality gap {svm.gap:.1g}"
            rows.append(
                Row(
                    what=layer if len(task.seeds) == 1 else f"{layer}, seed {seed}",
                    scores=(_accuracy(task, svm, test),),
                    seed=seed,
                    note=note,
                    sweep={f"C {c:g}": score for c, score in sweep.items()},
                )
            )
            yield rows[-1]
        if mean := summary(rows):
            yield replace(mean, what=f"{layer}, mean")


def layers_of(encoder: nn.Module) -> tuple[str, ...]:
    """The layers whose features are judged, the last one the encoder's output."""
    children = dict(encoder.named_children())
    return (*(name for name in LAYERS if name in children), OUTPUT)


@contextmanager
def _giving(task: Task, layer: str) -> Iterator[Task]:
    """The task with an encoder that gives this layer's maps, pooled over quadrants."""
    if layer == OUTPUT:
        yield task
        return
    tap = _Tap(task.encoder)
    handle = task.encoder.get_submodule(layer).register_forward_hook(tap.keep)
    try:
        yield replace(task, encoder=tap)
    finally:
        handle.remove()


class _Tap(nn.Module):
    """Runs an encoder, and gives what one of its layers gave."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self._maps: torch.Tensor | None = None

    def keep(self, module: nn.Module, inputs: object, maps: torch.Tensor) -> None:
        """The hook of the layer."""
        self._maps = maps

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[N, C * 4] of maps [N, C, H, W]."""
        self.encoder(images)
        assert self._maps is not None
        return F.adaptive_max_pool2d(self._maps, QUADRANTS).flatten(1)


def _unit(features: Features) -> Features:
    return Features(F.normalize(features.values, dim=1), features.labels)


def _sweep(task: Task, train: Features, seed: int, layer: str) -> dict[float, float]:
    """Held-out accuracy by cost; empty where no image can be held out."""
    fitted, held_out = (
        torch.from_numpy(part) for part in held_out_part(train.labels.cpu().numpy(), seed)
    )
    if len(held_out) == 0:
        return {}
    parts = [Features(train.values[p], train.labels[p]) for p in (fitted, held_out)]
    scores, near = {}, None
    for number, cost in enumerate(COSTS, 1):
        near = _fit(task, parts[0], cost, near)
        scores[cost] = _accuracy(task, near, parts[1])
        task.on_progress(f"{layer}: sweep", number / len(COSTS))
    return scores


def _fit(task: Task, train: Features, cost: float, start: Svm | None) -> Svm:
    places = task.places(train.labels.cpu().numpy())
    return fit_svm(train.values, places, len(task.classes), cost, start=start)


def _accuracy(task: Task, svm: Svm, test: Features) -> float:
    is_right = svm.predict(test.values) == task.places(test.labels.cpu().numpy())
    return is_right.double().mean().item()
