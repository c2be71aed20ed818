"""Cosine regression between views: BYOL's and SimSiam's loss over any number of views.

Both papers regress the projection of one global view from the other one. With further views every
online view v predicts every global target g != v, and the mean over these ordered pairs takes the
place of the mean over the two directions; with two views both losses are exactly the papers'.

Legend: B images, V online views of which the first G are the global ones, D features.
"""

import torch

from trainer.checks import require
from trainer.losses.auto import Impl, use_fused
from trainer.losses.kernels.cosine_op import MAX_DIM, cosine_sum

EPS = 1e-12  # a row as short as this counts as 0


def unit_rows(
    x: torch.Tensor,  # [..., D] any float
) -> torch.Tensor:
    """[..., D] rows of length 1, in float32 (float64 stays); a row shorter than EPS becomes 0.

    The gradient of such a row is 0 too, where F.normalize would scale it by 1 / EPS.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    norms = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    # The clamp keeps the branch that `where` drops finite: 0 * inf would be NaN in backward. NaN is
    # neither above nor below: it must get through.
    return torch.where(norms <= EPS, 0.0, x / norms.clamp_min(EPS))


def pair_cosine(
    predictions: torch.Tensor,  # [V, B, D] any float - global views first
    targets: torch.Tensor,  # [G, B, D] any float - of the global views
    impl: Impl = "auto",
) -> torch.Tensor:
    """Mean cosine over images and ordered pairs (v, g), g != v; [] float32 in [-1, 1].

    mean(cos(predictions[v, b], targets[g, b]) for b, v, g if v != g)

    The fused form gives targets no gradient and takes rows of up to 8,192 elements.
    """
    num_views, batch_size, dim = predictions.shape
    is_possible = dim <= MAX_DIM and not targets.requires_grad
    if use_fused("pair_cosine", impl, predictions, is_possible=is_possible):
        rule = "a fused cosine loss gives targets no gradient and takes up to 8,192 features"
        require(is_possible, rule, tuple(targets.shape), "detach the targets or use impl='torch'")
        total = cosine_sum(predictions, targets, EPS)
    else:
        total = _cosine_sum(predictions, targets)
    return total / (batch_size * len(targets) * (num_views - 1))


def _cosine_sum(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The sum over g is taken before the product, so that no [V, G, B, D] tensor is made."""
    # Elementwise products, not a matmul: autocast would take that to bf16.
    p, z = unit_rows(predictions), unit_rows(targets)
    to_all = (p * z.sum(0)).sum()
    to_itself = (p[: len(targets)] * z).sum()
    return to_all - to_itself


def byol_loss(
    predictions: torch.Tensor,  # [V, B, D] any float - global views first
    targets: torch.Tensor,  # [G, B, D] any float - of the global views, without gradient
    impl: Impl = "auto",
) -> torch.Tensor:
    """Twice the mean over pairs of |n(p_v) - n(z_g)|^2 = 2 - 2 cos; [] float32 in [0, 8].

    V = G = 2: mean_b [ |n(p_1) - n(z_2)|^2 + |n(p_2) - n(z_1)|^2 ], a sum of two directions.
    Grill et al. 2020, 2006.07733, eq. 2 and 3; byol_experiment.py, helpers.regression_loss.
    """
    return 4 - 4 * pair_cosine(predictions, targets, impl)


def simsiam_loss(
    predictions: torch.Tensor,  # [V, B, D] any float - global views first
    targets: torch.Tensor,  # [G, B, D] any float - of the global views, without gradient
    impl: Impl = "auto",
) -> torch.Tensor:
    """Mean over pairs of -cos(p_v, z_g); [] float32 in [-1, 1].

    V = G = 2: -(mean_b cos(p_1, z_2) + mean_b cos(p_2, z_1)) / 2, hence byol = 4 + 4 simsiam.
    Chen and He 2020, 2011.10566, eq. 2; facebookresearch/simsiam main_simsiam.py.
    """
    return -pair_cosine(predictions, targets, impl)
