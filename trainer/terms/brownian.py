"""Brownian: every embedding takes a random step on the sphere, whatever the others do.

The Brownian diffusive loss of Moon et al. 2022, 2207.03552 (MSBReg). Its formula could not be read
(centroid.py); the form is ours: with a random direction for each image and step, which its views
share so that they are not driven apart,

    mean_{v,b} <n(z_v), xi_b>        xi uniform on the unit sphere

Its gradient is the step, of length 1 at most over the number of rows, and 0 on average: embeddings
spread as particles do, by the square root of the steps. Code by others weighs it with 0.1.
"""

import numpy as np
import torch

from augengine.devices.streams import upload
from trainer.losses.cosine import unit_rows
from trainer.nets.view_noise import Use, normals, view_uniforms
from trainer.terms.term import Seen, Term


class Brownian(Term):
    """No layers of its own."""

    needs = ("projections",)

    def forward(self, seen: Seen) -> torch.Tensor:
        """[] in [-1, 1], 0 on average."""
        z = unit_rows(seen.parts["projections"])
        directions = torch.from_numpy(self._directions(seen, z.shape[-1])).to(z.dtype)
        return (z * upload(directions, z.device)).sum(-1).mean()

    @staticmethod
    def _directions(seen: Seen, dim: int) -> np.ndarray:
        """[B, D] float64 unit rows: of each image alone, and of its epoch."""

        def draw(use: int, count: int) -> np.ndarray:
            return view_uniforms(seen.views, seen.columns[:1], seen.seed, use, count)[0]

        rows = normals(draw, Use.BROWNIAN, dim)
        return rows / np.linalg.norm(rows, axis=-1, keepdims=True)
