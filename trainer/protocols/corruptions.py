"""`corruptions`: the linear probe's accuracy on held-out images that are corrupted.

The probe is fitted on clean training features. Then every held-out view is corrupted by 15 kinds at
5 severities (Hendrycks and Dietterich, 1903.12261), as ImageNet-C is: after the crop, before the
normalisation. A row has a kind's mean over severities and each one; the last row is the mean over
kinds, mean corruption accuracy. The paper's mCE divides each kind's error by AlexNet's on ImageNet,
which no other set has; it is not given.
"""

from collections.abc import Iterator
from statistics import mean, stdev

import numpy as np
import torch

from trainer.eval.probe import ProbeResult, linear_probe
from trainer.protocols.corruption_kinds import KINDS, SEVERITIES, Corrupt, corruption_library
from trainer.protocols.task import Row, Task

CPU_TEST_IMAGES = 500


def corruptions(task: Task) -> Iterator[Row]:
    """The clean row, a row a kind, and their mean; scores are means over the seeds."""
    corrupt = corruption_library(task.views.size_px)
    train = task.centre_features(task.sets.train, "training features")
    test = task.centre_features(task.sets.test, "held-out features")
    sets = (train.values, train.labels, test.values, test.labels)
    probes = {seed: linear_probe(*sets, seed=seed) for seed in task.seeds}
    clean = [probe.accuracy for probe in probes.values()]
    yield Row(
        what="clean",
        scores=(mean(clean),),
        spread=_spread(clean),
        note=f"{len(test.labels):,} images; L2 {', '.join(f'{p.l2:g}' for p in probes.values())}",
    )
    means = {seed: [] for seed in task.seeds}
    by_severity = []
    for group, kinds in KINDS.items():
        for kind in kinds:
            found = {
                seed: _accuracies(task, probe, corrupt, kind, seed)
                for seed, probe in probes.items()
            }
            for seed, accuracies in found.items():
                means[seed].append(mean(accuracies))
            each = [mean(column) for column in zip(*found.values(), strict=True)]
            by_severity.append(each)
            spread = _spread([mean(accuracies) for accuracies in found.values()])
            yield Row(what=kind, scores=(mean(each), *each), spread=spread, note=group)
    each = [mean(column) for column in zip(*by_severity, strict=True)]
    spread = _spread([mean(of_seed) for of_seed in means.values()])
    yield Row(what="mean", scores=(mean(each), *each), spread=spread, note="mean corruption acc.")


def _accuracies(
    task: Task, probe: ProbeResult, corrupt: Corrupt, kind: str, seed: int
) -> list[float]:
    """Top-1 at each severity."""
    policy = task.views.policy
    mean_, std = (
        torch.tensor(colour).view(3, 1, 1).to(task.device) for colour in (policy.mean, policy.std)
    )
    right, total = np.zeros(len(SEVERITIES)), 0
    with task.frozen_encoder() as encoder, torch.no_grad():
        for batch in task.views(task.sets.test):
            images = batch.crops[0][0].float().to(task.device) * std + mean_  # [B, 3, S, S]
            pixels = _bytes(images)
            labels = torch.from_numpy(batch.labels).to(task.device)
            for place, severity in enumerate(SEVERITIES):
                worse = np.stack(
                    [
                        corrupt(image, kind, severity, seed, id)
                        for image, id in zip(pixels, batch.ids.tolist(), strict=True)
                    ]
                )
                views = torch.from_numpy(worse).to(task.device).permute(0, 3, 1, 2) / 255
                features = encoder((views - mean_) / std).float()
                right[place] += int((probe.predict(features) == labels).sum())
            total += batch.batch_size
            task.on_progress(kind, total / len(task.sets.test.ids))
    return (right / total).tolist()


def _bytes(images: torch.Tensor) -> np.ndarray:
    """[B, S, S, 3] uint8 of images [B, 3, S, S] in [0, 1]."""
    scaled = (images * 255).round().clamp(0, 255).to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _spread(values: list[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None
