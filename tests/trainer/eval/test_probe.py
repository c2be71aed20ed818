"""The linear probe finds what is linear, at any scale, and reaches scikit-learn's optimum."""

import numpy as np
import pytest
import torch

from trainer.eval.features import raw_pixels
from trainer.eval.probe import STRENGTHS, fit, linear_probe


def linear_problem(n: int, seed: int, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Features whose class is the largest of three linear maps, and four dimensions of noise."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, 10, generator=generator)
    maps = torch.randn(3, 10, generator=torch.Generator().manual_seed(5))
    return scale * features + 7 * scale, (features @ maps.T).argmax(dim=1)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_finds_a_linear_rule_at_any_scale(scale: float) -> None:
    """Standardisation makes one setting fit features of every size and offset."""
    result = linear_probe(*linear_problem(800, 0, scale), *linear_problem(400, 1, scale))
    assert result.accuracy > 0.93
    assert result.l2 in STRENGTHS


def test_noise_scores_chance() -> None:
    """Labels that no feature knows are not found, and a strong L2 is chosen for them."""
    generator = torch.Generator().manual_seed(3)
    train, test = (
        torch.randn(400, 20, generator=generator),
        torch.randn(2000, 20, generator=generator),
    )
    labels = torch.randint(4, (2400,), generator=generator)
    result = linear_probe(train, labels[:400], test, labels[400:])
    assert result.accuracy == pytest.approx(0.25, abs=0.05)
    assert result.l2 >= 1e-2


def test_is_the_optimum_that_sklearn_finds() -> None:
    """The fit reaches scikit-learn's minimum of the same convex loss."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    features, labels = linear_problem(300, 0)
    features = (features - features.mean(0)) / features.std(0)
    l2 = 1e-2
    weight, bias = fit(features, labels, 3, l2)
    reference = linear_model.LogisticRegression(C=1 / (l2 * 300), tol=1e-8, max_iter=1000)
    reference.fit(features.double().numpy(), labels.numpy())

    def loss(weight: np.ndarray, bias: np.ndarray) -> float:
        logits = features.double() @ torch.as_tensor(weight).double().T + torch.as_tensor(bias)
        entropy = torch.nn.functional.cross_entropy(logits, labels)
        return float(entropy + l2 / 2 * torch.as_tensor(weight).double().square().sum())

    assert loss(weight.numpy(), bias.numpy()) <= loss(reference.coef_, reference.intercept_) + 1e-5


def test_a_constant_feature_does_no_harm() -> None:
    """A dimension without spread is ignored, not divided by zero."""
    train, labels = linear_problem(400, 0)
    test, test_labels = linear_problem(200, 1)
    train[:, 0] = test[:, 0] = 3.0
    test[0, 0] = 3.1
    result = linear_probe(train, labels, test, test_labels)
    assert result.accuracy > 0.6


def test_is_deterministic() -> None:
    """The same features give the same number."""
    sets = (*linear_problem(200, 0), *linear_problem(100, 1))
    assert linear_probe(*sets) == linear_probe(*sets)


def test_classes_may_have_any_numbers() -> None:
    """Ids of something are fitted as 0, 1, 2 are; one class alone is known at once."""
    (train, labels), (test, test_labels) = linear_problem(300, 0), linear_problem(100, 1)
    ids = torch.tensor([7, 90, 2_000_000_000])
    result = linear_probe(train, ids[labels], test, ids[test_labels])
    assert result == linear_probe(train, labels, test, test_labels)
    one = torch.full((3,), 4)
    assert linear_probe(train[:3], one, test[:3], one).accuracy == 1.0


def test_fits_from_elsewhere_reach_the_same_optimum() -> None:
    """A start near a stronger L2's optimum saves iterations and changes no result."""
    features, labels = linear_problem(300, 0)
    features = (features - features.mean(0)) / features.std(0)
    looks: list[int] = []

    def look(iterations: int) -> bool:
        looks.append(iterations)
        return False

    cold = fit(features, labels, 3, 1e-2, look=look)
    num_cold = len(looks)
    near = fit(features, labels, 3, 2e-2)
    warm = fit(features, labels, 3, 1e-2, start=near, look=look)
    assert len(looks) - num_cold <= num_cold
    for one, other in zip(cold, warm, strict=True):
        torch.testing.assert_close(one, other, atol=0.02, rtol=0.05)


def test_a_probe_ends_by_its_time() -> None:
    """Ten iterations a fit at the least: a score all the same, marked as cut."""
    sets = (*linear_problem(400, 0), *linear_problem(200, 1))
    told: list[float] = []
    cut = linear_probe(*sets, seconds=1e-9, on_look=told.append)
    assert cut.is_cut
    assert cut.l2 == max(STRENGTHS)  # no weaker one was tried
    assert cut.accuracy > 0.8
    assert told == sorted(told)
    assert not linear_probe(*sets).is_cut


def test_raw_pixels_are_at_most_16_px() -> None:
    """Means of equal parts of a large image; a small one as it is."""
    images = torch.randn(2, 3, 64, 64)
    assert raw_pixels(images).shape == (2, 768)
    assert raw_pixels(images)[0, 0] == pytest.approx(images[0, 0, :4, :4].mean().item(), abs=1e-6)
    assert torch.equal(raw_pixels(images[..., :8, :8]), images[..., :8, :8].flatten(1))
