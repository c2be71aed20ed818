"""Nearest rows of a queue or bank: what NNCLR agrees with, and MSF moves towards.

Legend: M rows, N of them for every embedding, D features.
"""

import torch


@torch.no_grad()
def nearest_rows(
    z: torch.Tensor,  # [..., D] float32 - unit rows
    rows: torch.Tensor,  # [M, D] float32 - unit rows
    num: int = 1,  # N, up to M
) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows with the largest products, [..., N, D], nearest first, and these, [..., N]."""
    # In bf16 many rows of a long queue would be equally near.
    with torch.autocast(z.device.type, enabled=False):
        cosines, nearest = (z @ rows.T).topk(num, dim=-1)
    return rows[nearest], cosines
