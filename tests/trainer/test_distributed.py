"""Two and four processes equal one: gathers, batch statistics, Sinkhorn, and their gradients."""

import copy
import warnings
from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from forked_ranks import run_ranks_of
from torch import nn
from toy_methods import PATCHES, TOY

from shards.errors import UsageError
from trainer.distributed import (
    all_reduce_,
    data_parallel,
    gather_rows,
    gather_with_grad,
    join_rank_group,
    on_first,
    rank,
    world_size,
)
from trainer.losses.sinkhorn import sinkhorn
from trainer.methods.method_table import METHODS, create_method
from trainer.methods.protocol import Method, Progress
from trainer.nets.batchnorm import BatchNorm1d, chunked_statistics, synchronize_batch_norm

NUM_IMAGES = 12  # over all ranks
IDS = torch.arange(NUM_IMAGES)
VIBCREG = {"correlation": True, "whiten_groups": 4}


def test_without_a_group_everything_is_the_identity() -> None:
    """One process: rank 0 of 1, and collectives give back what they got."""
    x = torch.arange(3.0)
    assert (rank(), world_size()) == (0, 1)
    assert torch.equal(all_reduce_(x.clone(), "mean"), x)
    assert torch.equal(gather_rows(x), x)
    assert torch.equal(gather_with_grad(x), x[None])
    assert on_first(lambda: 5) == 5


def batch() -> torch.Tensor:
    x = torch.randn(2, NUM_IMAGES, 4, generator=torch.Generator().manual_seed(0))  # [V, B, D]
    return x.double() + 3 * torch.arange(2).view(-1, 1, 1)


def share(x: torch.Tensor, dim: int, number: int, world: int) -> torch.Tensor:
    return x.chunk(world, dim)[number].contiguous()


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)).double()


def as_images(views: torch.Tensor) -> torch.Tensor:
    """[V, B, D, 2, 2] for a method that cuts views: four unlike patches."""
    return views[..., None, None] * torch.tensor([[1.0, 0.8], [0.5, 1.3]], dtype=views.dtype)


class Pool(nn.Module):
    """Features as they are, and images to their mean."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.ndim == 2 else x.mean((2, 3))


def feature_network() -> nn.Module:
    backbone = nn.Sequential(Pool(), *network())
    backbone.feature_dim = 3  # type: ignore[assignment]
    return backbone


def run_network(model: nn.Module, views: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Loss and gradients with statistics per view."""
    with chunked_statistics(model, 2):
        loss = model(views.flatten(0, 1)).sin().mean()
    loss.backward()
    return loss.detach(), [p.grad for p in model.parameters() if p.grad is not None]


def run_method(
    name: str, views: torch.Tensor, ids: torch.Tensor, wrap: bool = False, **settings: object
) -> dict[str, object]:
    """Three SGD steps, the queue full for the last: mean losses, and the state."""
    backbone = feature_network()
    torch.manual_seed(1)
    method: Method = create_method(name, backbone, {**TOY[name], **settings})
    method.prepare(NUM_IMAGES)
    method = method.double()
    if wrap and method.sync_batch_norm:
        synchronize_batch_norm(method)
    forward = data_parallel(method) if wrap else method
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    losses, views = [], as_images(views) if name in PATCHES else views
    for step in range(3):
        progress = Progress(step, 10, 1)
        torch.manual_seed(step)
        looks_only = method.looks_only(progress)
        with torch.set_grad_enabled(not looks_only):
            batch_views = SimpleNamespace(crops=(views + 0.1 * step,), ids=ids.numpy())
            result = forward(batch_views, progress)
        losses.append(all_reduce_(result.loss.detach(), "mean"))
        if looks_only:
            continue
        optimizer.zero_grad()
        result.loss.backward()
        method.before_optimizer(progress)
        optimizer.step()
        method.after_step(progress)
    return {"losses": losses, "state": dict(method.state_dict())}


def run_own_statistics(views: torch.Tensor) -> list[torch.Tensor]:
    """Running means behind DDP after every of three forwards of this rank's images."""
    norm = BatchNorm1d(4).double()
    model, means = data_parallel(norm), []
    for view in (views[0], views[1], views[0]):
        model(view)
        assert norm.running_mean is not None
        means.append(norm.running_mean.clone())
    return means


def run_in_pairs(views: torch.Tensor) -> dict[str, object]:
    """A network whose batch norms see two neighbouring ranks; its copy does the same."""
    join_rank_group(2, 60.0)
    model = network()
    synchronize_batch_norm(model, 2)
    loss, grads = run_network(copy.deepcopy(model), views)
    again, _ = run_network(model, views)
    assert torch.equal(loss, again)
    grads = [all_reduce_(g, "mean") for g in grads]
    return {"loss": loss, "grads": grads, "buffers": list(model.buffers())}


def run_on_first(views: torch.Tensor, model: nn.Module) -> dict[str, object]:
    """What the first rank does for all, with every collective in it, and what it raises."""

    def work() -> tuple[int, int, float]:
        with chunked_statistics(model, 2):  # synchronised otherwise
            loss = model.train()(views.flatten(0, 1)).sum()
        return rank(), world_size(), float(all_reduce_(loss.detach())) + len(gather_rows(views))

    def fail(error: Exception) -> str:
        def work() -> None:
            raise error

        try:
            on_first(work)
        except Exception as raised:
            return f"{type(raised).__name__}: {raised}"
        return ""

    errors = [fail(UsageError("no such thing")), fail(KeyError(7))]
    return {"result": on_first(work), "errors": errors, "after": (rank(), world_size())}


def body(number: int, world: int, folder: str) -> None:
    """What each process does; it writes what it found."""
    warnings.simplefilter("error")  # here, as in the process that the tests run in
    store = dist.FileStore(f"{folder}/store", world)
    dist.init_process_group("gloo", None, timedelta(seconds=60), world, number, store)
    views, ids = share(batch(), 1, number, world), share(IDS, 0, number, world)
    model = network()
    synchronize_batch_norm(model)
    loss, grads = run_network(model, views)
    rows = views[0].clone().requires_grad_()
    everyone = gather_with_grad(rows).flatten(0, 1)
    (everyone @ everyone.T).square().sum().backward()
    found = {
        "loss": all_reduce_(loss, "mean"),
        "grads": [all_reduce_(g, "mean") for g in grads],
        "buffers": list(model.buffers()),
        "rows": gather_rows(views[0]),
        "gather_grad": rows.grad,
        "codes": sinkhorn(20 * views, epsilon=0.5),
        "own": run_own_statistics(views),
        "pairs": run_in_pairs(views),
        "first": run_on_first(views, copy.deepcopy(model)),
        **{name: run_method(name, views, ids, wrap=True) for name in METHODS},
        "vibcreg": run_method("vicreg", views, ids, wrap=True, **VIBCREG),
    }
    torch.save(found, f"{folder}/{number}.pt")
    dist.destroy_process_group()


@pytest.fixture(
    scope="module", params=[2, pytest.param(4, marks=pytest.mark.long)], ids=["two", "four"]
)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What each of two or four ranks found."""
    folder, world = tmp_path_factory.mktemp("ranks"), request.param
    run_ranks_of(body, world, world, str(folder))
    return [torch.load(folder / f"{r}.pt", weights_only=True) for r in range(world)]


@pytest.mark.slow
def test_synchronised_batch_norm_is_the_single_process(found: list[dict]) -> None:
    """Loss, averaged gradients and running statistics equal one process on the whole batch."""
    model = network()
    loss, grads = run_network(model, batch())
    for result in found:
        torch.testing.assert_close(result["loss"], loss)
        torch.testing.assert_close(result["grads"], grads)
        torch.testing.assert_close(result["buffers"], list(model.buffers()))


@pytest.mark.slow
def test_pairs_of_ranks_are_a_process_each(found: list[dict]) -> None:
    """Groups of two: statistics of a process on their images alone, gradients over all groups."""
    num_pairs = len(found) // 2
    alone = []
    for pair in range(num_pairs):
        model = network()
        loss, grads = run_network(model, share(batch(), 1, pair, num_pairs))
        alone.append((loss, grads, list(model.buffers())))
    grads = [torch.stack(same).mean(0) for same in zip(*[g for _, g, _ in alone], strict=True)]
    for number, result in enumerate(found):
        loss, _, buffers = alone[number // 2]
        both = found[number // 2 * 2 : number // 2 * 2 + 2]
        mean = torch.stack([r["pairs"]["loss"] for r in both]).mean(0)
        torch.testing.assert_close(mean, loss)
        torch.testing.assert_close(result["pairs"]["grads"], grads)
        torch.testing.assert_close(result["pairs"]["buffers"], buffers)
    if num_pairs > 1:  # nor are they those of all
        assert not torch.equal(found[0]["pairs"]["buffers"][0], found[0]["buffers"][0])


@pytest.mark.slow
def test_the_first_rank_works_alone_for_all(found: list[dict]) -> None:
    """No collective is reached meanwhile; its result, or what it raised, is everybody's."""
    for number, result in enumerate(found):
        first = result["first"]
        assert first["result"] == found[0]["first"]["result"]
        assert first["result"][:2] == (0, 1)
        assert first["after"] == (number, len(found))
        expected = ["UsageError: no such thing", "KeyError: 7"]
        if number > 0:
            there = "what the first rank does for all must succeed, got there: "
            expected = [f"UsageError: {there}no such thing", f"DataError: {there}KeyError(7)"]
        assert first["errors"] == expected


@pytest.mark.slow
def test_gathers(found: list[dict]) -> None:
    """Rows arrive in rank order; a gathered row gets the gradients of all ranks' losses."""
    whole = batch()[0].clone().requires_grad_()
    (len(found) * (whole @ whole.T).square().sum()).backward()
    for number, result in enumerate(found):
        assert torch.equal(result["rows"], whole.detach())
        torch.testing.assert_close(result["gather_grad"], share(whole.grad, 0, number, len(found)))


@pytest.mark.slow
def test_a_ranks_own_statistics_stay_its_own(found: list[dict]) -> None:
    """DDP, which warns of nothing, gives no rank another's statistics, as MoCo needs it."""
    for number, result in enumerate(found):
        views, norm = share(batch(), 1, number, len(found)), BatchNorm1d(4).double()
        for view, mean in zip((views[0], views[1], views[0]), result["own"], strict=True):
            norm(view)
            assert norm.running_mean is not None
            assert torch.equal(mean, norm.running_mean)


@pytest.mark.slow
def test_sinkhorn_balances_over_all_ranks(found: list[dict]) -> None:
    """Each rank's codes are its rows of the codes of the whole batch."""
    codes = sinkhorn(20 * batch(), epsilon=0.5)
    for number, result in enumerate(found):
        torch.testing.assert_close(result["codes"], share(codes, 1, number, len(found)))


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_methods_train_alike_on_any_number_of_ranks(found: list[dict], name: str) -> None:
    """DDP on parts of a batch: losses, weights, teacher, queue of one process on the whole."""
    whole = comparable(name, run_method(name, batch(), IDS))
    for result in found:
        ours = comparable(name, result[name])
        torch.testing.assert_close(ours, whole, rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_whitened_features_train_alike(found: list[dict]) -> None:
    """VICReg's settings of VIbCReg: groups are whitened over all ranks, their scales are one."""
    whole = run_method("vicreg", batch(), IDS, **VIBCREG)
    for result in found:
        torch.testing.assert_close(result["vibcreg"], whole, rtol=1e-6, atol=1e-8)


def comparable(name: str, result: dict) -> dict:
    """Without running statistics, where every rank keeps those of its own images (MoCo)."""
    if create_method(name, feature_network(), TOY[name]).sync_batch_norm:
        return result
    own = ("running_mean", "running_var", "num_batches_tracked")
    state = {key: value for key, value in result["state"].items() if not key.endswith(own)}
    return {**result, "state": state}
