"""NNCLR against its equation: neighbours of past batches, predictions as candidates."""

import copy

import pytest
import torch
from torch.nn import functional as F

from shards.errors import UsageError
from trainer.methods.nnclr import NNCLR, Settings
from trainer.methods.protocol import Progress
from trainer.nets.batchnorm import BatchNorm1d

START = Progress(0, 100, 10)


def toy(make_backbone, **changes: object) -> NNCLR:
    backbone = make_backbone()
    torch.manual_seed(1)
    values = {"hidden_dim": 32, "out_dim": 8, "predictor_dim": 16, "queue_length": 40, **changes}
    return NNCLR(backbone, Settings(**{"temperature": 0.2, **values}))


def forward(method: NNCLR, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """z without gradient and p, unit rows, of one view by itself."""
    z = method.projector(method.backbone(x))
    return F.normalize(z, dim=1).detach(), F.normalize(method.predictor(z), dim=1)


def nearest(z: torch.Tensor, queue: torch.Tensor) -> torch.Tensor:
    """Neighbour by neighbour: the row with the largest product."""
    return torch.stack([max(queue, key=lambda row: float(row @ one)) for one in z])


def test_two_views_are_the_papers_separate_forwards(make_backbone, make_views) -> None:
    """Loss and gradients equal the mean of both directions, neighbours in the role of anchors."""
    method, views = toy(make_backbone), make_views()
    twin, queue = copy.deepcopy(method), method.queue.rows
    (z1, p1), (z2, p2) = (forward(twin, x) for x in views.crops[0])
    labels = torch.arange(16)
    theirs = (
        F.cross_entropy(nearest(z1, queue) @ p2.T / 0.2, labels)
        + F.cross_entropy(nearest(z2, queue) @ p1.T / 0.2, labels)
    ) / 2
    ours = method.step(views, START).loss
    torch.testing.assert_close(ours, theirs)
    ours.backward()
    theirs.backward()
    for (name, p), q in zip(method.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_queue_takes_one_views_projections_after_the_loss(make_backbone, make_views) -> None:
    """It starts with random unit rows; then the first view's embeddings, newest first."""
    method = toy(make_backbone)
    expected = method.queue.rows
    torch.testing.assert_close(expected.norm(dim=1), torch.ones(40))
    for seed in range(4):
        views = make_views((2, 2), seed=seed)
        z, _ = forward(copy.deepcopy(method), views.crops[0][0])
        method.step(views, START)
        expected = torch.cat([z, expected])[:40]
        torch.testing.assert_close(method.queue.rows, expected)


def test_neighbour_cosine_is_logged(make_backbone, make_views) -> None:
    """The mean cosine to the neighbours: 1 once the queue holds the very same views."""
    method, views = toy(make_backbone), make_views()
    same = make_views()
    same.crops[0][1].copy_(same.crops[0][0])
    assert float(method.step(views, START).metrics["neighbour_cosine"]) < 0.95
    method = toy(make_backbone)
    method.step(same, START)
    assert float(method.step(same, START).metrics["neighbour_cosine"]) == pytest.approx(1, abs=1e-5)


def test_local_views_answer_only(make_backbone, make_views) -> None:
    """2+2: six pairs of a global view's neighbour and another view's predictions."""
    method, views = toy(make_backbone), make_views((2, 2))
    twin, queue = copy.deepcopy(method), method.queue.rows
    both = [forward(twin, x) for group in views.crops for x in group]
    pairs = [(g, v) for g in range(2) for v in range(4) if v != g]
    losses = [
        F.cross_entropy(nearest(both[g][0], queue) @ both[v][1].T / 0.2, torch.arange(16))
        for g, v in pairs
    ]
    torch.testing.assert_close(method.step(views, START).loss, torch.stack(losses).mean())


def test_heads(make_backbone) -> None:
    """Every linear layer of the projector has a whole batch norm, the predictor's last none."""
    method = toy(make_backbone)
    kinds = [type(layer).__name__ for layer in method.projector]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear", "BatchNorm1d"]
    last = method.projector[-1]
    assert isinstance(last, BatchNorm1d)
    assert last.weight.requires_grad
    assert last.bias.requires_grad
    assert [type(x).__name__ for x in method.predictor] == [
        "Linear",
        "BatchNorm1d",
        "ReLU",
        "Linear",
    ]
    assert len(toy(make_backbone, projector_layers=2).projector) == 5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": 0.0}, "nnclr temperature is positive, got 0.0"),
        ({"queue_length": 0}, "nnclr queue_length is at least 1, got 0"),
        ({"projector_layers": 0}, "nnclr projector_layers is at least 1"),
    ],
)
def test_wrong_settings_are_named(values: dict, message: str) -> None:
    """Each wrong value is one line with rule, value and remedy."""
    with pytest.raises(UsageError, match=message):
        Settings(**values)
