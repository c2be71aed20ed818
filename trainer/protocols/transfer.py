"""`transfer`: a linear probe on sets that the encoder was not made for, a row a set.

The linear protocol of SimCLR and BYOL (2002.05709, B.8; 2006.07733, D): centre views, no
augmentation, multinomial logistic regression by L-BFGS, its strength chosen on held-out training
images, then refitted on all of them. They try 45 strengths on features as they are; `linear_probe`
tries 5 on standardised ones. They report top-1, and the mean over classes for Aircraft, Pets,
Caltech-101 and Flowers; both stand here, and kNN.
"""

from collections.abc import Iterator
from statistics import mean, stdev

from trainer.eval.knn import knn_accuracy
from trainer.eval.probe import linear_probe
from trainer.protocols.task import Row, Task


def transfer(task: Task, name: str) -> Iterator[Row]:
    """The row of one set; its scores are means over the seeds."""
    train = task.centre_features(task.sets.train, "training features")
    test = task.centre_features(task.sets.test, "held-out features")
    sets = (train.values, train.labels, test.values, test.labels)
    settings = task.views.settings
    k, temperature = settings.k, settings.temperature
    knn = knn_accuracy(*sets, k=k, temperature=temperature)
    probes = [
        linear_probe(*sets, seed=seed, on_look=lambda share: task.on_progress("probe", share))
        for seed in task.seeds
    ]
    tops = [probe.accuracy for probe in probes]
    strengths = ", ".join(f"{probe.l2:g}" for probe in probes)
    yield Row(
        what=name,
        scores=(mean(tops), mean(probe.per_class for probe in probes), knn),
        spread=stdev(tops) if len(tops) > 1 else None,
        note=f"{len(train.labels):,} / {len(test.labels):,} images, {len(task.classes):,} classes, "
        f"L2 {strengths}",
    )
