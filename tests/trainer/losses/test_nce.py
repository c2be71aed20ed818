"""NCE and InfoNCE over a bank against loops written from their equations in float64."""

import math

import pytest
import torch

from trainer.losses.nce import bank_scores, estimate_log_z, info_nce_loss, nce_loss

NUM_IMAGES = 23


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x / x.norm(dim=-1, keepdim=True)


def example(num_negatives: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Three views of four images, and a bank's rows for each image."""
    return unit(3, 4, 7), unit(4, 1 + num_negatives, 7, seed=1)


def naive_nce(v: torch.Tensor, rows: torch.Tensor, temperature: float, z: float) -> torch.Tensor:
    """Probabilities, quotients and logarithms as the paper writes them."""
    total, noise = torch.zeros((), dtype=torch.float64), (rows.shape[1] - 1) / NUM_IMAGES
    for view in v:
        for b in range(view.shape[0]):
            for j in range(rows.shape[1]):
                p = (view[b] @ rows[b, j] / temperature).exp() / z
                h = p / (p + noise)
                total = total - (h if j == 0 else 1 - h).log() / v[..., 0].numel()
    return total


@pytest.mark.parametrize("num_negatives", [1, 5, 12])
@pytest.mark.parametrize("temperature", [0.07, 0.5, 5.0])
def test_nce_is_the_papers(num_negatives: int, temperature: float) -> None:
    """Value and the gradient of the features equal the loops, at odd sizes."""
    v, rows = example(num_negatives)
    v.requires_grad_()
    z = 37.5
    scores = bank_scores(v, rows, temperature)
    ours = nce_loss(scores, torch.tensor(z, dtype=torch.float64).log(), NUM_IMAGES)
    loops = naive_nce(v, rows, temperature, z)
    torch.testing.assert_close(ours, loops, rtol=1e-11, atol=1e-11)
    (mine,), (theirs,) = torch.autograd.grad(ours, v), torch.autograd.grad(loops, v)
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("num_negatives", [1, 12])
def test_info_nce_is_the_papers(num_negatives: int) -> None:
    """Value and gradient equal -log of the softmax of the image's own row among all candidates."""
    v, rows = example(num_negatives)
    v.requires_grad_()
    ours = info_nce_loss(bank_scores(v, rows, 0.07))
    terms = []
    for view in v:
        for b in range(4):
            e = torch.stack([(view[b] @ row / 0.07).exp() for row in rows[b]])
            terms.append(-(e[0] / e.sum()).log())
    loops = torch.stack(terms).mean()
    torch.testing.assert_close(ours, loops, rtol=1e-11, atol=1e-11)
    (mine,), (theirs,) = torch.autograd.grad(ours, v), torch.autograd.grad(loops, v)
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-11)


def test_log_z_is_n_times_the_mean() -> None:
    """Z = N mean(exp(scores)) over all entries of the batch, in the log domain."""
    scores = 3 * unit(3, 4, 6)
    expected = (NUM_IMAGES * scores.exp().mean()).log()
    torch.testing.assert_close(estimate_log_z(scores, NUM_IMAGES), expected)
    far = estimate_log_z(scores + 1000, NUM_IMAGES)
    torch.testing.assert_close(far, expected + 1000)


@pytest.mark.parametrize("num_negatives", [1, 4096])
def test_start_values(num_negatives: int) -> None:
    """All scores equal, Z from them: ln(1+M) + M ln(1 + 1/M), 9.318 at M = 4096; ln(1+M)."""
    scores = torch.full((2, 3, 1 + num_negatives), 0.3)
    m, log_z = num_negatives, estimate_log_z(torch.full((2,), 0.3), 1_281_167)
    loss = nce_loss(scores, log_z, 1_281_167)
    assert loss.item() == pytest.approx(math.log(1 + m) + m * math.log1p(1 / m), rel=1e-4)
    assert info_nce_loss(scores).item() == pytest.approx(math.log(1 + m), rel=1e-5)


def test_many_negatives_approach_the_full_softmax() -> None:
    """The gradient of NCE with many draws and the true Z is that of the softmax over the bank."""
    bank, v = unit(NUM_IMAGES, 7, seed=1), unit(1, 1, 7, seed=2).requires_grad_()
    full = bank_scores(v, bank, 0.5)[0, 0]
    exact = full.logsumexp(0) - full[4]
    draws = torch.randint(NUM_IMAGES, (1, 400_000), generator=torch.Generator().manual_seed(0))
    candidates = torch.cat([torch.tensor([[4]]), draws], dim=1)
    scores = bank_scores(v, bank[candidates], 0.5)
    nce = nce_loss(scores, full.detach().logsumexp(0), NUM_IMAGES)
    (mine,), (theirs,) = torch.autograd.grad(nce, v), torch.autograd.grad(exact, v)
    assert (mine - theirs).norm() < 0.02 * theirs.norm()


@pytest.mark.parametrize("temperature", [1e-3, 100.0])
def test_temperature_extremes_stay_finite(temperature: float) -> None:
    """Scores of +-1000 or +-0.01, Z from them: finite losses and gradients in float32."""
    v, rows = (x.float() for x in example())
    v.requires_grad_()
    scores = bank_scores(v, rows, temperature)
    log_z = estimate_log_z(scores, NUM_IMAGES)
    for loss in (nce_loss(scores, log_z, NUM_IMAGES), info_nce_loss(scores)):
        (grad,) = torch.autograd.grad(loss, v, retain_graph=True)
        assert loss.isfinite()
        assert grad.isfinite().all()


def test_zero_and_duplicate_rows() -> None:
    """A row of zeros scores 0; the image itself among its noise counts as noise like any other."""
    v, rows = example()
    rows[0, 2] = 0
    rows[1, 3] = rows[1, 0]
    scores = bank_scores(v, rows, 0.1)
    assert (scores[:, 0, 2] == 0).all()
    assert torch.equal(scores[:, 1, 3], scores[:, 1, 0])
    z = 50.0
    loss = nce_loss(scores, torch.tensor(z, dtype=torch.float64).log(), NUM_IMAGES)
    torch.testing.assert_close(loss, naive_nce(v, rows, 0.1, z), rtol=1e-10, atol=1e-10)


def test_scores_do_not_lose_bits_under_autocast() -> None:
    """Under bf16 autocast the scores are the float32 ones, over drawn rows and over the bank."""
    v, rows = (x.float() for x in example())
    for candidates in (rows, rows[0]):
        with torch.autocast("cpu", torch.bfloat16):
            scores = bank_scores(v, candidates, 0.07)
        assert scores.dtype == torch.float32
        assert torch.equal(scores, bank_scores(v, candidates, 0.07))


def test_scores_of_the_whole_bank() -> None:
    """[N, D] rows are every image's candidates."""
    v, bank = unit(2, 3, 5), unit(9, 5, seed=1)
    scores = bank_scores(v, bank, 0.2)
    torch.testing.assert_close(scores[1, 2, 8], v[1, 2] @ bank[8] / 0.2)
    assert scores.shape == (2, 3, 9)
