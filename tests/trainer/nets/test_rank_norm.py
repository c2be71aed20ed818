"""Shared statistics as on a GPU: the result of the plain form, in an eighth of the bytes.

torch's kernels are stood in for by plain ones (cuda_norm_kernels.py); what is under test is what
calls them: views, ranks, collectives, gradients, running statistics. On two processes by gloo.
"""

import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from cuda_norm_kernels import on_the_cpu
from forked_ranks import run_ranks_of

from benchmarks.steps.operator_count import Count
from trainer.distributed import join_rank_group
from trainer.nets import batchnorm
from trainer.nets.batchnorm import (
    BatchNorm1d,
    BatchNorm2d,
    chunked_statistics,
    synchronize_batch_norm,
)

WORLD = 2
CASES: dict[str, dict[str, Any]] = {
    "joint": {},
    "per_view": {"views": 3},
    "rows": {"views": 2, "last": False},
    "features": {"views": 2, "kind": BatchNorm1d, "shape": (5,)},
    "neighbours": {"views": 2, "num_ranks": 2},
    "no_scale": {"views": 2, "options": {"affine": False}},
    "not_running": {"options": {"track_running_stats": False}},
}


def result_of(
    number: int,
    *,
    views: int = 1,
    last: bool = True,
    kind: type[BatchNorm1d] | type[BatchNorm2d] = BatchNorm2d,
    shape: tuple[int, ...] = (5, 4, 3),
    num_ranks: int | None = None,
    options: dict[str, Any] | None = None,
    dtype: torch.dtype = torch.float64,
) -> tuple[dict[str, torch.Tensor], Count]:
    """Output, gradients and running statistics of a layer on this rank's rows, and the count."""
    generator = torch.Generator().manual_seed(number)
    x = torch.randn(views * 6, *shape, generator=generator, dtype=torch.float64)
    x = x * (1 + number) + torch.arange(views).repeat_interleave(6).view(-1, *[1] * len(shape))
    x = x.to(dtype)
    wanted = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x)
    if last and len(shape) == 3:
        x, wanted = (y.contiguous(memory_format=torch.channels_last) for y in (x, wanted))
    layer = kind(shape[0], **(options or {})).to(torch.promote_types(dtype, torch.float32))
    for i, p in enumerate(layer.parameters()):
        torch.nn.init.uniform_(p, 0.5, 1.5, generator=torch.Generator().manual_seed(i))
    synchronize_batch_norm(layer, num_ranks)
    x.requires_grad_()
    with Count(least=x.numel() // views) as count, chunked_statistics(layer, views):
        out = layer(x)
        slopes = torch.autograd.grad(out, [x, *layer.parameters()], wanted)
    found = {"out": out.detach(), **dict(layer.named_buffers())}
    return found | {f"slope {i}": slope for i, slope in enumerate(slopes)}, count


def body(number: int, folder: str) -> None:
    """What each process does; it writes both forms' results and the bytes of an element."""
    warnings.simplefilter("error")
    store = dist.FileStore(f"{folder}/store", WORLD)
    dist.init_process_group("gloo", None, timedelta(seconds=60), WORLD, number, store)
    join_rank_group(2, 60.0)
    plain = {name: result_of(number, **case)[0] for name, case in CASES.items()}
    half = {"views": 2, "dtype": torch.bfloat16}
    counts = {"plain": bytes_of(result_of(number, dtype=torch.bfloat16)[1])}
    kept = on_the_cpu()
    batchnorm._KERNELS_ON.add("cpu")
    kernels = {name: result_of(number, **case) for name, case in CASES.items()}
    counts["kernels"] = bytes_of(result_of(number, dtype=torch.bfloat16)[1])
    counts["kernels_per_view"] = bytes_of(result_of(number, **half)[1]) / 2
    collectives = {name: dict(count.collectives) for name, (_, count) in kernels.items()}
    found = {
        "plain": plain,
        "kernels": {name: values for name, (values, _) in kernels.items()},
        "bytes": counts,
        "collectives": collectives,
    }
    del kept
    torch.save(found, f"{folder}/{number}.pt")
    dist.destroy_process_group()


def bytes_of(count: Count) -> float:
    """An element of one view, forward and backward."""
    return count.bytes / (6 * 5 * 4 * 3)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two ranks found."""
    folder: Path = tmp_path_factory.mktemp("norm")
    run_ranks_of(body, WORLD, str(folder))
    return [torch.load(folder / f"{r}.pt", weights_only=True) for r in range(WORLD)]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_both_forms_are_one(found: list[dict[str, Any]], case: str) -> None:
    """In float64 outputs, all gradients and running statistics agree, views and ranks or not."""
    for rank in found:
        assert rank["kernels"][case].keys() == rank["plain"][case].keys()
        torch.testing.assert_close(
            rank["kernels"][case], rank["plain"][case], rtol=1e-9, atol=1e-11
        )
    assert not torch.equal(found[0]["plain"][case]["out"], found[1]["plain"][case]["out"])


@pytest.mark.slow
def test_a_layer_makes_two_exchanges(found: list[dict[str, Any]]) -> None:
    """One forward, one backward, however many views; and none waits for a size."""
    for exchanges in found[0]["collectives"].values():
        assert sorted(exchanges.values()) == [1, 1]


@pytest.mark.slow
def test_bytes_an_element(found: list[dict[str, Any]]) -> None:
    """In bf16 16 an element, and 4 for views that are put together; the plain form needs 140."""
    assert found[0]["bytes"]["plain"] == pytest.approx(140, abs=1)
    assert found[0]["bytes"]["kernels"] <= 16
    assert found[0]["bytes"]["kernels_per_view"] <= 20
