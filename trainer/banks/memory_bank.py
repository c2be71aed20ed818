"""A memory bank: a row for every image, found by the sample's id, and the same on every rank.

What the network last said of each image: negatives of Instance Discrimination, data of DeepCluster
v2's k-means. Rows of all ranks are gathered, so a checkpoint of one rank is the whole bank, for any
number of ranks. It takes N x D x 4 bytes on every device: 656 MB for ImageNet at 128 dimensions.

Legend: N images, B images of this rank's batch, D features.
"""

import torch
from torch import nn

from trainer.distributed import gather_rows, rank, world_size
from trainer.losses.cosine import unit_rows


class MemoryBank(nn.Module):
    """Unit rows by sample id; `allocate` once, then `update` in every step."""

    rows: torch.Tensor  # [N, ..., D] float32 - of length 1, random at first

    def __init__(self, *row_shape: int) -> None:
        super().__init__()
        self.seed = 0  # of everything drawn from the bank
        self.register_buffer("rows", torch.empty(0, *row_shape))

    def allocate(self, num_images: int) -> None:
        """Random rows, and a seed; of torch's present random state, so equal on every rank."""
        self.rows = unit_rows(torch.randn(num_images, *self.rows.shape[1:]))
        self.seed = int(torch.randint(2**62, ()))

    @torch.no_grad()
    def update(
        self,
        ids: torch.Tensor,  # [B] int64
        new: torch.Tensor,  # [B, ..., D] any float
        momentum: float = 0.0,  # 0 forgets the former row
    ) -> None:
        """Set rows[id] <- n(momentum rows[id] + (1 - momentum) new) for the images of all ranks.

        An id that comes twice (batches cross epochs, a bad sample has a substitute) moves once,
        towards its last row in the order of ranks.
        """
        ids, new = gather_rows(ids), gather_rows(new.to(self.rows.dtype))
        mixed = torch.lerp(new[last_of_each(ids)], self.rows[ids], momentum)
        # Entries of one id write the same values: whichever comes last, the result is the same.
        self.rows[ids] = unit_rows(mixed)

    def draw(self, num_rows: int, num_draws: int, step: int) -> torch.Tensor:
        """[num_rows, num_draws] int64: this rank's share of ids drawn with replacement.

        Every rank draws for the whole batch: an image gets the same ids on any number of ranks.
        """
        generator = torch.Generator(self.rows.device).manual_seed(self.seed + step)
        shape = (world_size() * num_rows, num_draws)
        device = self.rows.device
        drawn = torch.randint(len(self.rows), shape, generator=generator, device=device)
        return drawn[rank() * num_rows :][:num_rows]

    def get_extra_state(self) -> int:
        """The seed, which goes into the checkpoint beside the rows."""
        return self.seed

    def set_extra_state(self, state: int) -> None:
        """The seed of a checkpoint."""
        self.seed = state


def last_of_each(
    ids: torch.Tensor,  # [B] int64
) -> torch.Tensor:
    """[B] int64: for every entry the index of the last one with the same id."""
    # Sorting keeps the shape known; unique() would make the host wait for the device.
    sorted_ids, order = ids.sort(stable=True)
    return order[torch.searchsorted(sorted_ids, ids, right=True) - 1]
