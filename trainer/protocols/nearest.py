"""`knn`: weighted nearest neighbours as published, and with k and T chosen on training images.

InstDisc votes with k = 200, DINO finds 20 best among 10, 20, 100 and 200 (2104.14294), both with
T = 0.07; MoCo's CIFAR demo has T = 0.1. Published pairs of 20 and 200 neighbours differ by up to
two points, so both rows stand beside the chosen one. Seeds move the held-out part alone.
"""

from collections.abc import Iterator

from shards.terminal.counted import counted
from trainer.eval.knn import TEMPERATURE, knn_accuracy
from trainer.protocols.sweep_part import best, held_out_part
from trainer.protocols.task import Row, Task, summary

NUM_NEIGHBOURS = (10, 20, 100, 200)
TEMPERATURES = (0.07, 0.1)
PUBLISHED = ((20, "DINO"), (200, "InstDisc"))


def nearest_sweep(task: Task) -> Iterator[Row]:
    """The published settings, then a row a seed."""
    train = task.centre_features(task.sets.train, "training features")
    counts = (task.k,) if task.k else NUM_NEIGHBOURS
    temperatures = (task.temperature,) if task.temperature else TEMPERATURES
    candidates = [(k, t) for k in counts for t in temperatures]
    sweeps = []
    for seed in task.seeds:
        fitted, held_out = held_out_part(train.labels.cpu().numpy(), seed)
        sets = (train.values[fitted], train.labels[fitted])
        sets += (train.values[held_out], train.labels[held_out])
        is_swept = len(candidates) > 1 and len(held_out) > 0
        sweeps.append({c: _accuracy(sets, *c) for c in candidates} if is_swept else {})
    # All is chosen: only now are there features of the test images.
    test = task.centre_features(task.sets.test, "held-out features")
    sets = (train.values, train.labels, test.values, test.labels)
    if len(candidates) > 1:
        for k, who in PUBLISHED:
            note = f"{who}'s; {counted(min(k, len(train.values)), 'neighbour')}, T {TEMPERATURE:g}"
            yield Row(what=f"k={k}", scores=(_accuracy(sets, k, TEMPERATURE),), note=note)
    rows = []
    for seed, sweep in zip(task.seeds, sweeps, strict=True):
        k, temperature = best(sweep) if sweep else candidates[0]
        rows.append(
            Row(
                what=f"seed {seed}",
                scores=(_accuracy(sets, k, temperature),),
                seed=seed,
                note=f"k {k}, T {temperature:g}",
                sweep={f"k {k}, T {t:g}": score for (k, t), score in sweep.items()},
            )
        )
        yield rows[-1]
    if mean := summary(rows):
        yield mean


def _accuracy(sets: tuple, k: int, temperature: float) -> float:
    return knn_accuracy(*sets, k=k, temperature=temperature)
