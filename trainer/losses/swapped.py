"""Swapped prediction: the code of one crop is predicted from the scores of every other crop.

Legend: B images, V views, A views with codes, K prototypes.
"""

import torch


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
