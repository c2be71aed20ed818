"""A queue of past embeddings: the last rows of all ranks, newest first, the same on every rank.

Negatives of MoCo, of SimCLR v2's memory, neighbours of NNCLR, further rows for SwAV's codes. Rows
of all ranks are gathered, so a checkpoint of one rank is the whole queue, for any number of ranks.
A push makes a new tensor: the graph of a loss against the former one stays whole.

Legend: B images of this rank's batch, R rows so far, D features.
"""

import torch
from torch import nn

from trainer.distributed import gather_rows
from trainer.nets.shapes import random_unit_rows


class EmbeddingQueue(nn.Module):
    """First in, first out; it grows from nothing, or starts full of random unit rows."""

    rows: torch.Tensor  # [..., R, D] float32 - R up to `length`

    def __init__(self, length: int, dim: int, *, random: bool = False) -> None:
        super().__init__()
        self.length = length
        # Its shape says how full it is: no counter that the host would have to read back.
        rows = random_unit_rows(length, dim) if random else torch.zeros(0, dim)
        self.register_buffer("rows", rows)
        self.register_load_state_dict_pre_hook(_fit_rows)

    @property
    def is_full(self) -> bool:
        """Whether it holds `length` rows; never with a length of 0."""
        return 0 < self.length == self.rows.shape[-2]

    @torch.no_grad()
    def push(
        self,
        new: torch.Tensor,  # [..., B, D] any float - of this rank; leading sizes never change
    ) -> None:
        """Put the rows of all ranks in front, in the order of ranks, and drop the oldest."""
        new = gather_rows(new.to(self.rows.dtype).transpose(0, -2)).transpose(0, -2)
        new = new[..., : self.length, :]
        kept = self.rows[..., : self.length - new.shape[-2], :]
        # Copies, both: a checkpoint stores a slice with all the rows it was cut from.
        self.rows = torch.cat([new, kept], dim=-2) if kept.numel() else new.contiguous().clone()


def _fit_rows(
    queue: nn.Module, state_dict: dict[str, torch.Tensor], prefix: str, *_: object
) -> None:
    """Give the rows the saved ones' shape before a state dict is copied in."""
    saved = state_dict.get(f"{prefix}rows")
    if saved is not None and isinstance(queue.rows, torch.Tensor):
        queue.rows = queue.rows.new_empty(saved.shape)
