"""Noise-contrastive estimation: is this row of the bank the image, or noise?

An image among N is a softmax over N rows; a few rows drawn at random stand for it. NCE asks about
each row by itself, against a constant Z in place of the sum over N; InfoNCE asks which of the few.
Everything in the log domain and float32: exp(1 / 0.07) is beyond float16.

Legend: V views, B images, M negatives an image, N images of the data set, D features.
"""

import math

import torch
from torch.nn import functional as F

from trainer.distributed import all_reduce_


def bank_scores(
    v: torch.Tensor,  # [V, B, D] float32 - unit rows
    rows: torch.Tensor,  # [B, 1 + M, D] float32 - of each image, or [N, D] of all
    temperature: float,
) -> torch.Tensor:
    """Scores <v, row> / T, [V, B, 1 + M] or [V, B, N]."""
    # Under autocast a product would be bf16: at T = 0.07 a score is wrong by up to 0.04.
    with torch.autocast(v.device.type, enabled=False):
        products = v @ rows.T if rows.ndim == 2 else torch.einsum("vbd,bmd->vbm", v, rows)
    return products / temperature


def nce_loss(
    scores: torch.Tensor,  # [..., 1 + M] float32 - of the image's own row, then of noise
    log_z: torch.Tensor,  # [] float32 - of the constant Z
    num_images: int,
) -> torch.Tensor:
    """Mean over rows of the sum of M + 1 binary cross-entropies, [] float32.

    P(i) = exp(s[i]) / Z;    h(i) = P(i) / (P(i) + M / N)
    -log h(0) - sum over j = 1 .. M of log(1 - h(j))

    ln(1 + M) + M ln(1 + 1 / M) when all scores are equal. Wu et al. 2018, 1805.01978, eq. 4 to 6;
    lemniscate.pytorch, lib/NCECriterion.py, without the 1e-7 that guards its divisions.
    """
    num_negatives = scores.shape[-1] - 1
    # h = sigmoid(log P - log(M / N)), so that nothing is divided and nothing overflows.
    x = scores - log_z - math.log(num_negatives / num_images)
    return (F.softplus(-x[..., 0]) + F.softplus(x[..., 1:]).sum(-1)).mean()


def info_nce_loss(
    scores: torch.Tensor,  # [..., 1 + M] float32 - of the image's own row, then of noise
) -> torch.Tensor:
    """Mean over rows of -log softmax(scores)[0], [] float32; ln(1 + M) when all are equal.

    Van den Oord et al. 2018, 1807.03748; with a memory bank: He et al. 2020, 1911.05722, table 1.
    """
    return (scores.logsumexp(-1) - scores[..., 0]).mean()


@torch.no_grad()
def estimate_log_z(
    scores: torch.Tensor,  # [...] float32 - of the first batch, the images' own rows among them
    num_images: int,
) -> torch.Tensor:
    """Log of Z = N mean(exp(scores)), the mean over the batch of all ranks; [] float32.

    lemniscate.pytorch, lib/NCEAverage.py.
    """
    peak = all_reduce_(scores.amax(), "max")
    mean = all_reduce_((scores - peak).exp().mean(), "mean")
    return math.log(num_images) + peak + mean.log()
