"""ReLIC's losses against loops written from the equation in float64."""

import math

import pytest
import torch

from trainer.losses.relic import offsets_of_step, relic_losses

NUM_IMAGES, TEMPERATURE = 6, 0.3


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distribution(asking: torch.Tensor, shown: list[torch.Tensor]) -> torch.Tensor:
    """The softmax over the images that are shown, the own one first."""
    exps = [torch.exp(asking @ x / (asking.norm() * x.norm() * TEMPERATURE)) for x in shown]
    return torch.stack(exps) / sum(exps[1:], exps[0])


def naive(
    online: torch.Tensor, target: torch.Tensor, own_view: bool, offsets: list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums over images, pairs of views, and pairs of these pairs; q is held still."""
    pairs = [(v, g) for v in range(len(online)) for g in range(len(target)) if v != g or own_view]
    contrast, invariance = [], []
    for b in range(NUM_IMAGES):
        found = []
        for v, g in pairs:
            shown = [target[g, (b + offset) % NUM_IMAGES] for offset in offsets]
            found.append(distribution(online[v, b], shown))
        contrast += [-p[0].log() for p in found]
        for i, q in enumerate(found):
            for j, r in enumerate(found):
                if i != j:
                    invariance.append((q.detach() * (q.detach() / r).log()).sum())
    return torch.stack(contrast).mean(), torch.stack(invariance).mean()


@pytest.mark.parametrize(("num_views", "num_targets"), [(2, 2), (6, 4), (8, 2), (3, 3)])
@pytest.mark.parametrize("own_view", [False, True])
@pytest.mark.parametrize("num_negatives", [None, 2])
def test_they_are_the_equation(
    num_views: int, num_targets: int, own_view: bool, num_negatives: int | None
) -> None:
    """Both values and both gradients, of all images and of a few."""
    online = rows(num_views, NUM_IMAGES, 5).requires_grad_()
    target = rows(num_targets, NUM_IMAGES, 5, seed=1)
    offsets, shown = None, list(range(NUM_IMAGES))
    if num_negatives is not None:
        offsets = offsets_of_step(3, NUM_IMAGES, num_negatives)
        shown = offsets.tolist()
    ours = relic_losses(online, target, TEMPERATURE, own_view=own_view, offsets=offsets)
    theirs = naive(online, target, own_view, shown)
    for mine, loop in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, loop, rtol=1e-11, atol=1e-13)
        (a,), (b,) = (torch.autograd.grad(x, online, retain_graph=True) for x in (mine, loop))
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_one_value() -> None:
    """Two images, two views, T = 1: scores (1, 0), but of image 0 by the second view (0, 1).

    p = e / (1 + e): contrast is -(3 log p + log(1 - p)) / 4, and the divergence of image 0 is
    p log(p / (1 - p)) + (1 - p) log((1 - p) / p) = 2 p - 1, of image 1 zero.
    """
    a, b = [1.0, 0.0], [0.0, 1.0]
    target = torch.tensor([[a, b], [a, b]])
    online = torch.tensor([[a, b], [b, b]])
    p = math.e / (1 + math.e)
    contrast, invariance = relic_losses(online, target, 1.0)
    assert contrast.item() == pytest.approx(-(3 * math.log(p) + math.log(1 - p)) / 4)
    assert invariance.item() == pytest.approx((2 * p - 1) / 2, rel=1e-6)


def test_equal_rows_tell_nothing() -> None:
    """Ln M, and no divergence."""
    same = torch.ones(3, 8, 4)
    for offsets, candidates in ((None, 8), (offsets_of_step(0, 8, 3), 4)):
        contrast, invariance = relic_losses(same, same[:2], 0.1, offsets=offsets)
        assert contrast.item() == pytest.approx(math.log(candidates), rel=1e-6)
        assert invariance.item() == pytest.approx(0, abs=1e-6)


def test_offsets_are_the_steps() -> None:
    """The own image first, others once each and all of them possible; another draw a step."""
    draws = [offsets_of_step(step, 9, 4).tolist() for step in range(200)]
    assert all(draw[0] == 0 and len(set(draw)) == 5 for draw in draws)
    assert {offset for draw in draws for offset in draw} == set(range(9))
    assert draws[7] == offsets_of_step(7, 9, 4).tolist()
    assert draws[7] != draws[8]


def test_half_inputs_are_computed_in_float32() -> None:
    """Under autocast too."""
    online, target = rows(2, 8, 16).to(torch.bfloat16), rows(2, 8, 16, seed=1).to(torch.bfloat16)
    expected = relic_losses(online.float(), target.float(), 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        found = relic_losses(online, target, 0.1)
    for mine, full in zip(found, expected, strict=True):
        assert mine.dtype == torch.float32
        assert torch.equal(mine, full)
