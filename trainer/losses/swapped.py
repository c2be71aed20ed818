"""Swapped prediction: the code of one crop is predicted from the scores of every other crop.

Legend: B images, V views, A views with codes, K prototypes.
"""

from typing import NamedTuple

import torch

from trainer.checks import require
from trainer.losses.auto import Impl, use_fused
from trainer.losses.codes import Codes
from trainer.losses.kernels import swapped_op

MAX_VIEWS = 64  # of the fused form: all views of an image are one tile


class Swapped(NamedTuple):
    """The result of one batch."""

    loss: torch.Tensor  # [] float32
    entropy: torch.Tensor  # [] float32 - of the codes, mean over images; without gradient


def swapped_prediction_loss(
    scores: torch.Tensor,  # [V, B, K] any float - similarities to the prototypes
    codes: torch.Tensor,  # [A, B, K] float32 - of the first A views, without gradient
    temperature: float = 0.1,
) -> torch.Tensor:
    """Cross-entropy of codes and predictions, [] float32; ln K when all scores are equal.

    1/A sum_a 1/(V-1) sum_{v != a} mean_b [ -sum_k codes[a, b, k] log softmax(scores[v, b] / T)_k ]

    Each log-softmax is taken once, against the sum of the codes it meets. Caron et al. 2020,
    2006.09882, eq. 2 and multi-crop; main_swav.py `train`.
    """
    num_codes, batch_size, _ = codes.shape
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    log_p = torch.log_softmax(scores / temperature, dim=-1)
    to_all = (codes.sum(0) * log_p).sum()
    to_itself = (codes * log_p[:num_codes]).sum()
    return (to_itself - to_all) / (num_codes * (len(scores) - 1) * batch_size)


def swapped_prediction(
    scores: torch.Tensor,  # [V, B, K] any float - similarities to the prototypes
    codes: Codes,  # of the first A views
    temperature: float = 0.1,
    impl: Impl = "auto",
) -> Swapped:
    """The loss above from codes that need not be written down, and their entropy.

    The fused form keeps V x B numbers for backward, where the plain one keeps the log-softmaxes and
    the codes: with V = 8, A = 2 and half-precision scores about five times the scores' memory.
    """
    num_views, batch_size, _ = scores.shape
    num_codes = len(codes.samples)
    if not use_fused("swapped_prediction", impl, scores, is_possible=num_views <= MAX_VIEWS):
        q = codes.matrix()
        entropy = torch.special.entr(q).sum(-1).mean()
        return Swapped(swapped_prediction_loss(scores, q, temperature), entropy)
    rule = f"a fused swapped prediction takes at most {MAX_VIEWS} views"
    require(num_views <= MAX_VIEWS, rule, num_views, "use impl='torch'")
    weight = 1 / (num_codes * (num_views - 1) * batch_size)
    inputs = (scores, codes.logits, codes.prototypes, codes.samples)
    loss, entropy, _ = swapped_op.swapped_prediction(*inputs, codes.scale, temperature, weight)
    return Swapped(loss, entropy.detach())
