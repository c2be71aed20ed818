"""Cross-entropy with the class of an image, for all its views: an instance, a cluster.

Exemplar-CNN and the exact form of Instance Discrimination take the image itself for a class,
DeepCluster v2 its cluster, one a head.

Legend: V views, B images, K classes.
"""

import torch
from torch.nn import functional as F


def class_loss(
    scores: torch.Tensor,  # [V, B, ..., K] any float - the rest: heads
    classes: torch.Tensor,  # [B, ...] int64 - the same for all views of an image
    temperature: float = 1.0,
) -> torch.Tensor:
    """Mean over views, images and heads of -log softmax(scores / T)[class], [] float32.

    ln K when all scores are equal.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32)) / temperature
    of_views = classes.expand(scores.shape[:-1])
    return F.cross_entropy(scores.flatten(0, -2), of_views.flatten())
