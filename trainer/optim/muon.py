"""Muon: the momentum of a matrix, made orthogonal, is its step; vectors take SGD's.

All singular directions of a step are then about equally long, however few of them the gradient
favours. `orthogonal` and `muon_update` are the whole rule on plain tensors; `Muon` only holds the
momentum. A convolution's kernel is the matrix of its outputs by all the weights that lead to one.
Jordan et al. 2024, kellerjordan.github.io/posts/muon; muon.py in KellerJordan/Muon (00ba60d), and
torch.optim.Muon (torch 2.9 and later), which takes matrices alone.

What differs: kernels are scaled by the sides of their matrix (the authors' code takes the sides of
the filter, hence never scales them), all matrices take part (there the first and last layers have
AdamW's steps), and biases, norms and tokens take SGD's with the same momentum.

Legend: R rows, C columns.
"""

from typing import Any

import torch

from trainer.optim.uncompiled import WithMomentum

# Of x -> a x + b x^3 + c x^5, which takes singular values from (0, 1] to between 0.68 and 1.14 in
# five steps, but for the smallest ones: chosen for its slope at 0, not to converge.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_STEPS = 5
_EPS = 1e-7


def orthogonal(
    matrix: torch.Tensor,  # [R, C] float32
) -> torch.Tensor:
    """About U V^T of the matrix's U S V^T, by a Newton-Schulz iteration; [R, C] float32.

    X = M / |M|;  five times: A = X X^T;  X <- a X + (b A + c A A) X

    On CUDA in bf16, as the authors do; on a CPU, which may be slower in it, in float32.
    """
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    # The shorter side is first: A is as small as it can be.
    x = x / (x.norm() + _EPS)
    x = x.bfloat16() if x.is_cuda else x
    for _ in range(_STEPS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    x = x.to(matrix.dtype)
    return x.T if matrix.shape[0] > matrix.shape[1] else x


@torch.no_grad()
def muon_update(
    param: torch.Tensor,  # [R, ...] float32 - changed in place
    grad: torch.Tensor,  # [R, ...] float32 - left as it is
    buffer: torch.Tensor,  # [R, ...] float32 - momentum, zeros at first; changed in place
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
) -> None:
    """One step of a matrix or kernel.

    m <- mu m + (1 - mu) g;   o = orthogonal((1 - mu) g + mu m)    (Nesterov's)
    p <- (1 - lr wd) p - lr sqrt(max(1, R / C)) o
    """
    buffer.lerp_(grad, 1 - momentum)
    ahead = grad.lerp(buffer, momentum).flatten(1)
    rows, columns = ahead.shape
    step = orthogonal(ahead).view(param.shape)
    param.mul_(1 - lr * weight_decay)
    param.add_(step, alpha=-lr * max(1.0, rows / columns) ** 0.5)


def matrices_update(
    params: list[torch.Tensor],
    grads: list[torch.Tensor],
    buffers: list[torch.Tensor],
    **rates: float,  # lr, momentum and weight_decay
) -> None:
    """One step: Muon's rule for matrices and kernels, SGD's for the rest."""
    for param, grad, buffer in zip(params, grads, buffers, strict=True):
        # One row, as of a class token, is a vector that happens to have more axes.
        is_matrix = param.ndim > 1 and len(param) > 1
        (muon_update if is_matrix else _sgd_update)(param, grad, buffer, **rates)


class Muon(WithMomentum):
    """Holds the momentum of `muon_update` and of SGD; groups may set lr and weight_decay."""

    update = staticmethod(matrices_update)
    rates = ("lr", "momentum", "weight_decay")

    def __init__(
        self,
        params: Any,
        lr: float,
        *,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})


def _sgd_update(
    param: torch.Tensor,
    grad: torch.Tensor,
    buffer: torch.Tensor,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
) -> None:
    """M <- mu m + g + wd p;  p <- p - lr m, of biases and norms."""
    buffer.mul_(momentum).add_(grad.add(param, alpha=weight_decay))
    param.add_(buffer, alpha=-lr)
