"""The losses' Triton kernels in Triton's interpreter, as JSON: run with TRITON_INTERPRET=1.

A process of its own, since Triton looks at that variable when a kernel is defined. The operators'
CUDA kernels take the place of the CPU's, so that everything above them is tested as well.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from contrast_cases import BATCH, HSIC, NT_XENT, QUEUE
from loss_cases import BARLOW, COSINE, DINO, SWAPPED, VICREG
from loss_checks import Case, assert_gradient, assert_operator, assert_same_bits_again, errors, rows

from trainer.losses.kernels import (
    cosine_gpu,
    cosine_op,
    gram,
    gram_cpu,
    gram_gpu,
    gram_op,
    hsic_gpu,
    hsic_tiles,
    score_tile,
    sinkhorn_gpu,
    sinkhorn_op,
    swapped_gpu,
    swapped_op,
    tiles,
    tiles_gpu,
    views_op,
)

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def cosine() -> dict[str, Any]:
    """The template of the others."""
    cosine_op.cosine_sum.register_kernel("cpu", cosine_gpu.forward)
    cosine_op.cosine_sum_backward.register_kernel("cpu", cosine_gpu.backward)
    p, z = rows(3, 2, 9).requires_grad_(), rows(2, 2, 9, seed=1)
    assert_operator(cosine_op.cosine_sum, p, z, 1e-12)
    return check(COSINE, "2+3 views")


def swapped() -> dict[str, Any]:
    """SwAV's codes and loss, in tiles so small that every loop has several turns."""
    _use_triton_for_swapped()
    return check(SWAPPED, "2+3 views")


def dino() -> dict[str, Any]:
    """The same with a teacher's codes."""
    _use_triton_for_swapped()
    return check(DINO, "2+3 views")


def _use_triton_for_swapped() -> None:
    sinkhorn_op.sample_potentials.register_kernel("cpu", sinkhorn_gpu.sample_potentials)
    sinkhorn_op.sinkhorn_step.register_kernel("cpu", sinkhorn_gpu.sinkhorn_step)
    swapped_op.swapped_prediction.register_kernel("cpu", swapped_gpu.forward)
    swapped_op.swapped_prediction_backward.register_kernel("cpu", swapped_gpu.backward)
    sinkhorn_gpu.TILE = swapped_gpu.TILE = 64


def barlow() -> dict[str, Any]:
    """Products of rows and of columns, in blocks and parts so small that there are several."""
    _use_triton_for_moments()
    assert_operator(gram_op.column_moments, rows(3, 4, 9).requires_grad_(), 2, 1e-5)
    return check(BARLOW, "2+3 views, few images", "2+3 views, many images", rounds=torch.bfloat16)


def vicreg() -> dict[str, Any]:
    """The same operator, without eps."""
    _use_triton_for_moments()
    assert_operator(gram_op.column_moments, rows(3, 4, 9).requires_grad_(), 2, None)
    return check(VICREG, "2+3 views, few images", "2+3 views, many images", rounds=torch.bfloat16)


def _use_triton_for_moments() -> None:
    forward, backward = (partial(f, on=gram_gpu) for f in (gram.forward, gram.backward))
    gram_op.column_moments.register_kernel("cpu", forward)
    gram_op.column_moments_backward.register_kernel("cpu", backward)
    gram_gpu.multiply = _multiply
    gram_gpu.BLOCK_ELEMENTS, gram_gpu.TILE, gram_gpu.PART = 1, 512, 32
    gram_gpu.COLUMNS, gram.LEAST = 32, 64


def _multiply(out: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *, add: bool) -> None:
    """As cuBLAS, whose mixed types a CPU's torch has not."""
    gram_cpu.multiply(out, a.to(out.dtype), b.to(out.dtype), add=add)


def nt_xent() -> dict[str, Any]:
    """Two sides of a tile, in tiles and parts so small that every loop has several turns."""
    _use_triton_for_tiles()
    z = rows(3, 4, 9).requires_grad_()
    assert_operator(views_op.view_scores, z, z.detach(), 2, 0, 0.1, 1e-12)
    return check(NT_XENT, "2+3 views")


def queue() -> dict[str, Any]:
    """Logsumexp and mean, joined from many parts."""
    _use_triton_for_tiles()
    return check(QUEUE, "both ways")


def batch() -> dict[str, Any]:
    """Either side of a tile alone."""
    _use_triton_for_tiles()
    return check(BATCH, "five keys")


def hsic() -> dict[str, Any]:
    """Sums of a kernel."""
    _use_triton_for_tiles()
    hsic_tiles.add_up, hsic_tiles.pull = hsic_gpu.add_up, hsic_gpu.pull
    return check(HSIC, "four views")


def _use_triton_for_tiles() -> None:
    """The operators are those of the CPU, with the kernels in place of tiles.py."""
    tiles.attend, tiles.pull = tiles_gpu.attend, tiles_gpu.pull
    score_tile.TILES = dict.fromkeys(score_tile.TILES, score_tile.Tile(16, 16, 16, 1))
    score_tile.PER_PART, score_tile.PROGRAMS = 2, 8
    # A product of bfloat16 is wrong in the interpreter.
    score_tile.DOTS[torch.bfloat16] = score_tile.DOTS[torch.float16]


def check(cases: dict[str, Case], *some: str, rounds: torch.dtype | None = None) -> dict[str, Any]:
    """Errors of all cases; of some cases in all types, and also their gradients and their bits.

    A loss `rounds` inputs of one type to it again, once they are standardised.
    """
    for one in some:
        assert_gradient(cases[one])
        assert_same_bits_again(cases[one], torch.float32)
    pairs = [(name, t) for name in cases for t in (DTYPES if name in some else DTYPES[1:3])]
    return {f"{name}, {t}": errors(cases[name], t, rounds=t == rounds) for name, t in pairs}


CHECKS: tuple[Callable[[], dict[str, Any]], ...] = (
    cosine,
    swapped,
    dino,
    barlow,
    vicreg,
    nt_xent,
    queue,
    batch,
    hsic,
)


def main(name: str) -> None:
    """Run the checks of one loss."""
    np.seterr(all="raise", under="ignore")
    json.dump(next(check for check in CHECKS if check.__name__ == name)(), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
