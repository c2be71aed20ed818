"""FastSiam's loss: a view predicts the mean of what is said of the other views.

SimSiam's (losses/cosine.py) has a cosine for every other view; here one mean of them is the target,
which varies less than each of them does.

Legend: B images, V views of which the first G are the global ones, D features.
"""

import torch

from trainer.losses.cosine import unit_rows


def mean_target_loss(
    predictions: torch.Tensor,  # [V, B, D] any float - global views first
    targets: torch.Tensor,  # [G, B, D] any float - of the global views
) -> torch.Tensor:
    """Mean over images and views v of -cos(p_v, mean of z_g over g != v); [] float32 in [-1, 1].

    V = G = 2: SimSiam's loss. Projections are averaged as they are, not as unit rows. Pototzky et
    al. 2022, GCPR; we know it from lightly, examples/pytorch/fastsiam.py. Local views are our
    generalisation: they predict the mean of all global ones.
    """
    num_targets = len(targets)
    targets = targets.to(torch.promote_types(targets.dtype, torch.float32))
    others = [[g for g in range(num_targets) if g != v] for v in range(len(predictions))]
    means = torch.stack([targets[own].mean(0) for own in others])
    # Elementwise products: autocast leaves them in float32.
    return -(unit_rows(predictions) * unit_rows(means)).sum(-1).mean()
