"""MSF against its code's lines: targets join the queue, and their neighbours are predicted."""

import copy

import pytest
import torch
from torch.nn import functional as F

from shards.errors import UsageError
from trainer.methods.msf import MSF, Settings
from trainer.methods.protocol import Progress
from trainer.nets.shuffle import random_order

START = Progress(7, 100, 10)


def toy(make_backbone, **changes: object) -> MSF:
    backbone = make_backbone()
    torch.manual_seed(1)
    values = {"hidden_dim": 16, "out_dim": 8, "neighbours": 3, "queue_length": 40, "groups": 4}
    return MSF(backbone, Settings(**{**values, **changes}))


def target(method: MSF, x: torch.Tensor, parts: int) -> torch.Tensor:
    order = random_order(16, START.step)
    z = [method.target_projector(method.target_backbone(part)) for part in x[order].chunk(parts)]
    return F.normalize(torch.cat(z), dim=1)[order.argsort()].detach()


def predicted(method: MSF, x: torch.Tensor, parts: int) -> torch.Tensor:
    p = [method.predictor(method.projector(method.backbone(part))) for part in x.chunk(parts)]
    return F.normalize(torch.cat(p), dim=1)


@pytest.mark.parametrize("neighbours", [1, 3])
@pytest.mark.parametrize("counts", [(2,), (2, 3), (3, 1)])
def test_all_other_views_predict_the_weak_ones_neighbours(
    counts: tuple[int, ...], neighbours: int, make_backbone, make_views
) -> None:
    """Loss and gradients are those of MeanShift.forward, each view and part for itself."""
    method, views = toy(make_backbone, neighbours=neighbours), make_views(counts)
    twin = copy.deepcopy(method)
    weak, *others = (x for group in views.crops for x in group)
    t = target(twin, weak, 4)
    queue = torch.cat([t, twin.queue.rows])[:40]
    _, nearest = (2 - 2 * t @ queue.T).topk(neighbours, dim=1, largest=False)
    losses = []
    for x in others:
        distances = 2 - 2 * predicted(twin, x, 4) @ queue.T
        losses.append((torch.gather(distances, 1, nearest).sum(1) / neighbours).mean())
    theirs, ours = torch.stack(losses).mean(), method.step(views, START).loss
    torch.testing.assert_close(ours, theirs)
    ours.backward()
    theirs.backward()
    for (name, p), q in zip(method.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-5, msg=name)
    torch.testing.assert_close(method.queue.rows, queue)


def test_the_first_neighbour_is_the_target(make_backbone, make_views) -> None:
    """It joins the queue before the search: the cosine of one neighbour is 1, of more less."""
    one = toy(make_backbone, neighbours=1).step(make_views((2,)), START)
    assert float(one.metrics["neighbour_cosine"]) == pytest.approx(1, abs=1e-6)
    more = toy(make_backbone, neighbours=10).step(make_views((2,)), START)
    assert float(more.metrics["neighbour_cosine"]) < 0.99


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"neighbours": 0}, "msf neighbours is at least 1, got 0"),
        ({"neighbours": 9, "queue_length": 8}, "msf neighbours are of the queue's 8 rows, got 9"),
        ({"groups": 1}, "msf groups is at least 2 when keys are shuffled, got 1"),
    ],
)
def test_wrong_settings_are_named(values: dict, message: str) -> None:
    """Each wrong value is one line with rule, value and remedy."""
    with pytest.raises(UsageError, match=message):
        Settings(**values)


def test_the_queue_holds_a_batch(make_backbone) -> None:
    """A shorter one would drop targets before they are looked for; the line says what would do."""
    method = toy(make_backbone)
    method.check_images(40)
    with pytest.raises(UsageError, match=r"msf queue_length is at least the 48 images.*got 40"):
        method.check_images(48)
    with pytest.raises(UsageError, match="msf groups divides the 10 images"):
        method.check_images(10)
