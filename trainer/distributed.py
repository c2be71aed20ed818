"""Ranks and the few collectives training needs; without a process group each is the identity.

`torchrun` sets the environment, `process_group` joins it for the duration of a run. Statistics
that carry no gradient (Sinkhorn, queues) use the plain calls; batch statistics and losses over the
batch of all ranks use `gather_with_grad`, whose backward sums what every rank asks of a row, so
that DDP's mean over ranks gives the gradient of the global loss. What one rank does for all of them
(to write, to evaluate) goes through `on_first`, inside which no other rank exists.
"""

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.distributed.nn.functional  # before any group: its defaults would keep its threads
from torch import nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from shards.errors import DataError, UsageError

# DDP's switch for the broadcast of buffers before each forward. torch 2.13 renamed it; under the
# new name they are still broadcast when the module is wrapped, under the older one not even then.
_SYNC_BUFFERS = "forward_sync_buffers"
if _SYNC_BUFFERS not in inspect.signature(DistributedDataParallel).parameters:
    _SYNC_BUFFERS = "broadcast_buffers"
# It renamed these two also, and warns of the older names.
_all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
_reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
T = TypeVar("T")
_is_alone = False  # inside `_alone`
# Of neighbouring ranks, by their number. Here and not in the layers that use them, since a process
# group cannot be copied and a method can.
_RANK_GROUPS: dict[int, Any] = {}


def is_distributed() -> bool:
    """Whether a process group is joined, and the other ranks take part in what is going on."""
    return not _is_alone and dist.is_available() and dist.is_initialized()


def rank() -> int:
    """This process's number in [0, world_size)."""
    return dist.get_rank() if is_distributed() else 0


def world_size() -> int:
    """Processes that train together."""
    return dist.get_world_size() if is_distributed() else 1


@contextmanager
def process_group(device_type: str, timeout_s: float) -> Iterator[int]:
    """Join torchrun's group (NCCL on cuda, gloo on the CPU) and leave it at the end.

    Yields the local rank, which is the number of this process's GPU; 0 without torchrun.

    Raises:
        DataError: a collective failed or took longer than `timeout_s`: another rank has ended.
    """
    # One process needs no group, also under torchrun.
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield 0
        return
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if device_type == "cuda":
        if local_rank >= torch.cuda.device_count():
            raise UsageError(
                f"every process needs its own GPU, got {torch.cuda.device_count()} for local rank "
                f"{local_rank}; lower --nproc-per-node"
            )
        torch.cuda.set_device(local_rank)
    _join("nccl" if device_type == "cuda" else "gloo", timedelta(seconds=timeout_s))
    # Not left after an error: leaving may wait for the others, and they learn of it sooner, and
    # with our message printed before theirs, when this process ends.
    try:
        yield local_rank
    except (DataError, UsageError):
        raise
    except RuntimeError as error:
        if not _is_of_a_collective(error):
            raise
        raise DataError(
            f"all ranks take part in every collective within run.collective_seconds={timeout_s:g}, "
            f"got an error ({str(error).splitlines()[0]}); another rank has ended or hangs: what "
            "it wrote says why, and if it wrote nothing it was killed (out of memory?)"
        ) from error
    dist.destroy_process_group()
    _RANK_GROUPS.clear()


def _join(backend: str, timeout: timedelta) -> None:
    """Meet the other ranks under keys of this start's own.

    torchrun's store outlives a restart, and with it the addresses that the ranks before had left
    there: whoever read them before the new ones were written could not connect.
    """
    store, number, world = next(iter(rendezvous("env://", timeout=timeout)))
    start = f"start-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}-of-{world}"
    store = PrefixStore(start, store)
    dist.init_process_group(backend, store=store, rank=number, world_size=world, timeout=timeout)


def _is_of_a_collective(error: RuntimeError) -> bool:
    """Gloo's errors have no type of their own, only the path of its source."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)


def join_rank_group(num_ranks: int, timeout_s: float) -> None:
    """Make groups of so many neighbouring ranks; every rank calls it, with a divisor of all."""
    if num_ranks not in _RANK_GROUPS:
        timeout = timedelta(seconds=timeout_s)
        _RANK_GROUPS[num_ranks], _ = dist.new_subgroups(group_size=num_ranks, timeout=timeout)


def data_parallel(module: nn.Module) -> DistributedDataParallel:
    """DDP around a module whose buffers are alike on all ranks; from now on each keeps its own.

    They stay alike (synchronised statistics, a gathered queue) or differ on purpose (MoCo's).
    Gradients live in the buckets that are exchanged: a copy of them less, in time and memory.
    """
    switch: dict[str, Any] = {_SYNC_BUFFERS: False, "gradient_as_bucket_view": True}
    return DistributedDataParallel(module, **switch)


@torch.no_grad()
def all_reduce_(
    tensor: torch.Tensor,
    op: str = "sum",
    num_ranks: int | None = None,  # of `join_rank_group`, to stay among these neighbours
) -> torch.Tensor:
    """Replace `tensor` by its "sum", "max" or "mean" over the ranks, in place; returns it."""
    if is_distributed():
        group = _group_of(num_ranks)
        dist.all_reduce(tensor, getattr(dist.ReduceOp, "MAX" if op == "max" else "SUM"), group)
        if op == "mean":
            tensor /= group.size()
    return tensor


def on_first(work: Callable[[], T]) -> T:
    """The result of `work` on the first rank, for every rank; the others wait, and do nothing.

    While it works, the first rank is alone: no collective can be reached, whatever code it runs.
    The result is sent whole, so it should be small.

    Raises:
        UsageError, DataError: the work raised it on the first rank; or, as a DataError on the other
            ranks, anything else that was raised there.
    """
    if not is_distributed():
        return work()
    message: list[Any] = [None]  # result, error's class, error's text
    if rank() == 0:
        try:
            with _alone():
                message = [(work(), None, "")]
        except Exception as error:
            known = type(error) if isinstance(error, DataError | UsageError) else DataError
            text = str(error) if known is type(error) else repr(error)
            dist.broadcast_object_list([(None, known, text)], 0)
            raise
    dist.broadcast_object_list(message, 0)
    result, kind, text = message[0]
    if kind is not None:
        raise kind(f"what the first rank does for all must succeed, got there: {text}")
    return result


@contextmanager
def _alone() -> Iterator[None]:
    """This process is a world of one for the duration."""
    global _is_alone
    _is_alone = True
    try:
        yield
    finally:
        _is_alone = False


@torch.no_grad()
def gather_rows(
    tensor: torch.Tensor,  # [N, ...] - the same N on every rank
) -> torch.Tensor:
    """Rows of all ranks in rank order, [W * N, ...]; no gradient."""
    return gather_stacked(tensor).flatten(0, 1) if is_distributed() else tensor


@torch.no_grad()
def gather_stacked(
    tensor: torch.Tensor,  # any shape, the same on every rank
    num_ranks: int | None = None,  # of `join_rank_group`, to stay among these neighbours
) -> torch.Tensor:
    """Tensors of all ranks stacked, [W, ...]; no gradient."""
    if not is_distributed():
        return tensor[None]
    group = _group_of(num_ranks)
    # Each rank's is written where it belongs: no list of parts, no copy of them.
    out = tensor.new_empty(group.size(), *tensor.shape)
    _all_gather(out.flatten(), tensor.contiguous().flatten(), group=group)
    return out


def gather_last(
    tensor: torch.Tensor,  # [..., B] - the same B on every rank
) -> torch.Tensor:
    """The last dimension of all ranks in rank order, [..., W * B]; no gradient."""
    return gather_rows(tensor.movedim(-1, 0).contiguous()).movedim(0, -1)


def gather_with_grad(
    tensor: torch.Tensor,  # any shape, the same on every rank
    num_ranks: int | None = None,  # of `join_rank_group`, to stay among these neighbours
) -> torch.Tensor:
    """Tensors of all ranks stacked, [W, ...]; the backward sums the gradients of all ranks."""
    return _Gather.apply(tensor, num_ranks) if is_distributed() else tensor[None]


def gather_views(
    views: torch.Tensor,  # [V, B, ...] - the same shape on every rank
) -> torch.Tensor:
    """[V, W * B, ...]: each view's rows of all ranks in rank order, with the gradient of above.

    For a loss of the whole batch that every rank computes alike (Barlow Twins, VICReg).
    """
    return gather_with_grad(views).transpose(0, 1).flatten(1, 2)


def _group_of(num_ranks: int | None) -> Any:
    return dist.group.WORLD if num_ranks is None else _RANK_GROUPS[num_ranks]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, num_ranks: int | None) -> torch.Tensor:
        ctx.num_ranks = num_ranks
        return gather_stacked(tensor, num_ranks)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        # Of the sum over ranks each needs the slice of its own rows, and gets no more.
        asked = grads[0].contiguous()
        mine = asked.new_empty(asked.shape[1:])
        _reduce_scatter(mine.flatten(), asked.flatten(), group=_group_of(ctx.num_ranks))
        return mine, None
