"""Shared statistics by torch's CUDA kernels are its batch norm's, view by view; needs a GPU."""

import pytest
import torch
from torch.nn import functional as F

from trainer.nets.rank_norm import rank_norm

CHANNELS = 6


@pytest.mark.gpu
@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("shape", [(CHANNELS,), (CHANNELS, 5, 4)], ids=["rows", "images"])
def test_alone_it_is_torchs_batch_norm(
    shape: tuple[int, ...], dtype: torch.dtype, views: int
) -> None:
    """Values, gradients and running statistics of one process, rows and channels_last images."""
    generator = torch.Generator("cuda").manual_seed(0)

    def draw(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=generator, device="cuda")

    x = (3 * draw(views * 8, *shape) + 1).to(dtype)
    wanted = draw(*x.shape).to(dtype)
    if x.ndim == 4:
        x, wanted = (y.contiguous(memory_format=torch.channels_last) for y in (x, wanted))
    weight, bias = (1 + draw(CHANNELS)).requires_grad_(), draw(CHANNELS).requires_grad_()
    x.requires_grad_()
    results = []
    for by_kernels in (True, False):
        mean, var = torch.zeros(CHANNELS, device="cuda"), torch.ones(CHANNELS, device="cuda")
        if by_kernels:
            options = {"momentum": 0.1, "eps": 1e-5, "num_views": views}
            out = rank_norm(x, weight, bias, mean, var, **options)
        else:
            parts = x.chunk(views)
            out = torch.cat(
                [F.batch_norm(p, mean, var, weight, bias, True, 0.1, 1e-5) for p in parts]
            )
        slopes = torch.autograd.grad(out, (x, weight, bias), wanted)
        results.append([out.detach(), *slopes, mean, var])
    wide = dtype is torch.float32
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if wide else {"rtol": 2e-2, "atol": 6e-2}
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, **tolerance)
