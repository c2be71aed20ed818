"""Cross-entropy with an image's class, for all its views, against a loop in float64."""

import math

import pytest
import torch

from trainer.losses.classes import class_loss


def example(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("temperature", [0.01, 1.0, 50.0])
@pytest.mark.parametrize(("num_views", "heads"), [(1, 1), (5, 3)])
def test_equals_the_equation(num_views: int, heads: int, temperature: float) -> None:
    """Value and gradient equal the mean of -log softmax over views, images and heads."""
    scores = example(num_views, 4, heads, 7).requires_grad_()
    classes = torch.arange(4 * heads).view(4, heads) % 7
    ours = class_loss(scores, classes, temperature)
    terms = []
    for v in range(num_views):
        for b in range(4):
            for h in range(heads):
                s = scores[v, b, h] / temperature
                s = s - s.max()
                terms.append(s.exp().sum().log() - s[classes[b, h]])
    loops = torch.stack(terms).mean()
    torch.testing.assert_close(ours, loops, rtol=1e-11, atol=1e-11)
    (mine,), (theirs,) = torch.autograd.grad(ours, scores), torch.autograd.grad(loops, scores)
    torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("num_classes", [2, 6000])
def test_starts_at_log_k(num_classes: int) -> None:
    """Equal scores cost ln K."""
    loss = class_loss(torch.zeros(3, 2, num_classes), torch.tensor([0, 1]), 0.1)
    assert loss.item() == pytest.approx(math.log(num_classes), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_scores_are_computed_in_float32(dtype: torch.dtype) -> None:
    """Half-precision scores, which would overflow when divided by T, give the float32 loss."""
    scores, classes = (1000 * example(2, 4, 7)).to(dtype), torch.tensor([0, 3, 3, 6])
    loss = class_loss(scores, classes, 0.01)
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert torch.equal(loss, class_loss(scores.float(), classes, 0.01))


def test_images_that_share_a_class() -> None:
    """Duplicate rows and classes cost what one of them costs."""
    scores, classes = example(2, 1, 7), torch.tensor([2])
    twice = class_loss(scores.expand(2, 3, 7), classes.expand(3))
    torch.testing.assert_close(twice, class_loss(scores, classes))
