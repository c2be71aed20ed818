"""The label-free measures are their equations, have known values, and never are no number."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch

from shards.errors import DataError
from trainer.eval.fixed_part import measures
from trainer.eval.label_free import alignment, alpha_req, lidar, rankme, uniformity


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthogonal(width: int) -> torch.Tensor:
    return torch.linalg.qr(noise(width, width, seed=9))[0]


def spectrum(variances: torch.Tensor, num_images: int) -> torch.Tensor:
    """Features [N, D] whose covariance has exactly these eigenvalues, up to a factor; N > D."""
    z = noise(num_images, len(variances))
    basis = torch.linalg.qr(z - z.mean(dim=0))[0]
    return basis * variances.sqrt() @ orthogonal(len(variances))


def perplexity(values: np.ndarray) -> float:
    shares = [x / sum(values) + 1e-7 for x in values]
    return math.exp(-sum(x * math.log(x) for x in shares))


def test_rankme_is_its_equation() -> None:
    """Entropy of the singular values as they are, in plain code."""
    z = noise(7, 5) + 2
    s = np.sqrt(np.clip(np.linalg.eigvalsh((z.T @ z).numpy()), 0, None))
    assert rankme(z) == pytest.approx(perplexity(s), rel=1e-9)


def test_alpha_is_its_equation() -> None:
    """Weighted least squares over ranks 11 to 100 of the covariance's eigenvalues."""
    z = noise(300, 120) * torch.arange(1, 121) ** -0.7 + 3
    e = np.sort(np.linalg.eigvalsh(np.cov(z.numpy().T)))[::-1]
    ranks = range(11, 101)
    w, x = [1 / r for r in ranks], [math.log(r) for r in ranks]
    y = [math.log(e[r - 1]) for r in ranks]
    mx = sum(a * b for a, b in zip(w, x, strict=True)) / sum(w)
    my = sum(a * b for a, b in zip(w, y, strict=True)) / sum(w)
    top = sum(a * (b - mx) * (c - my) for a, b, c in zip(w, x, y, strict=True))
    slope = top / sum(a * (b - mx) ** 2 for a, b in zip(w, x, strict=True))
    assert alpha_req(z) == pytest.approx(-slope, rel=1e-9)


@pytest.mark.parametrize(("images", "width"), [(9, 4), (4, 9)])
def test_lidar_is_its_equation(images: int, width: int) -> None:
    """Scatter by loops, W^-1 B's eigenvalues, both deltas; more images than D, or less."""
    views = noise(images, 1, width) + 0.3 * noise(images, 3, width, seed=1) + 5
    z = views.numpy()
    m = [z[i].mean(axis=0) for i in range(images)]
    between, within = np.zeros((width, width)), np.zeros((width, width))
    for i in range(images):
        between += np.outer(m[i] - np.mean(m, axis=0), m[i] - np.mean(m, axis=0)) / images
        for v in range(3):
            within += np.outer(z[i, v] - m[i], z[i, v] - m[i]) / (images * 3)
    for delta in (None, 0.01):
        added = 1e-4 * np.trace(within) / width if delta is None else delta
        e = np.linalg.eigvals(np.linalg.solve(within + added * np.eye(width), between)).real
        expected = perplexity(np.clip(e, 0, None))
        assert lidar(views, delta) == pytest.approx(expected, rel=1e-6)


def test_alignment_and_uniformity_are_their_equations() -> None:
    """Loops over pairs of unit rows."""
    z, views = noise(6, 3), noise(4, 3, 5)

    def distance(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(((a / a.norm() - b / b.norm()) ** 2).sum())

    kernel = [math.exp(-2 * distance(a, b)) for a, b in combinations(z, 2)]
    assert uniformity(z) == pytest.approx(math.log(sum(kernel) / len(kernel)), rel=1e-9)
    pairs = [distance(a, b) for image in views for a, b in combinations(image, 2)]
    assert alignment(views) == pytest.approx(sum(pairs) / len(pairs), rel=1e-9)


def test_known_spectra() -> None:
    """A white cloud uses all directions, a line one, a power law has its slope."""
    white = spectrum(torch.ones(40, dtype=torch.float64), 200)
    assert rankme(white) == pytest.approx(40, rel=1e-4)
    assert alpha_req(white) == pytest.approx(0, abs=1e-6)
    line = noise(50, 1) @ noise(1, 40, seed=2)
    assert rankme(line) == pytest.approx(1, rel=1e-3)
    assert alpha_req(line) is None
    for slope in (0.5, 1.0, 2.0):
        for width in (5, 19, 20, 150):  # fitted over all ranks, over 11 on, over 11 to 100
            power = torch.arange(1, width + 1, dtype=torch.float64) ** -slope
            assert alpha_req(spectrum(power, 400)) == pytest.approx(slope, rel=1e-6)
    # Beyond rank 100 and before rank 11 nothing counts.
    power = torch.arange(1, 151, dtype=torch.float64) ** -1.0
    power[:10], power[100:] = 7.0, 1e-4
    assert alpha_req(spectrum(power, 400)) == pytest.approx(1.0, rel=1e-6)


def test_lidar_counts_what_views_do_not_share() -> None:
    """A direction in which views of an image differ as much as images do counts for little."""
    images, views = noise(400, 1, 6), noise(400, 8, 6, seed=3)
    even = lidar(images + 0.1 * views)
    noisy = torch.ones(6)
    noisy[3:] = 30
    assert even == pytest.approx(6, rel=0.02)
    assert lidar(images + 0.1 * views * noisy) == pytest.approx(3, rel=0.03)
    assert rankme((images + 0.1 * views * noisy).flatten(0, 1)) > 4  # which cannot tell


def test_rotated_and_scaled_features_have_the_same_measures() -> None:
    """Nothing depends on the axes or on the unit; LiDAR's delta neither."""
    z, views = noise(60, 30) + 1, noise(20, 1, 30) + 0.4 * noise(20, 4, 30, seed=1)
    expected = measures(z, views)
    for factor in (1e-6, 1.0, 1e6):
        turn = factor * orthogonal(30)
        assert measures(z @ turn, views @ turn) == pytest.approx(expected, rel=1e-7)


def test_float32_features_have_the_measures_of_float64() -> None:
    """Nothing is computed in their own precision."""
    z, views = noise(40, 16).float(), noise(20, 4, 16, seed=1).float()
    assert measures(z, views) == measures(z.double(), views.double())


@pytest.mark.parametrize("images", [2, 5])
@pytest.mark.parametrize("kind", ["noise", "zero", "constant", "same views", "same images"])
def test_poor_features_have_finite_measures(images: int, kind: str) -> None:
    """Fewer images than features, two images, and collapsed encoders: stated values, never NaN."""
    z, views = noise(images, 8).float(), noise(images, 3, 8).float()
    if kind == "zero":
        z, views = 0 * z, 0 * views
    elif kind == "constant":
        z, views = z[:1].expand(images, 8), views[:1, :1].expand(images, 3, 8)
    elif kind == "same views":
        views = views[:, :1].expand(images, 3, 8)
    elif kind == "same images":
        views = views[:1].expand(images, 3, 8)
    found = measures(z, views)
    assert all(math.isfinite(value) for value in found.values())
    assert 1 - 1e-3 <= found["rankme"] <= images + 1e-3
    assert 1 - 1e-3 <= found["lidar"] <= images - 1 + 1e-3
    if kind in ("zero", "constant"):
        assert found == pytest.approx(
            {"rankme": 1, "lidar": 1, "alignment": 0, "uniformity": 0}, abs=1e-4
        )
    if kind == "same images":
        assert found["lidar"] == 1
    if kind == "same views":
        assert found["alignment"] == pytest.approx(0, abs=1e-12)


def test_ends_of_the_ranges() -> None:
    """Opposite views lie 4 apart, opposite images have -8, an even sphere about -4."""
    ends = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert alignment(ends[None].repeat(2, 1, 1)) == pytest.approx(4)
    assert uniformity(ends) == pytest.approx(-8)
    assert uniformity(noise(500, 300)) == pytest.approx(-4, abs=0.1)


def test_unusable_features_are_one_line() -> None:
    """NaN, infinity and a single image are refused with what to do."""
    for odd in (math.nan, math.inf):
        z = noise(4, 3)
        z[1, 2] = odd
        for measure in (rankme, alpha_req, uniformity):
            with pytest.raises(DataError, match=r"finite features, got .* 1 of 12 .*; look at"):
                measure(z)
    for measure in (rankme, alpha_req, uniformity):
        with pytest.raises(DataError, match="two images"):
            measure(noise(1, 3))
    for measure in (lidar, alignment):
        with pytest.raises(DataError, match="two views of each"):
            measure(noise(4, 1, 3))
