"""Singular: the embeddings of a batch reach as far in one direction as in any other.

The singular value loss of Moon et al. 2022, 2207.03552 (MSBReg), which decorrelates dimensions. Its
formula could not be read (centroid.py); the form is ours: how much a view's singular values lack of
the most that they can sum up to, which they do when all are equal,

    1 - |Z|_* / sqrt(N min(N, D))        Z: unit rows [N, D], whose squares sum up to N

The mean over views; N are the images of all ranks. A mean that all rows share is one large value,
so rows are not centred.
"""

import math

import torch

from trainer.distributed import gather_views
from trainer.losses.cosine import unit_rows
from trainer.losses.nuclear import nuclear_norm
from trainer.terms.term import Seen, Term


class Singular(Term):
    """No layers of its own."""

    needs = ("projections",)
    batch_loss = "spectrum"

    def forward(self, seen: Seen) -> torch.Tensor:
        """[] in [0, 1): 0 where all singular values are equal, near 1 where one is left."""
        z = gather_views(unit_rows(seen.parts["projections"]))  # [V, N, D]
        number, dim = z.shape[1:]
        return 1 - nuclear_norm(z).mean() / math.sqrt(number * min(number, dim))
