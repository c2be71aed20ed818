"""ReSSL against its equation: the weak view's relations, said by all others, in shuffled parts."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from shards.errors import UsageError
from trainer.methods.protocol import Progress
from trainer.methods.ressl import ReSSL, Settings
from trainer.nets.shuffle import random_order

START = Progress(7, 100, 10)


def toy(make_backbone, **changes: object) -> ReSSL:
    backbone = make_backbone()
    torch.manual_seed(1)
    values = {"hidden_dim": 16, "out_dim": 8, "queue_length": 40, "groups": 4, **changes}
    return ReSSL(backbone, Settings(**values))


def in_parts(network, head, x: torch.Tensor, parts: int) -> torch.Tensor:
    """Unit rows of one view, each part of the images in a forward of its own, as on a GPU."""
    return torch.cat([F.normalize(head(network(part)), dim=1) for part in x.chunk(parts)])


def theirs(twin: ReSSL, weak: torch.Tensor, others: list[torch.Tensor], parts: int) -> torch.Tensor:
    """The lines of ressl.py and ressl_multi.py, with the queue as [M, D]."""
    queue, order = twin.queue.rows, random_order(16, START.step)
    k = in_parts(twin.key_backbone, twin.key_projector, weak[order], parts)[order.argsort()]
    said = F.softmax(k.detach() @ queue.T / 0.04, dim=1)
    losses = []
    for x in others:
        asked = F.log_softmax(
            in_parts(twin.backbone, twin.projector, x, parts) @ queue.T / 0.1, dim=1
        )
        losses.append(-(said * asked).sum(1).mean())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("counts", [(2,), (2, 3), (3, 1)])
@pytest.mark.parametrize("head_norm", [False, True])
def test_the_first_view_teaches_all_others(
    counts: tuple[int, ...], head_norm: bool, make_backbone, make_views
) -> None:
    """Loss and gradients are those of the code's forwards, each view and part for itself."""
    method, views = toy(make_backbone, head_norm=head_norm), make_views(counts)
    twin = copy.deepcopy(method)
    weak, *others = (x for group in views.crops for x in group)
    loss = theirs(twin, weak, others, parts=4)
    ours = method.step(views, START).loss
    torch.testing.assert_close(ours, loss)
    ours.backward()
    loss.backward()
    for (name, p), q in zip(method.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_keys_join_the_queue_after_the_loss(make_backbone, make_views) -> None:
    """Sixteen rows a step, those of the weak view, newest first; none of them is met before."""
    method = toy(make_backbone, groups=1, shuffle=False)
    before = method.queue.rows
    views = make_views((2,))
    twin = copy.deepcopy(method)
    method.step(views, START)
    k = in_parts(twin.key_backbone, twin.key_projector, views.crops[0][0], 1)
    torch.testing.assert_close(method.queue.rows[:16], k)
    torch.testing.assert_close(method.queue.rows[16:], before[:24])


def test_entropy_tells_a_collapse(make_backbone, make_views) -> None:
    """Ln of the queue's length when all of it is alike, and so is the loss; less otherwise."""
    method = toy(make_backbone)
    metrics = method.step(make_views((2,)), START).metrics
    assert float(metrics["relation_entropy"]) < math.log(40) - 0.1
    method.queue.rows = method.queue.rows[:1].expand(40, 8).clone()
    result = method.step(make_views((2,)), START)
    assert float(result.metrics["relation_entropy"]) == pytest.approx(math.log(40), abs=1e-4)
    said = method.constant_loss(16, (2, 2))
    assert result.loss.item() == pytest.approx(said, abs=1e-4)


def test_momentum_stays_or_rises(make_backbone) -> None:
    """Constant as published; with `final_momentum` on a cosine to it."""
    method = toy(make_backbone, momentum=0.9)
    assert [method.momentum(Progress(step, 10, 5)) for step in (0, 5, 10)] == [0.9, 0.9, 0.9]
    method = toy(make_backbone, momentum=0.9, final_momentum=1.0)
    taus = [method.momentum(Progress(step, 10, 5)) for step in (0, 5, 10)]
    assert taus == pytest.approx([0.9, 0.95, 1.0])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"key_temperature": 0.0}, "ressl key_temperature is positive, got 0.0"),
        ({"groups": 1}, "ressl groups is at least 2 when keys are shuffled, got 1"),
        ({"final_momentum": 1.5}, r"ressl final_momentum lies in \[0, 1\], got 1.5; try null"),
    ],
)
def test_wrong_settings_are_named(values: dict, message: str) -> None:
    """Each wrong value is one line with rule, value and remedy."""
    with pytest.raises(UsageError, match=message):
        Settings(**values)


def test_groups_fit_the_images(make_backbone) -> None:
    """Four parts of a forward need two images each, and as many."""
    method = toy(make_backbone)
    method.check_images(8)
    for num_images in (4, 10):
        with pytest.raises(UsageError, match=f"ressl groups divides the {num_images} images"):
            method.check_images(num_images)
