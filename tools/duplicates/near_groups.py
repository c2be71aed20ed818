"""Groups of near-duplicates: each image is compared with all before it, and joins the most alike.

Features of one encoder point into much the same direction, so their mean is taken off before the
cosine. What is in memory at once is a block of products and two numbers an image.

Legend: N images, D feature width, R rows of a block.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

BLOCK_ROWS = 1024
_CHUNK_ROWS = 16_384  # of the other side


@dataclass(frozen=True, slots=True)
class Nearest:
    """For every image the most alike of those before it."""

    rows: np.ndarray  # [N] int64 - its row; -1 for the first image
    similarities: np.ndarray  # [N] float32 - cosine; -1 for the first image

    def groups(self, threshold: float) -> list[np.ndarray]:
        """Rows of the images of each group, ascending; the largest groups first.

        An image joins the group of the most alike image before it, so the first of a group is near
        to all others, or to one that is.
        """
        is_alike = self.similarities >= threshold
        roots = np.arange(len(self.rows))
        for row in np.flatnonzero(is_alike).tolist():
            roots[row] = roots[self.rows[row]]  # of an earlier row, which is final
        members: dict[int, list[int]] = {}
        for row in np.flatnonzero(is_alike).tolist():
            root = int(roots[row])
            members.setdefault(root, [root]).append(row)
        found = [np.array(group) for group in members.values()]
        return sorted(found, key=lambda group: (-len(group), int(group[0])))

    def count(self, threshold: float) -> int:
        """Images that are like one before them: what could be left out."""
        return int((self.similarities >= threshold).sum())


def find_nearest(
    features: np.ndarray,  # [N, D] float
    device: torch.device,
    on_share: Callable[[float], None] = lambda share: None,
) -> Nearest:
    """Compare every image with all before it; says the share of the work that is done."""
    number = len(features)
    mean = _mean(features).to(device)
    rows = np.full(number, -1, np.int64)
    similarities = np.full(number, -1.0, np.float32)
    for first in range(0, number, BLOCK_ROWS):
        block = _directions(features[first : first + BLOCK_ROWS], mean)  # [R, D]
        best = torch.full((len(block),), -1.0, device=device)
        place = torch.full((len(block),), -1, dtype=torch.int64, device=device)
        end = first + len(block)
        for start in range(0, end, _CHUNK_ROWS):
            stop = min(end, start + _CHUNK_ROWS)
            products = block @ _directions(features[start:stop], mean).T
            if stop > first:  # an image is not before itself
                own = torch.arange(first, end, device=device)[:, None]
                other = torch.arange(start, stop, device=device)[None]
                products.masked_fill_(other >= own, -1.0)
            near, at = products.max(dim=1)
            is_nearer = near > best
            best = torch.where(is_nearer, near, best)
            place = torch.where(is_nearer, at + start, place)
        rows[first:end], similarities[first:end] = place.cpu().numpy(), best.cpu().numpy()
        on_share((end / number) ** 2)
    return Nearest(rows, similarities)


def _mean(features: np.ndarray) -> torch.Tensor:
    """[D] float32, summed in float64 block by block."""
    total = np.zeros(features.shape[1])
    for first in range(0, len(features), _CHUNK_ROWS):
        total += features[first : first + _CHUNK_ROWS].sum(axis=0, dtype=np.float64)
    return torch.from_numpy(total / max(1, len(features))).float()


def _directions(rows: np.ndarray, mean: torch.Tensor) -> torch.Tensor:
    """[R, D] float32 of length 1; what is no more than rounding of the mean has no direction."""
    centred = torch.from_numpy(np.array(rows)).to(mean.device).float() - mean
    length = centred.norm(dim=1, keepdim=True)
    is_told = length > 1e-3 * mean.norm()
    return torch.where(is_told, centred / length.clamp_min(1e-12), 0.0)
