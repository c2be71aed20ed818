"""Is the method collapsing? Two numbers of the embeddings, and words when they go wrong.

The loop hands every step's projector outputs to `CollapseMonitor.update` and asks `check` when it
logs. A joint-embedding method can reach a perfect loss by giving every image the same vector; the
loss cannot tell, the spread of the embeddings can (SimSiam, section 4; RankMe, arXiv 2210.02885).

Legend: N embeddings of the running sample, D their width.
"""

import math
from collections import deque
from dataclasses import dataclass

import torch
from torch.nn import functional as F

LOW_STD = 0.2  # of the unit-length embeddings, times sqrt(D): 1 is a uniform sphere, 0 a point
LOW_RANK_SHARE = (
    0.05  # of min(N, D); healthy runs used 17 to 60 %, SimSiam without its stop-gradient 4 %
)
PATIENCE = 3  # bad checks in a row before a word is said: one odd batch is no collapse


@dataclass(frozen=True, slots=True)
class Health:
    """The result of one check."""

    std: float  # mean over dimensions of the spread of unit-length embeddings, times sqrt(D)
    rank: float  # effective number of dimensions in use, 1 to min(N, D)
    warning: str | None  # said once when a collapse sets in, else None


class CollapseMonitor:
    """Keeps the last `capacity` embeddings and judges them."""

    def __init__(self, capacity: int = 1024, patience: int = PATIENCE) -> None:
        self._capacity = capacity
        self._patience = patience
        self._batches: deque[torch.Tensor] = deque()
        self._bad_checks = 0
        self._warned = False

    def update(self, embeddings: torch.Tensor) -> None:
        """Take the embeddings [n, D] of a step; does not wait for the device."""
        self._batches.append(embeddings.detach()[: self._capacity])
        while sum(len(b) for b in self._batches) - len(self._batches[0]) >= self._capacity:
            self._batches.popleft()

    def check(self) -> Health:
        """Judge the running sample; needs at least one `update` before."""
        sample = torch.cat([b.float() for b in self._batches])[-self._capacity :]
        std, rank = embedding_std(sample), effective_rank(sample)
        low_rank = rank < max(2.0, LOW_RANK_SHARE * min(sample.shape))
        bad = not math.isfinite(std) or std < LOW_STD or low_rank
        self._bad_checks = self._bad_checks + 1 if bad else 0
        onset = self._bad_checks >= self._patience and not self._warned
        self._warned = self._bad_checks >= self._patience
        return Health(std, rank, describe(std, rank) if onset else None)


def embedding_std(embeddings: torch.Tensor) -> float:
    """Spread of L2-normalised [N, D] embeddings: mean over D of the std over N, times sqrt(D)."""
    unit = F.normalize(embeddings.float(), dim=1)
    return (unit.std(dim=0, correction=0).mean() * math.sqrt(embeddings.shape[1])).item()


def effective_rank(embeddings: torch.Tensor) -> float:
    """Dimensions in use: exp of the entropy of the unit-length embeddings' singular values."""
    unit = F.normalize(embeddings.double(), dim=1)
    if not bool(unit.isfinite().all()):
        return math.nan
    # Eigenvalues of the smaller Gram matrix: squares of the singular values, much cheaper to get.
    gram = unit.T @ unit if unit.shape[0] > unit.shape[1] else unit @ unit.T
    values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    share = values / values.sum().clamp(min=1e-12)
    return torch.special.entr(share).sum().exp().item()


def describe(std: float, rank: float) -> str:
    """A collapse in words: what it is, what usually causes it, what to try."""
    what = (
        "every image gets nearly the same embedding"
        if not std >= LOW_STD
        else "the embeddings use only a few of their dimensions"
    )
    return (
        f"the representation is collapsing: {what} (std {std:.2f}, healthy is near 1; effective "
        f"rank {rank:.1f}). Usual causes: a learning rate too high, a batch too small for "
        "BatchNorm, views too weak or too alike, more prototypes than samples. Try a lower "
        "optim.base_lr, a larger --batch-size, a stronger policy, fewer prototypes"
    )
