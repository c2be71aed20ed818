"""AugSelf against loops over its equations, on ranks, and for what it is for."""

import math
from datetime import timedelta
from itertools import permutations
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from forked_ranks import run_ranks_of
from term_views import POLICY, make_views
from torch import nn

from augengine.policies import override_policy
from augengine.views import Views
from shards.errors import UsageError
from trainer.distributed import all_reduce_
from trainer.methods.protocol import Progress
from trainer.methods.simsiam import Settings as SimSiamSettings
from trainer.methods.simsiam import SimSiam
from trainer.nets.batchnorm import BatchNorm2d, synchronize_batch_norm
from trainer.nets.multicrop import forward_views
from trainer.terms.add_terms import add_terms
from trainer.terms.augself import AugSelf, Settings
from trainer.terms.term import Seen
from trainer.terms.term_table import read_terms

START = Progress(0, 100, 10)
ALL = Settings(crop=0.5, color=2.0, flip=0.7, blur=0.3, hidden_dim=6)


def toy(settings: Settings = ALL) -> AugSelf:
    torch.manual_seed(0)
    return AugSelf(settings, 5, POLICY).double()


def seen(views: Views, y: torch.Tensor) -> Seen:
    num_global = len(views.crops[0])
    return Seen(views, START, tuple(range(len(y))), num_global, {"features": y})


def equations(term: AugSelf, views: Views, y: torch.Tensor) -> torch.Tensor:
    """The table of the paper's tasks, a pair and an image at a time."""
    plan, losses = views.plan, dict.fromkeys(term.weights, torch.zeros((), dtype=torch.float64))
    pairs = list(permutations(range(len(views.crops[0])), 2))
    rows = [torch.cat([y[a, i], y[b, i]]) for a, b in pairs for i in range(views.batch_size)]
    said = {task: term.heads[task](torch.stack(rows)) for task in term.weights}
    places = [(a, b, i) for a, b in pairs for i in range(views.batch_size)]
    for row, (a, b, i) in enumerate(places):
        numbers = []
        for v in (a, b):
            top, left, tall, wide = (int(x) for x in plan.window[i, v])
            height, width = (int(x) for x in plan.image_sizes[i])
            across = (left + wide / 2) / width
            crop = [(top + tall / 2) / height, 1 - across if plan.flip[i, v] else across]
            colour = [
                (float(plan.brightness[i, v]) - 1) / 0.8,
                (float(plan.contrast[i, v]) - 1) / 0.6,
                (float(plan.saturation[i, v]) - 1) / 0.4,
                float(plan.hue[i, v]) / 0.2,
            ]
            crop += [tall / height, wide / width]
            numbers.append({"crop": crop, "color": colour, "blur": [float(plan.sigma[i, v])]})
        for task in ("crop", "color", "blur"):
            errors = [
                (said[task][row, k].tanh() - (p - q)) ** 2
                for k, (p, q) in enumerate(zip(numbers[0][task], numbers[1][task], strict=True))
            ]
            losses[task] = losses[task] + sum(errors) / len(errors) / len(rows)
        chance = said["flip"][row, 0].sigmoid()
        is_alike = plan.flip[i, a] == plan.flip[i, b]
        losses["flip"] = losses["flip"] - (chance if is_alike else 1 - chance).log() / len(rows)
    return sum((weight * losses[task] for task, weight in term.weights.items()), torch.zeros(()))


@pytest.mark.parametrize("num_global", [2, 3])
def test_the_loss_is_the_papers(num_global: int) -> None:
    """Values and gradients equal loops; local views, and gray ones, count for nothing."""
    policy = POLICY.with_views((num_global, 1))
    views, term = make_views(policy, 6), toy()
    generator = torch.Generator().manual_seed(3)
    y = torch.randn(num_global + 1, 6, 5, generator=generator, dtype=torch.float64)
    y.requires_grad_()
    ours, loops = term(seen(views, y)), equations(term, views, y)
    torch.testing.assert_close(ours, loops, rtol=1e-12, atol=1e-14)
    grads = [torch.autograd.grad(loss, [y, *term.parameters()]) for loss in (ours, loops)]
    torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-12)
    assert not grads[0][0][-1].any()


def test_targets_stay_within_reach_of_a_tanh() -> None:
    """Colours lie in [-1/2, 1/2] for a policy of any strengths: no difference is above 1."""
    plan = make_views(batch_size=200).plan
    numbers = toy().colour_widths
    assert numbers.tolist() == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert abs(plan.brightness - 1).max() / numbers[0] == pytest.approx(0.5, abs=0.02)
    assert abs(plan.hue).max() / numbers[3] == pytest.approx(0.5, abs=0.02)


def compute(views: Views, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """The loss of this rank's images, and what DDP makes of the gradients."""
    term = toy()
    synchronize_batch_norm(term)
    weight = torch.eye(5, dtype=torch.float64).requires_grad_()
    loss = term(seen(views, x @ weight))
    grads = torch.autograd.grad(loss, [weight, *term.parameters()])
    found = {str(i): all_reduce_(grad, "mean") for i, grad in enumerate(grads)}
    return found | {"loss": all_reduce_(loss.detach(), "mean")}


def whole() -> tuple[Views, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return make_views(), torch.randn(3, 8, 5, generator=generator, dtype=torch.float64)


def body(number: int, world: int, folder: str) -> None:
    store = dist.FileStore(f"{folder}/store", world)
    dist.init_process_group("gloo", None, timedelta(seconds=60), world, number, store)
    views, x = whole()
    rows = slice(number * 4, number * 4 + 4)
    crops = tuple(group[:, rows] for group in views.crops)
    part = Views(crops, views.ids[rows], views.labels[rows], views.plan.rows(rows))
    torch.save(compute(part, x[:, rows]), f"{folder}/{number}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_equal_one_process(tmp_path: Path) -> None:
    """The loss and the gradients of the encoder and of the heads are those of the whole batch."""
    run_ranks_of(body, 2, 2, str(tmp_path))
    expected = compute(*whole())
    for number in range(2):
        found = torch.load(tmp_path / f"{number}.pt", weights_only=True)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


class Tiny(nn.Module):
    """A convolution of three channels whose mean knows how bright a view is."""

    feature_dim = 12

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 12, 3), BatchNorm2d(12), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x).mean((2, 3))


def unexplained(terms: str) -> float:
    """Train on brightness alone; the share of its difference that features do not tell after."""
    torch.manual_seed(0)
    settings = SimSiamSettings(out_dim=16, predictor_dim=8, projector_layers=2)
    method = SimSiam(Tiny(), settings)
    add_terms(method, read_terms(terms), POLICY)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1, momentum=0.9)
    for step in range(60):
        optimizer.zero_grad()
        method(make_views(batch_size=32, seed=step), START).loss.backward()
        optimizer.step()
    rows, told = [], []
    for seed in range(1000, 1008):
        views = make_views(batch_size=32, seed=seed)
        with torch.no_grad():
            y = forward_views(method.backbone, views.crops[0], per_view=False)
        rows.append(torch.cat([y[0], y[1], torch.ones(32, 1)], 1))
        told.append(torch.from_numpy(views.plan.brightness[:, 0] - views.plan.brightness[:, 1]))
    x, target = torch.cat(rows).double(), torch.cat(told).double()
    half = len(x) // 2
    solved = torch.linalg.lstsq(x[:half], target[:half, None]).solution
    error = (x[half:] @ solved)[:, 0] - target[half:]
    return (error.square().mean() / target[half:].var()).item()


def test_features_keep_what_the_method_would_forget() -> None:
    """A linear fit on SimSiam's features tells the brightness of views better with the term."""
    alone, helped = unexplained(""), unexplained("augself")
    assert math.isfinite(alone)
    assert helped < 0.7 * alone, (alone, helped)


@pytest.mark.parametrize("op", ["vflip", "rotate90"])
def test_turned_views_are_refused(op: str) -> None:
    """What a turned view shows lies elsewhere than the window says."""
    with pytest.raises(UsageError, match=r"left to right at most, got .*leave policy.vflip and"):
        AugSelf(ALL, 5, override_policy(POLICY, {op: 0.5}))
