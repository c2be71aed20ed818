"""DINO's loss: the student says of every crop what a centred, sharpened teacher says of another.

Centring alone leads to equal probabilities, sharpening alone to one prototype; both together keep
the teacher between. Caron et al. 2021, 2104.14294; facebookresearch/dino main_dino.py `DINOLoss`.

Legend: B images, V views of which the first G are the global ones, K prototypes.
"""

import torch

from trainer.distributed import all_reduce_
from trainer.losses.auto import Impl, use_fused
from trainer.losses.codes import Codes
from trainer.losses.kernels.sinkhorn_op import sample_potentials
from trainer.losses.swapped import swapped_prediction_loss


@torch.no_grad()
def teacher_probabilities(
    logits: torch.Tensor,  # [G, B, K] any float - the teacher's scores of the global views
    center: torch.Tensor,  # [K] float32
    temperature: float,  # smaller: sharper
) -> torch.Tensor:
    """softmax((logits - center) / temperature) over K, [G, B, K] float32, without gradient."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return torch.softmax((logits - center) / temperature, dim=-1)


@torch.no_grad()
def teacher_codes(
    logits: torch.Tensor,  # [G, B, K] any float - the teacher's scores of the global views
    center: torch.Tensor,  # [K] float32
    temperature: float,  # smaller: sharper
    impl: Impl = "auto",
) -> Codes:
    """The same probabilities, as codes that need not be written down."""
    logits, scale = logits.detach(), 1 / temperature
    dtype = torch.promote_types(logits.dtype, torch.float32)
    f = (center.to(dtype) * -scale).expand(len(logits), -1)
    if use_fused("sinkhorn", impl, logits):
        return Codes(logits, scale, f, sample_potentials(logits, f, scale))
    g = -torch.logsumexp(logits.to(dtype) * scale + f[:, None], dim=-1)
    return Codes(logits, scale, f, g)


def dino_loss(
    student: torch.Tensor,  # [V, B, K] any float - global views first
    targets: torch.Tensor,  # [G, B, K] float32 - teacher_probabilities
    temperature: float = 0.1,
) -> torch.Tensor:
    """Mean cross-entropy over images and pairs (g, v), v != g; [] float32; ln K for equal scores.

    1/(G (V-1)) sum_g sum_{v != g} mean_b [ -sum_k targets[g, b] log softmax(student[v, b] / T) ]

    That is SwAV's swapped prediction with the teacher's probabilities for codes, and so is
    `swapped_prediction` of `teacher_codes`, in less memory.
    """
    return swapped_prediction_loss(student, targets, temperature)


@torch.no_grad()
def updated_center(
    center: torch.Tensor,  # [K] float32
    logits: torch.Tensor,  # [G, B, K] any float - the teacher's scores, this rank's rows
    momentum: float = 0.9,
) -> torch.Tensor:
    """Momentum center + (1 - momentum) mean(logits over views, images and ranks), [K] float32."""
    mean = all_reduce_(logits.to(center.dtype).mean(dim=(0, 1)), "mean")
    return torch.lerp(mean, center, momentum)
