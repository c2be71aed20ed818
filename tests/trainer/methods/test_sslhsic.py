"""SSL-HSIC against its code, view by view, with the kernel's matrix in numpy."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from shards.errors import UsageError
from trainer.methods.protocol import Progress
from trainer.methods.sslhsic import SSLHSIC, Settings
from trainer.nets.ema import cosine_momentum

HALF_WAY = Progress(50, 100, 10)


@pytest.fixture
def method(make_backbone) -> SSLHSIC:
    backbone = make_backbone()
    torch.manual_seed(1)
    settings = Settings(hidden_dim=32, out_dim=8, momentum=0.9, width=0.8, width_rate=0.05)
    made = SSLHSIC(backbone, settings)
    with torch.no_grad():  # a target unlike the online network, as after some steps
        for p in (*made.target_backbone.parameters(), *made.target_projector.parameters()):
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(3)))
    return made


def hiddens(method: SSLHSIC, crops: tuple[torch.Tensor, ...]) -> list[np.ndarray]:
    """Predictions of every view, projections of the global ones by the target: unit rows."""

    def run(x: torch.Tensor, *networks: nn.Module) -> np.ndarray:
        with torch.no_grad():
            for network in networks:
                x = network(x)
        z = x.double().numpy()
        return z / np.linalg.norm(z, axis=1, keepdims=True)

    online = (method.backbone, method.projector, method.predictor)
    target = (method.target_backbone, method.target_projector)
    p = [run(x, *online) for group in crops for x in group]
    return p + [run(x, *target) for x in crops[0]]


def published_loss(lists: list[np.ndarray], c: float, gamma: float) -> float:
    """The code's sums over features, written with the kernel that the features stand for."""
    k, n = len(lists), len(lists[0])
    rows = np.concatenate(lists)
    d2 = ((rows[:, None] - rows[None]) ** 2).sum(-1)
    gram = c / np.sqrt(c**2 + d2)
    blocks = gram.reshape(k, n, k, n)
    xy = sum(blocks[:, i, :, i].sum() for i in range(n)) / (n * k * (k - 1))
    xy -= gram.sum() / (n * k) ** 2
    centring = np.eye(n * k) - 1 / (n * k)
    xx = ((centring @ gram @ centring) ** 2).sum() / (n * k) ** 2
    return float(gamma * np.sqrt(xx) - xy)


@pytest.mark.parametrize("counts", [(2,), (2, 3), (3, 1)])
def test_views_of_both_networks_make_one_loss(counts, method: SSLHSIC, make_views) -> None:
    """Two views: the code's four lists; more: a list more a prediction, and one a global view."""
    views = make_views(counts)
    lists = hiddens(copy.deepcopy(method), views.crops)
    assert len(lists) == sum(counts) + counts[0]
    loss = method.step(views, HALF_WAY).loss.item()
    assert loss == pytest.approx(published_loss(lists, 0.8, 3.0), rel=1e-5, abs=1e-5)


def test_the_width_follows_after_its_use(method: SSLHSIC, make_views) -> None:
    """Adam's first step is the rate against the slope's sign; the next loss has the new width."""
    views = make_views()
    result = method.step(views, HALF_WAY)
    assert result.metrics["width"] == pytest.approx(0.8)
    rows = np.concatenate(hiddens(copy.deepcopy(method), views.crops))
    d2 = ((rows[:, None] - rows[None]) ** 2).sum(-1)
    slope = (3 * 0.8 / (0.8**2 + d2)).mean() - 1 / 0.8
    assert method.width.item() == pytest.approx(0.8 - 0.05 * np.sign(slope), abs=1e-6)
    lists = hiddens(copy.deepcopy(method), views.crops)
    expected = published_loss(lists, method.width.item(), 3.0)
    assert method.step(views, HALF_WAY).loss.item() == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_a_fixed_width_stays(make_backbone, make_views) -> None:
    """width_rate 0: no step changes it."""
    method = SSLHSIC(make_backbone(), Settings(hidden_dim=16, out_dim=8, width=2.0, width_rate=0.0))
    method.step(make_views(), HALF_WAY)
    assert method.width.item() == 2.0


def test_only_predictions_carry_a_gradient(method: SSLHSIC, make_views) -> None:
    """The target takes none, although its rows are views like the others; it follows after."""
    method.step(make_views(), HALF_WAY).loss.backward()
    assert all(p.grad is None for p in method.target_backbone.parameters())
    old = copy.deepcopy(method)
    method.after_step(HALF_WAY)
    tau = cosine_momentum(0.9, 0.5)
    for name in ("backbone", "projector"):
        target, before = (m.get_submodule(f"target_{name}") for m in (method, old))
        online = method.get_submodule(name)
        for p, q, new in zip(
            target.parameters(), before.parameters(), online.parameters(), strict=True
        ):
            torch.testing.assert_close(p, tau * q + (1 - tau) * new)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gamma": -1.0}, "sslhsic gamma is not negative, got -1.0"),
        ({"width": 0.0}, "sslhsic width is positive, got 0.0"),
        ({"width_rate": -0.1}, "sslhsic width_rate is not negative"),
        ({"momentum": 1.5}, r"sslhsic momentum lies in \[0, 1\]"),
    ],
)
def test_wrong_settings_are_named(values: dict, message: str) -> None:
    """Each wrong value is one line with rule, value and remedy."""
    with pytest.raises(UsageError, match=message):
        Settings(**values)
