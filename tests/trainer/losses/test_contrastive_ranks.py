"""Several processes equal one: losses and gradients whose candidates lie on other ranks."""

from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from forked_ranks import run_ranks_of

from trainer.banks.embedding_queue import EmbeddingQueue
from trainer.distributed import all_reduce_
from trainer.losses.cosine import unit_rows
from trainer.losses.dcl import dcl_loss
from trainer.losses.hsic import hsic_loss
from trainer.losses.info_nce import batch_info_nce
from trainer.losses.nt_xent import nt_xent_loss
from trainer.losses.relic import offsets_of_step, relic_losses


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    """Uneven: images of later ranks are longer and lie elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    return x * torch.arange(1, shape[-2] + 1)[:, None] + torch.arange(shape[-2])[:, None] / 4


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    return rows(3, 12, 5), rows(2, 12, 5, seed=1)


def compute(z: torch.Tensor, keys: torch.Tensor) -> dict[str, torch.Tensor]:
    """Losses of this rank's share, and what DDP would make of their gradients for a weight."""
    weight = torch.eye(5, dtype=torch.float64).requires_grad_()
    frozen = unit_rows(rows(6, 5, seed=2))
    losses = {
        "nt_xent": nt_xent_loss(z @ weight, 2, 0.2),
        "fused nt_xent": nt_xent_loss(z @ weight, 2, 0.2, "fused"),
        "dclw": dcl_loss(z @ weight, 2, 0.2, 0.5),
        "fused dclw": dcl_loss(z @ weight, 2, 0.2, 0.5, "fused"),
        "hsic": hsic_loss(z @ weight, impl="torch"),
        "fused hsic": hsic_loss(z @ weight, impl="fused"),
        "mocov3": batch_info_nce(z @ weight, keys, 0.2),
        "fused mocov3": batch_info_nce(z @ weight, keys, 0.2, impl="fused"),
        "fused nnclr": batch_info_nce(keys, z @ weight, 0.2, impl="fused"),
        "fused memory": batch_info_nce(z @ weight, keys, 0.2, frozen, "fused"),
        "nnclr": batch_info_nce(keys, z @ weight, 0.2),
        "memory": batch_info_nce(z @ weight, keys, 0.2, frozen),
        "relic": sum(relic_losses(z @ weight, keys, 0.2), torch.zeros(())),
        "relicv2": sum(
            relic_losses(z @ weight, keys, 0.2, own_view=True, offsets=offsets_of_step(3, 12, 4)),
            torch.zeros(()),
        ),
    }
    found = {}
    for name, loss in losses.items():
        (grad,) = torch.autograd.grad(loss, weight)
        found[name] = all_reduce_(loss.detach(), "mean")
        found[f"{name} gradient"] = all_reduce_(grad, "mean")
    queue = EmbeddingQueue(20, 5, random=True).double()
    queue.rows = frozen
    for view in keys:
        queue.push(view)
    return found | {"queue": queue.rows}


def body(number: int, world: int, folder: str) -> None:
    """What each process does; it writes what it found."""
    store = dist.FileStore(f"{folder}/store", world)
    dist.init_process_group("gloo", None, timedelta(seconds=60), world, number, store)
    z, keys = (x.chunk(world, 1)[number].contiguous() for x in inputs())
    found = compute(z, keys)
    torch.save(found, f"{folder}/{number}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
def test_ranks_equal_one_process(world: int, tmp_path: Path) -> None:
    """Losses, gradients of shared weights and queue are those of the whole batch, on every rank."""
    run_ranks_of(body, world, world, str(tmp_path))
    whole = compute(*inputs())
    assert len(whole["queue"]) == 20
    for name in (n for n in whole if f"fused {n}" in whole):
        torch.testing.assert_close(whole[f"fused {name}"], whole[name], rtol=1e-10, atol=1e-12)
    for number in range(world):
        found = torch.load(tmp_path / f"{number}.pt", weights_only=True)
        torch.testing.assert_close(found, whole, rtol=1e-10, atol=1e-12)
