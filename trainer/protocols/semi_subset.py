"""A class-balanced part of the labels: as many images of each class, fixed by the seed.

SimCLR's lists for ImageNet have 12 or 13 images of each class in 1 %, whatever the class's size
(2002.05709, B.5); `label_subset` of trainer/eval, which `--finetune` takes, gives each class's own
share instead. Parts are nested: the images of 1 % are among those of 10 %.
"""

import numpy as np

from shards.errors import UsageError


def balanced_subset(
    labels: np.ndarray,  # [N] int - classes
    share: float,
    seed: int,
) -> np.ndarray:
    """Places [M], ascending: share x N / K images of each class, at least one.

    What is left over after equal numbers goes to the classes in a drawn order, one each, so that M
    is share x N rounded. A class with fewer images gives all it has.
    """
    if not 0 < share <= 1:
        raise UsageError(f"the share of the labels lies in (0, 1], got {share}; try 0.1")
    classes = np.unique(labels)
    total = max(len(classes), round(share * len(labels)))
    each, left = divmod(total, len(classes))
    lucky = np.random.default_rng((seed, 1)).permutation(classes)[:left]
    chosen = []
    for label in classes.tolist():
        generator = np.random.default_rng((seed, 0, label))
        members = generator.permutation(np.flatnonzero(labels == label))
        chosen.append(members[: each + bool(np.isin(label, lucky))])
    return np.sort(np.concatenate(chosen))
