"""Codes that are never written down: what SwAV's Sinkhorn and DINO's teacher say of an image.

Both are exponentials of scores and two potentials, so a loss can make them again wherever it meets
the scores, instead of keeping B x K of them in float32.

Legend: A views with codes, B images, K prototypes.
"""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Codes:
    """q[a, b, k] = exp(scale logits[a, b, k] + prototypes[a, k] + samples[a, b]); rows sum to 1."""

    logits: torch.Tensor  # [A, B, K] any float - without gradient
    scale: float  # 1 / temperature
    prototypes: torch.Tensor  # [A, K] float32 - potential of each
    samples: torch.Tensor  # [A, B] float32 - potential of each

    def matrix(self) -> torch.Tensor:
        """[A, B, K] float32: q."""
        s = self.logits.to(self.samples.dtype) * self.scale
        return (s + self.prototypes[:, None] + self.samples[..., None]).exp()
