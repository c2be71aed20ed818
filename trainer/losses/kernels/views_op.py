"""Scores between all views of a batch as an operator: sums over other images, and the own image's.

    s[v, b, w, c] = <u[v, b], u[w, c]> / T          u: unit rows of z
    negatives[v, w, b] = logsumexp over c != b of s[v, b, w, c]     w a global view, or v itself
    positives[v, g, b] = s[v, b, g, b]                              g a global view

Scores are symmetric, so that backward makes each tile once more for both of its sides:

    d u[v, b] = 1/T sum_{w, c} (H[v, b, w, c] + H[w, c, v, b]) u[w, c]
    H[v, b, w, c] = d negatives[v, w, b] exp(s[v, b, w, c] - negatives[v, w, b])

A rank has its own rows to ask and those of all ranks to answer. Its backward gathers two numbers a
row and pair of views, in place of summing gradients of rows over the ranks. That the own image is
left out of the sum keeps a positive's p - 1 from cancelling: the two meet in losses/nt_xent.py.
"""

from types import ModuleType
from typing import Any

import torch

from trainer.distributed import gather_last
from trainer.losses.kernels import tiles
from trainer.losses.kernels.chunks import accumulator, chunks, refuse_second
from trainer.losses.kernels.rows import through_unit, unit


@torch.library.custom_op("augengine::view_scores", mutates_args=(), device_types="cpu")
def view_scores(
    z: torch.Tensor,  # [V, B, D] - of this rank
    everyone: torch.Tensor,  # [V, N, D] - of all ranks, without gradient
    num_targets: int,  # G
    first: int,  # which of the N is this rank's first
    temperature: float,
    eps: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Negatives [V, V, B], the lowest number for those not asked for; positives [V, G, B]."""
    return forward(tiles, z, everyone, num_targets, first, temperature, eps)


@torch.library.custom_op("augengine::view_scores_backward", mutates_args=(), device_types="cpu")
def view_scores_backward(
    z: torch.Tensor,
    everyone: torch.Tensor,
    negatives: torch.Tensor,  # [V, V, N] accumulator - of all ranks
    grad_negatives: torch.Tensor,  # [V, V, N]
    grad_positives: torch.Tensor,  # [V, G, B]
    first: int,
    temperature: float,
    eps: float,
) -> torch.Tensor:
    """[V, B, D] like z."""
    given = (z, everyone, negatives, grad_negatives, grad_positives)
    return differentiate(tiles, *given, first, temperature, eps)


@view_scores.register_fake
def _(
    z: torch.Tensor, everyone: torch.Tensor, num_targets: int, *_: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    num_views, num_images, _d = z.shape
    negatives = z.new_empty((num_views, num_views, num_images), dtype=accumulator(z))
    return negatives, negatives.new_empty((num_views, num_targets, num_images))


@view_scores_backward.register_fake
def _(z: torch.Tensor, *_: Any) -> torch.Tensor:
    return torch.empty_like(z, memory_format=torch.contiguous_format)


@view_scores.register_kernel("cuda")
def _(z: torch.Tensor, *others: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return forward(tiles.on_cuda(z.shape[-1]), z, *others)


@view_scores_backward.register_kernel("cuda")
def _(z: torch.Tensor, *others: Any) -> torch.Tensor:
    return differentiate(tiles.on_cuda(z.shape[-1]), z, *others)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
    z, everyone, _, *ctx.numbers = inputs
    ctx.save_for_backward(z, everyone, output[0])


def _backward(
    ctx: Any, grad_negatives: torch.Tensor, grad_positives: torch.Tensor
) -> tuple[torch.Tensor | None, ...]:
    z, everyone, negatives = ctx.saved_tensors
    of_all = [gather_last(x) for x in (negatives, grad_negatives)]
    return view_scores_backward(z, everyone, *of_all, grad_positives, *ctx.numbers), *[None] * 5


view_scores.register_autograd(_backward, setup_context=_keep)
view_scores_backward.register_autograd(refuse_second)


def forward(
    form: ModuleType,
    z: torch.Tensor,
    everyone: torch.Tensor,
    num_targets: int,
    first: int,
    temperature: float,
    eps: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Forward, with the sums of `form`: those of a CPU, or of a GPU."""
    own, every = unit(z, eps), unit(everyone, eps)
    num_views, num_images = own.scale.shape
    lowest = torch.finfo(own.scale.dtype).min
    negatives = own.scale.new_full((num_views, num_views, num_images), lowest)
    positives = own.scale.new_empty((num_views, num_targets, num_images))
    # Autocast would take the products to bf16: at T = 0.1 wrong by up to 0.04.
    with torch.autocast(z.device.type, enabled=False):
        for w in range(num_views):
            asking = slice(0, num_views) if w < num_targets else slice(w, w + 1)
            found, _ = form.attend(own.of(asking), every.of(w), 1 / temperature, first)
            negatives[asking, w] = found
    for part in chunks(num_images, num_views * own.x.shape[-1], z.device):
        u = own.of((slice(None), part)).matrix()
        for g in range(num_targets):
            positives[:, g, part] = (u * u[g]).sum(-1).div_(temperature)
    return negatives, positives


def _meetings(w: int, num_views: int, num_targets: int) -> list[tuple[slice, bool, bool]]:
    """Views that meet view w: whether they ask it, and whether it asks them."""
    if w < num_targets:
        return [(slice(0, num_targets), True, True), (slice(num_targets, num_views), True, False)]
    return [(slice(0, num_targets), False, True), (slice(w, w + 1), True, True)]


def differentiate(
    form: ModuleType,
    z: torch.Tensor,
    everyone: torch.Tensor,
    negatives: torch.Tensor,
    grad_negatives: torch.Tensor,
    grad_positives: torch.Tensor,
    first: int,
    temperature: float,
    eps: float,
) -> torch.Tensor:
    """Backward, likewise."""
    own, every = unit(z, eps), unit(everyone, eps)
    num_views, num_images = own.scale.shape
    num_targets = grad_positives.shape[1]
    here = slice(first, first + num_images)
    # Without gradient no exponential, which could be infinite.
    shift = torch.where(grad_negatives == 0, torch.inf, negatives)
    out = own.scale.new_zeros(z.shape)
    with torch.autocast(z.device.type, enabled=False):
        for w in range(num_views):
            for views, asks, is_asked in _meetings(w, num_views, num_targets):
                asked = (shift[views, w, here], grad_negatives[views, w, here]) if asks else None
                answered = (shift[w, views], grad_negatives[w, views]) if is_asked else None
                rows, keys = own.of(views), every.of(w)
                form.pull(rows, keys, 1 / temperature, first, asked, answered, out[views])
    for part in chunks(num_images, num_views * own.x.shape[-1], z.device):
        u = own.of((slice(None), part)).matrix()
        for g in range(num_targets):
            weight = grad_positives[:, g, part, None]
            out[:, part].addcmul_(u[g], weight)
            out[g, part] += (u * weight).sum(0)
    return through_unit(out.div_(temperature), own)
