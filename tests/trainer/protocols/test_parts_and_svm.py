"""Parts of the labels, the held-out part, and the SVM against its optimum."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from trainer.protocols.corruption_kinds import corruption_library
from trainer.protocols.semi_subset import balanced_subset
from trainer.protocols.svm_solver import fit_svm
from trainer.protocols.sweep_part import best, held_out_part

LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 7], [400, 300, 200, 100]))


@pytest.mark.parametrize(("share", "counts"), [(0.01, {2, 3}), (0.1, {25}), (0.001, {1})])
def test_a_part_is_balanced_and_exact(share: float, counts: set[int]) -> None:
    """share x N images, equal numbers of each class whatever its size, at least one; ascending."""
    part = balanced_subset(LABELS, share, 0)
    assert set(np.unique(LABELS[part], return_counts=True)[1].tolist()) == counts
    assert len(part) == max(4, round(share * len(LABELS)))
    assert (np.diff(part) > 0).all()


def test_parts_are_nested_follow_the_seed_and_leave_the_rest() -> None:
    """1 % is in 10 %; another seed draws others; no image is in the part and in the rest."""
    small, large = (set(balanced_subset(LABELS, share, 5).tolist()) for share in (0.01, 0.1))
    assert small < large
    assert large == set(balanced_subset(LABELS, 0.1, 5).tolist())
    assert large != set(balanced_subset(LABELS, 0.1, 6).tolist())
    assert len(set(range(len(LABELS))) - large) == 900


def test_the_held_out_part_and_the_fitted_one_are_all() -> None:
    """A tenth of each class, one of a class with two, none of a class with one."""
    labels = np.array([0] * 50 + [1] * 2 + [2])
    fitted, held_out = held_out_part(labels, 0)
    assert np.array_equal(np.sort(np.concatenate([fitted, held_out])), np.arange(53))
    assert np.bincount(labels[held_out], minlength=3).tolist() == [5, 1, 0]


def test_the_best_is_the_first_of_equals_and_never_what_diverged() -> None:
    """NaN loses to anything."""
    assert best({"a": float("nan"), "b": 0.5, "c": 0.5}) == "b"


@pytest.mark.parametrize("cost", [0.01, 1.0, 100.0])
def test_the_svm_is_liblinears(cost: float) -> None:
    """The same maps as scikit-learn's solver of the same problem; the gap says so itself."""
    svm = pytest.importorskip("sklearn.svm", reason="scikit-learn is not installed")
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    noise = torch.randn(90, 8, generator=generator, dtype=torch.float64)
    features = F.normalize(noise + 1.5 * F.one_hot(labels, 8), dim=1)
    ours = fit_svm(features, labels, 3, cost, tolerance=1e-9)
    assert 0 <= ours.gap + 1e-12 < 1e-8
    theirs = svm.LinearSVC(C=cost, dual=False, tol=1e-10, max_iter=100_000)
    theirs.fit(features.numpy(), labels.numpy())
    assert np.allclose(ours.weight.numpy(), theirs.coef_, atol=1e-3)
    assert np.allclose(ours.bias.numpy(), theirs.intercept_, atol=1e-3)
    assert np.array_equal(ours.predict(features).numpy(), theirs.predict(features.numpy()))


@pytest.mark.parametrize("kind", ["gaussian_noise", "impulse_noise", "motion_blur"])
def test_a_corruption_is_drawn_by_seed_and_image(kind: str) -> None:
    """The same bits again, others for another seed or image; numpy's own state stays."""
    pytest.importorskip("imagecorruptions", reason="imagecorruptions is not installed")
    corrupt = corruption_library(32)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first = corrupt(image, kind, 3, 0, 5)
    assert np.array_equal(first, corrupt(image, kind, 3, 0, 5))
    assert not np.array_equal(first, corrupt(image, kind, 3, 1, 5))
    assert not np.array_equal(first, corrupt(image, kind, 3, 0, 6))
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002
