"""Batch statistics per view inside one forward, and over all ranks when asked for.

BYOL and SimSiam forward each view on its own, so a batch norm sees one view at a time;
concatenating the views changes its statistics, and with them the results. These layers keep the
papers' meaning in one forward per crop size: inside `chunked_statistics(network, V)` a training
batch of V views, one after the other, is normalised view by view, with the gradients and running
statistics of V separate forwards. Names and state dicts are those of torch's batch norm.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from shards.errors import UsageError
from trainer.distributed import gather_with_grad, world_size
from trainer.nets.rank_norm import rank_norm

if TYPE_CHECKING:
    from typing_extensions import Self

_KERNELS_ON = {"cuda"}  # devices that have torch's kernels of shared statistics


class ViewBatchNorm(_BatchNorm):
    """The part that torch's batch norms lack; mixed in before one of them."""

    num_chunks: int = 1  # equal parts of the batch with statistics of their own, in training
    synchronized: bool = False  # statistics over all ranks
    num_ranks: int | None = None  # or over so many neighbours only
    keeps_statistics: bool = False  # the running ones, in training too

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise [N, C, ...]; N is a multiple of num_chunks."""
        # Running statistics serve every row alike, so parts of the batch mean nothing here.
        if not self.training:
            return super().forward(input)
        if len(input) % self.num_chunks:
            raise ValueError(
                f"a batch of {self.num_chunks} views is a multiple of {self.num_chunks}, "
                f"got {len(input)} rows"
            )
        shares = self._crosses_ranks()
        # A cumulative average, which is what no momentum means to torch, is not for its kernels.
        if shares and input.device.type in _KERNELS_ON and self.momentum is not None:
            return self._forward_by_kernels(input, self.momentum)
        one = self._forward_synchronized if shares else super().forward
        if self.num_chunks == 1:
            return one(input)
        # In view order, since each part moves the running statistics in turn.
        return torch.cat([one(chunk) for chunk in input.chunk(self.num_chunks)])

    def keep_statistics(self) -> None:
        """Stay in eval mode from now on, whatever mode the network is put into."""
        self.keeps_statistics = True
        self.eval()

    def train(self, mode: bool = True) -> "Self":
        """The mode, unless the layer keeps its statistics."""
        return super().train(mode and not self.keeps_statistics)

    def _crosses_ranks(self) -> bool:
        return self.synchronized and world_size() > 1

    def _forward_by_kernels(self, input: torch.Tensor, momentum: float) -> torch.Tensor:
        """The same by torch's CUDA kernels, all views at once (rank_norm.py)."""
        self._check_input_dim(input)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += self.num_chunks
        return rank_norm(
            input,
            self.weight,
            self.bias,
            self.running_mean,
            self.running_var,
            momentum=momentum,
            eps=self.eps,
            num_views=self.num_chunks,
            num_ranks=self.num_ranks,
        )

    def _forward_synchronized(self, input: torch.Tensor) -> torch.Tensor:
        """The same with mean and variance over the rows of all these ranks, in float32.

        Every rank has as many rows (batches are always full), so means of means are exact:
        mean = avg_r mean_r;  var = avg_r (var_r + (mean_r - mean)^2)
        """
        self._check_input_dim(input)
        dims = [d for d in range(input.ndim) if d != 1]
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        var, mean = torch.var_mean(x, dims, correction=0)
        parts = gather_with_grad(torch.stack([mean, var]), self.num_ranks)  # [W, 2, C]
        mean = parts[:, 0].mean(0)
        var = (parts[:, 1] + (parts[:, 0] - mean).square()).mean(0)
        self._track(mean.detach(), var.detach(), rows=x.numel() // x.shape[1] * len(parts))
        scale, shift = (var + self.eps).rsqrt(), 0.0
        if self.affine:
            scale, shift = scale * self.weight, _as_channels(self.bias, x)
        out = (x - _as_channels(mean, x)) * _as_channels(scale, x) + shift
        return out.to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: torch.Tensor, var: torch.Tensor, rows: int) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        momentum = self.momentum
        if momentum is None:  # torch's convention: a cumulative average
            momentum = 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        unbiased = var * (rows / max(1, rows - 1))
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)


class BatchNorm1d(ViewBatchNorm, nn.BatchNorm1d):
    """Batch norm of [N, C] with statistics per view."""


class BatchNorm2d(ViewBatchNorm, nn.BatchNorm2d):
    """Batch norm of [N, C, H, W] with statistics per view."""


@contextmanager
def chunked_statistics(network: nn.Module, num_chunks: int) -> Iterator[None]:
    """For the duration: training batches of `network` are `num_chunks` parts, normalised apart."""
    layers = _layers(network)
    for layer in layers:
        layer.num_chunks = num_chunks
    try:
        yield
    finally:
        for layer in layers:
            layer.num_chunks = 1


def synchronize_batch_norm(network: nn.Module, num_ranks: int | None = None) -> None:
    """Take batch statistics over all ranks from now on (SyncBN); call before DDP wraps it.

    With `num_ranks` over groups of so many neighbours, made by `distributed.join_rank_group`.
    """
    for layer in _layers(network):
        if not isinstance(layer, BatchNorm1d | BatchNorm2d):
            raise UsageError(
                f"statistics over all ranks need plain batch norm layers, got "
                f"{type(layer).__name__}; choose another arch or one process"
            )
        layer.synchronized = True
        layer.num_ranks = num_ranks


def adopt_batch_norm(network: nn.Module) -> nn.Module:
    """Turn foreign batch norms (torch's, timm's) into ViewBatchNorm in place; returns the network.

    A layer keeps its weights, its state dict and what its own forward does beyond normalising: its
    class becomes a subclass of ViewBatchNorm and of what it was.
    """
    for layer in network.modules():
        if isinstance(layer, _BatchNorm) and not isinstance(layer, ViewBatchNorm):
            # Changing the class keeps parameters, hooks and names where they are.
            kind = type(layer)
            plain = {nn.BatchNorm1d: BatchNorm1d, nn.BatchNorm2d: BatchNorm2d}.get(kind)
            layer.__class__ = plain or type(f"View{kind.__name__}", (ViewBatchNorm, kind), {})
    return network


def _layers(network: nn.Module) -> list[ViewBatchNorm]:
    layers = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    foreign = {type(layer).__name__ for layer in layers if not isinstance(layer, ViewBatchNorm)}
    if foreign:
        raise UsageError(
            "statistics per view need layers of trainer.nets.batchnorm, got "
            f"{', '.join(sorted(foreign))}; pass the network through adopt_batch_norm first"
        )
    return [layer for layer in layers if isinstance(layer, ViewBatchNorm)]


def _as_channels(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return values.reshape(1, -1, *[1] * (like.ndim - 2))
