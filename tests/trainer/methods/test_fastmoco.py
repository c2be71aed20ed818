"""Fast-MoCo against its code, patch by patch."""

import copy
from itertools import combinations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from shards.errors import UsageError
from trainer.methods.fastmoco import FastMoCo, Settings, averages, quarters
from trainer.methods.protocol import Progress
from trainer.nets.batchnorm import BatchNorm1d

HALF_WAY = Progress(50, 100, 10)
OWN = torch.arange(16)


def toy(make_backbone, **changes: object) -> FastMoCo:
    backbone = make_backbone()
    torch.manual_seed(1)
    values = {"hidden_dim": 32, "out_dim": 12, "predictor_dim": 8, "temperature": 0.3, **changes}
    method = FastMoCo(backbone, Settings(**values))
    with torch.no_grad():  # keys of another network, as after some steps
        for p in (*method.key_backbone.parameters(), *method.key_projector.parameters()):
            p.mul_(0.7)
    return method


def predictions(method: FastMoCo, x: torch.Tensor, combined: int) -> list[torch.Tensor]:
    """Of a view: four patches in one forward, all choices of them in another."""
    top, bottom = x[..., :4, :], x[..., 4:, :]
    patches = torch.cat([top[..., :4], bottom[..., :4], top[..., 4:], bottom[..., 4:]])
    features = method.backbone(patches).chunk(4)
    chosen = [sum(some) / combined for some in combinations(features, combined)]
    return list(method.predictor(method.projector(torch.cat(chosen))).chunk(len(chosen)))


def ask(p: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(F.normalize(p, dim=1) @ F.normalize(k, dim=1).T / 0.3, OWN)


@pytest.mark.parametrize(("combined", "num_choices"), [(1, 4), (2, 6), (3, 4), (4, 1)])
def test_two_views_are_the_codes_forwards(
    combined: int, num_choices: int, make_backbone, make_views
) -> None:
    """Loss and gradients: every choice of one view finds the other view's key, and none else."""
    method, views = toy(make_backbone, combined=combined), make_views()
    twin = copy.deepcopy(method)
    x1, x2 = views.crops[0]
    p1, p2 = predictions(twin, x1, combined), predictions(twin, x2, combined)
    k1, k2 = (twin.key_projector(twin.key_backbone(x)).detach() for x in (x1, x2))
    losses = [ask(p, k2) for p in p1] + [ask(p, k1) for p in p2]
    assert len(losses) == 2 * num_choices
    theirs = torch.stack(losses).mean()
    ours = method.step(views, HALF_WAY).loss
    torch.testing.assert_close(ours, theirs)
    ours.backward()
    theirs.backward()
    for (name, p), q in zip(method.named_parameters(), twin.parameters(), strict=True):
        if p.requires_grad:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-5, msg=name)
        else:
            assert p.grad is None, name
    for a, b in zip(method.key_backbone.buffers(), twin.key_backbone.buffers(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_local_view_asks_as_it_is(make_backbone, make_views) -> None:
    """2+2: a local view is one of the views, uncut, and weighs as much as a global one."""
    method, views = toy(make_backbone), make_views((2, 2))
    twin = copy.deepcopy(method)
    (x1, x2), local = views.crops
    k = [twin.key_projector(twin.key_backbone(x)).detach() for x in (x1, x2)]
    pairs = []
    for v, x in enumerate((x1, x2)):
        pairs.append(torch.stack([ask(p, k[1 - v]) for p in predictions(twin, x, 2)]).mean())
    for x in local:
        p = twin.predictor(twin.projector(twin.backbone(x)))
        pairs += [ask(p, key) for key in k]
    torch.testing.assert_close(method.step(views, HALF_WAY).loss, torch.stack(pairs).mean())


def test_quarters_and_their_averages() -> None:
    """Left column first; choices in the order of combinations; images stay in theirs."""
    image = torch.arange(16.0).reshape(1, 1, 1, 4, 4)
    crops = torch.cat([image, image + 100], dim=1)  # two images of one view
    patches = quarters(crops)
    assert patches.shape == (1, 8, 1, 2, 2)
    corners = [0, 100, 8, 108, 2, 102, 10, 110]
    assert patches[0, :, 0, 0, 0].tolist() == corners
    means = averages(patches[..., 0, 0], 2)  # corners as features
    first = torch.tensor([0.0, 8, 2, 10])
    expected = [(a + b) / 2 for a, b in combinations(first.tolist(), 2)]
    assert means[0, ::2, 0].tolist() == expected
    assert means[0, 1::2, 0].tolist() == [x + 100 for x in expected]


def test_keys_follow_at_a_constant_rate(make_backbone) -> None:
    """after_step: 0.99 old + 0.01 new, at the end of a run too."""
    method = toy(make_backbone)
    for progress in (HALF_WAY, Progress(100, 100, 10)):
        old, new = method.key_projector[0].weight.clone(), method.projector[0].weight
        method.after_step(progress)
        torch.testing.assert_close(method.key_projector[0].weight, 0.99 * old + 0.01 * new)


def test_heads_are_the_codes(make_backbone) -> None:
    """Batch norm of scale and shift after all three layers; a predictor at a constant rate."""
    method = toy(make_backbone)
    kinds = [type(x).__name__ for x in method.projector]
    assert kinds == [*["Linear", "BatchNorm1d", "ReLU"] * 2, "Linear", "BatchNorm1d"]
    norms = [x for x in method.projector if isinstance(x, BatchNorm1d)]
    assert all(x.weight.requires_grad and x.bias.requires_grad for x in norms)
    assert all(x.bias is not None for x in method.projector if isinstance(x, nn.Linear))
    assert [type(x).__name__ for x in method.predictor] == [
        "Linear",
        "BatchNorm1d",
        "ReLU",
        "Linear",
    ]
    assert FastMoCo.constant_lr == ("predictor",)


def test_the_sides_of_patches_are_known_before_the_run() -> None:
    """Of the global views; an odd side is one line."""
    assert FastMoCo.seen_sizes((64, 32)) == (64, 32, 32)
    with pytest.raises(UsageError, match="even side, got 33; try --sizes with 34"):
        FastMoCo.seen_sizes((33,))


def test_wrong_settings_are_named() -> None:
    """More patches than there are, or none."""
    with pytest.raises(UsageError, match="fastmoco combined is at most 4, got 5"):
        Settings(combined=5)
    with pytest.raises(UsageError, match="fastmoco combined is at least 1, got 0"):
        Settings(combined=0)
