"""A term's loss over two ranks, beside that of one process."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from forked_ranks import run_ranks_of

from trainer.distributed import all_reduce_

Loss = Callable[[torch.Tensor], torch.Tensor]  # of the rows of views [V, B, D]


def check_two_ranks(
    loss_of: Loss,  # a function of a module, for another process to find
    rows: torch.Tensor,  # [V, B, D] float64
    folder: Path,
) -> None:
    """Loss and gradient of two ranks with half the images each are those of all images."""
    run_ranks_of(one_rank, 2, 2, loss_of, rows.numpy(), str(folder))
    expected = _compute(loss_of, rows)
    for number in range(2):
        found = torch.load(folder / f"{number}.pt", weights_only=True)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def one_rank(number: int, world: int, loss_of: Loss, rows: np.ndarray, folder: str) -> None:
    """Write what this rank makes of its images."""
    store = dist.FileStore(f"{folder}/store", world)
    dist.init_process_group("gloo", None, timedelta(seconds=60), world, number, store)
    half = rows.shape[1] // world
    own = torch.from_numpy(rows[:, number * half :][:, :half].copy())
    torch.save(_compute(loss_of, own), f"{folder}/{number}.pt")
    dist.destroy_process_group()


def _compute(loss_of: Loss, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """The loss and the gradient of a layer that all ranks share, as the mean over them has it."""
    weight = torch.eye(x.shape[-1], dtype=x.dtype).requires_grad_()
    loss = loss_of(x @ weight)
    (grad,) = torch.autograd.grad(loss, weight)
    return {"loss": all_reduce_(loss.detach(), "mean"), "grad": all_reduce_(grad, "mean")}
