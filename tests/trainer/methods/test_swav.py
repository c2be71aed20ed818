"""SwAV against its paper: codes, loss, prototypes, queue."""

import math

import pytest
import torch

from shards.errors import UsageError
from trainer.losses.sinkhorn import sinkhorn
from trainer.losses.swapped import swapped_prediction_loss
from trainer.methods.protocol import Progress
from trainer.methods.swav import Settings, SwAV


def toy(make_backbone, **changes: object) -> SwAV:
    values = {"num_prototypes": 12, "hidden_dim": 32, "out_dim": 8, **changes}
    backbone = make_backbone()
    torch.manual_seed(1)
    return SwAV(backbone, Settings(**values))


def at(epoch: float) -> Progress:
    return Progress(round(epoch * 10), 1000, steps_per_epoch=10)


def embed(method: SwAV, views) -> torch.Tensor:
    """[V, B, D] as published: batch statistics of all views of a size, then of all views."""
    features = [method.backbone(crops.flatten(0, 1)) for crops in views.crops]
    z = method.projector(torch.cat(features))
    z = z / z.norm(dim=1, keepdim=True)
    return z.unflatten(0, (views.num_views, -1))


def test_loss_is_the_published_one(make_backbone, make_views) -> None:
    """2+3 views: codes of the two global views, predicted from the four others each."""
    method, views = toy(make_backbone), make_views((2, 3))
    loss = method.step(views, at(0)).loss
    scores = embed(method, views) @ method.prototypes.weight.T
    codes = torch.stack([sinkhorn(scores[i][None])[0] for i in range(2)])
    total = torch.zeros(())
    for i in range(2):
        for v in range(5):
            if v != i:
                log_p = torch.log_softmax(scores[v] / 0.1, dim=1)
                total = total - (codes[i] * log_p).sum(1).mean() / 4 / 2
    torch.testing.assert_close(loss, total)


def test_prototypes_are_unit_rows_before_every_forward(make_backbone, make_views) -> None:
    """However long the optimizer made them, a step scores against rows of length 1."""
    method = toy(make_backbone)
    with torch.no_grad():
        method.prototypes.weight.mul_(7)
    method.step(make_views(), at(0))
    torch.testing.assert_close(method.prototypes.weight.norm(dim=1), torch.ones(12))


def test_equal_scores_start_at_log_k(make_backbone, make_views) -> None:
    """Prototypes that are all alike: the loss is ln K."""
    method = toy(make_backbone)
    with torch.no_grad():
        method.prototypes.weight.copy_(method.prototypes.weight[:1].expand(12, -1))
    result = method.step(make_views((2, 2)), at(0))
    assert result.loss.item() == pytest.approx(math.log(12), rel=1e-5)
    assert float(result.metrics["code_entropy"]) == pytest.approx(math.log(12), rel=1e-5)


def test_prototypes_are_frozen_at_first(make_backbone, make_views) -> None:
    """Their gradient is dropped in the first epoch, kept from then on; others always keep it."""
    method = toy(make_backbone)
    for epoch, frozen in ((0, True), (0.9, True), (1.0, False)):
        method.zero_grad()
        method.step(make_views(), at(epoch)).loss.backward()
        method.before_optimizer(at(epoch))
        assert (method.prototypes.weight.grad is None) == frozen
        assert method.projector[0].weight.grad is not None


def test_queue_is_first_in_first_out(make_backbone, make_views) -> None:
    """From its epoch on it takes each batch's embeddings, newest first, and keeps the last L."""
    method = toy(make_backbone, queue_length=40, queue_start_epoch=2)
    method.step(make_views(seed=0), at(1.9))
    assert method.queue.rows.numel() == 0
    seen = []
    for seed in range(4):
        embeddings = method.step(make_views(seed=seed), at(2)).embeddings
        seen.insert(0, embeddings.unflatten(0, (2, 16)))
        expected = torch.cat(seen, dim=1)[:, :40]
        assert torch.equal(method.queue.rows, expected)


def test_queue_serves_only_when_full_and_with_current_prototypes(make_backbone, make_views) -> None:
    """Half full it changes nothing; full, the codes are those of queue and batch together."""
    plain, queued = (
        toy(make_backbone, queue_length=length, queue_start_epoch=0) for length in (0, 32)
    )
    for seed in range(2):
        views = make_views(seed=seed)
        assert torch.equal(plain.step(views, at(0)).loss, queued.step(views, at(0)).loss)
    with torch.no_grad():  # prototypes move: old rows must be scored anew
        queued.prototypes.weight.copy_(queued.prototypes.weight.flip(1))
    views, waiting = make_views(seed=2), queued.queue.rows.clone()
    loss = queued.step(views, at(0)).loss
    z, prototypes = embed(queued, views), queued.prototypes.weight
    rows = torch.cat([waiting @ prototypes.T, z @ prototypes.T], dim=1)
    codes = sinkhorn(rows)[:, -16:]
    torch.testing.assert_close(loss, swapped_prediction_loss(z @ prototypes.T, codes))


def test_num_assign(make_backbone, make_views) -> None:
    """Codes come from all global views unless fewer are asked for; more are refused."""
    views = make_views((4,))
    four, two = (toy(make_backbone, num_assign=n).step(views, at(0)).loss for n in (None, 2))
    assert four != two
    with pytest.raises(UsageError, match="num_assign is at most the number of global views, 2"):
        toy(make_backbone, num_assign=3).check_views((2, 6))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epsilon": 0.0}, "swav epsilon is positive, got 0.0"),
        ({"queue_length": -1}, "swav queue_length is not negative"),
        ({"num_assign": 0}, "num_assign is at least 1, got 0; try null"),
        ({"iterations": 0}, "swav iterations is at least 1"),
    ],
)
def test_wrong_settings_are_named(values: dict, message: str) -> None:
    """Each wrong value is one line with rule, value and remedy."""
    with pytest.raises(UsageError, match=message):
        Settings(**values)
