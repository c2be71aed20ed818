"""Distillation: a student gives every class the probability that a teacher gives it.

Legend: N rows, K classes.
"""

import torch
from torch.nn import functional as F


def distillation_loss(
    student: torch.Tensor,  # [N, K] any float - scores
    teacher: torch.Tensor,  # [N, K] any float - scores, without gradient
    temperature: float = 1.0,
) -> torch.Tensor:
    """Mean over rows of -sum_k P_T(k) log P_S(k), P = softmax(scores / T); [] float32.

    Its least value is the teacher's entropy; ln K when the student knows nothing. Chen et al. 2020,
    2006.10029, eq. 2. The released notebook multiplies by T^2, which this does not.
    """
    student = student.to(torch.promote_types(student.dtype, torch.float32))
    target = teacher.to(student.dtype).div(temperature).softmax(-1)
    return -(target * (student / temperature).log_softmax(-1)).sum(-1).mean()


def labelled_loss(
    student: torch.Tensor,  # [N, K] any float - scores
    labels: torch.Tensor,  # [N] int64 - classes, negative where there is none
) -> torch.Tensor:
    """Sum over labelled rows of -log P_S(label), over all N rows; [] float32, eq. 3.

    Over all rows, so that it stands to the distillation of all rows as in the paper's sums, and the
    mean over ranks is that of the whole batch however its labels are spread.
    """
    student = student.to(torch.promote_types(student.dtype, torch.float32))
    labels = torch.where(labels < 0, -1, labels)
    return F.cross_entropy(student, labels, ignore_index=-1, reduction="sum") / len(labels)
