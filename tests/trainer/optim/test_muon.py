"""Muon against its rule written by hand, against torch's where there is one, and what it leaves."""

import pytest
import torch
from torch import nn

from trainer.methods.protocol import Method
from trainer.optim.create_optimizer import OptimSettings, build_optimizer
from trainer.optim.muon import Muon, muon_update, orthogonal

RULE = {"lr": 0.3, "momentum": 0.9, "weight_decay": 0.05}


def quintic(values: torch.Tensor) -> torch.Tensor:
    """The authors' polynomial, five times over, of singular values."""
    x = values / (values.square().sum().sqrt() + 1e-7)
    for _ in range(5):
        x = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
    return x


def by_svd(matrix: torch.Tensor) -> torch.Tensor:
    """The step's direction from singular vectors, in float64."""
    u, s, vh = torch.linalg.svd(matrix.double(), full_matrices=False)
    return u @ torch.diag(quintic(s)) @ vh


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (6, 6), (1, 5), (2, 1)])
def test_singular_vectors_stay_and_values_follow_the_polynomial(shape: tuple[int, int]) -> None:
    """To 1e-10 in float64, for wide, tall and square matrices; nothing of the matrix changes."""
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before = matrix.clone()
    torch.testing.assert_close(orthogonal(matrix), by_svd(matrix), rtol=0, atol=1e-10)
    assert torch.equal(matrix, before)


def test_directions_are_about_equally_long() -> None:
    """Singular values a hundredfold apart come to lie between 0.6 and 1.2; zeros stay zero."""
    generator = torch.Generator().manual_seed(0)
    u, _ = torch.linalg.qr(torch.randn(32, 8, generator=generator))
    v, _ = torch.linalg.qr(torch.randn(8, 8, generator=generator))
    steep = u @ torch.diag(torch.logspace(0, -2, 8)) @ v.T
    values = torch.linalg.svdvals(orthogonal(steep))
    assert 0.6 < values.min() < values.max() < 1.2
    assert torch.equal(orthogonal(torch.zeros(3, 4)), torch.zeros(3, 4))


def test_three_steps_equal_the_rule_by_hand() -> None:
    """Momentum, the look ahead, decoupled decay, and a tall matrix's longer step, in float64."""
    generator = torch.Generator().manual_seed(1)
    shapes = [(12, 3), (3, 12), (8, 2, 3, 3), (30, 1, 2, 2)]

    def draw() -> list[torch.Tensor]:
        return [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]

    params = draw()
    buffers = [torch.zeros(s, dtype=torch.float64) for s in shapes]
    expected = [(p.clone(), m.clone()) for p, m in zip(params, buffers, strict=True)]
    for _ in range(3):
        grads = draw()
        kept = [g.clone() for g in grads]
        for param, grad, buffer in zip(params, grads, buffers, strict=True):
            muon_update(param, grad, buffer, **RULE)
        assert all(torch.equal(g, k) for g, k in zip(grads, kept, strict=True))
        for number, ((p, m), g) in enumerate(zip(expected, grads, strict=True)):
            m = 0.9 * m + 0.1 * g
            step = by_svd((0.1 * g + 0.9 * m).reshape(len(g), -1))
            longer = max(1.0, step.shape[0] / step.shape[1]) ** 0.5
            p = (1 - 0.3 * 0.05) * p - 0.3 * longer * step.reshape(p.shape)
            expected[number] = (p, m)
    for param, buffer, (p, m) in zip(params, buffers, expected, strict=True):
        torch.testing.assert_close(param, p, rtol=0, atol=1e-9)
        torch.testing.assert_close(buffer, m, rtol=0, atol=1e-12)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has Muon from 2.9 on")
def test_matrices_take_torchs_steps() -> None:
    """Ten steps of a tall and a wide matrix, up to torch's bf16: to 2 % of what has moved."""
    ours, theirs = ([nn.Parameter(torch.ones(s)) for s in ((12, 4), (4, 12))] for _ in range(2))
    a = Muon(ours, 0.02, momentum=0.95, weight_decay=0.1)
    b = torch.optim.Muon(theirs, lr=0.02, momentum=0.95, weight_decay=0.1)
    for step in range(10):
        for params in (ours, theirs):
            generator = torch.Generator().manual_seed(step)
            for p in params:
                p.grad = torch.randn(p.shape, generator=generator)
        a.step()
        b.step()
    for p, q in zip(ours, theirs, strict=True):
        assert (p - q).norm() < 0.02 * (q - 1).norm()


def test_vectors_take_sgds_steps() -> None:
    """Biases, norms and what has a single row: torch.optim.SGD's with momentum, bit for bit."""
    shapes = [(7,), (1, 5, 3), ()]
    ours, theirs = ([nn.Parameter(torch.full(s, 2.0)) for s in shapes] for _ in range(2))
    a = Muon(ours, 0.1, momentum=0.9, weight_decay=1e-2)
    b = torch.optim.SGD(theirs, lr=0.1, momentum=0.9, weight_decay=1e-2)
    for step in range(5):
        for params in (ours, theirs):
            generator = torch.Generator().manual_seed(step)
            for p in params:
                p.grad = torch.randn(p.shape, generator=generator)
        a.step()
        b.step()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7)


def test_a_kernel_in_another_memory_order_takes_the_same_step() -> None:
    """channels_last, as every network of a run is, and its momentum stays so."""
    grad = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    ends = []
    for order in (torch.contiguous_format, torch.channels_last):
        p = nn.Parameter(torch.ones(8, 4, 3, 3).to(memory_format=order))
        p.grad = grad.to(memory_format=order)
        optimizer = Muon([p], 0.1)
        optimizer.step()
        assert optimizer.state[p]["momentum_buffer"].is_contiguous(memory_format=order)
        ends.append(p.detach())
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=1e-6)


def test_a_parameter_without_gradient_rests() -> None:
    """No gradient: neither value, not even by decay, nor momentum moves (frozen prototypes)."""
    p, q = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    optimizer = Muon([p, q], 0.1, weight_decay=0.1)
    p.grad = torch.eye(2)
    optimizer.step()
    assert torch.equal(q, torch.ones(2, 2))
    assert q not in optimizer.state
    assert not torch.equal(p, torch.ones(2, 2))


def test_groups_have_rates_of_their_own() -> None:
    """base_lr is of matrices, base_lr_1d of biases and norms, and only matrices decay."""
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4))
    method = Method()
    method.add_module("backbone", backbone)
    settings = OptimSettings(name="muon", base_lr=0.02, base_lr_1d=0.4, weight_decay=0.1)
    groups = {g["name"]: g for g in build_optimizer(method, settings, 256).param_groups}
    assert (groups["weights"]["lr"], groups["1d"]["lr"]) == (0.02, 0.4)
    assert (groups["weights"]["weight_decay"], groups["1d"]["weight_decay"]) == (0.1, 0.0)
