"""SCE against its code's lines: pairs of views, and targets with the own key in them."""

import copy

import pytest
import torch
from torch.nn import functional as F

from shards.errors import UsageError
from trainer.methods.protocol import Progress
from trainer.methods.sce import SCE, Settings

START = Progress(0, 100, 10)
SMALL = {"projector_layers": 2, "projector_norm": False, "predictor_dim": None, "symmetric": False}


def toy(make_backbone, **changes: object) -> SCE:
    backbone = make_backbone()
    torch.manual_seed(1)
    values = {"hidden_dim": 16, "out_dim": 8, "predictor_dim": 12, "queue_length": 40, **changes}
    return SCE(backbone, Settings(**values))


def asked(method: SCE, x: torch.Tensor) -> torch.Tensor:
    return F.normalize(method.predictor(method.projector(method.backbone(x))), dim=1)


def key(method: SCE, x: torch.Tensor) -> torch.Tensor:
    return F.normalize(method.key_projector(method.key_backbone(x)), dim=1).detach()


def pair(q: torch.Tensor, k: torch.Tensor, queue: torch.Tensor, share: float) -> torch.Tensor:
    """The lines of compute_loss at temperatures 0.1 and 0.07, with the queue as [M, D]."""
    of_q = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], dim=1) / 0.1
    of_k = torch.cat([torch.zeros(len(k), 1), k @ queue.T], dim=1) / 0.07
    target = (1 - share) * of_k.softmax(dim=1)
    target[:, 0] += share
    return -(target * of_q.log_softmax(dim=1)).sum(1).mean()


@pytest.mark.parametrize("share", [0.2, 0.5])
@pytest.mark.parametrize("counts", [(2,), (2, 3), (3,)])
def test_every_view_asks_every_other_global_one(
    counts: tuple[int, ...], share: float, make_backbone, make_views
) -> None:
    """Loss and gradients are the mean over ordered pairs, each view in a forward of its own."""
    method, views = toy(make_backbone, own_share=share), make_views(counts)
    twin, queue = copy.deepcopy(method), method.queue.rows
    q = [asked(twin, x) for group in views.crops for x in group]
    k = [key(twin, x) for x in views.crops[0]]
    pairs = [(i, j) for i in range(len(q)) for j in range(len(k)) if i != j]
    theirs = torch.stack([pair(q[i], k[j], queue, share) for i, j in pairs]).mean()
    ours = method.step(views, START).loss
    torch.testing.assert_close(ours, theirs)
    ours.backward()
    theirs.backward()
    for (name, p), other in zip(method.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p.grad, other.grad, rtol=1e-3, atol=1e-5, msg=name)
    # Keys of both global views wait in the queue, the last one's in front.
    torch.testing.assert_close(method.queue.rows[:32], torch.cat(k[::-1])[:32])


@pytest.mark.parametrize("counts", [(2,), (2, 2), (3, 1)])
def test_one_sided_the_weak_view_is_the_key(
    counts: tuple[int, ...], make_backbone, make_views
) -> None:
    """As on CIFAR-10: no predictor, and the first view asks nothing."""
    method, views = toy(make_backbone, **SMALL), make_views(counts)
    twin, queue = copy.deepcopy(method), method.queue.rows
    weak, *others = (x for group in views.crops for x in group)
    k = key(twin, weak)
    theirs = torch.stack([pair(asked(twin, x), k, queue, 0.5) for x in others]).mean()
    torch.testing.assert_close(method.step(views, START).loss, theirs)
    torch.testing.assert_close(method.queue.rows[:16], k)
    assert method.seen_global_views(counts[0]) == counts[0] - 1
    assert not list(method.predictor.parameters())


def test_heads(make_backbone) -> None:
    """ImageNet's: three layers with batch norm, the last without scale, no bias; CIFAR's: two."""
    method = toy(make_backbone)
    kinds = [type(layer).__name__ for layer in method.projector]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear", "BatchNorm1d"]
    assert not any(name.endswith("0.bias") for name, _ in method.projector.named_parameters())
    assert [type(layer).__name__ for layer in method.predictor.children()][-1] == "Linear"
    small = toy(make_backbone, **SMALL)
    assert [type(x).__name__ for x in small.projector] == [
        "Linear", "BatchNorm1d", "ReLU", "Linear",
    ]  # fmt: skip
    assert small.projector[-1].bias is not None


def test_batch_statistics_are_shared_or_parted(make_backbone) -> None:
    """One group is all ranks'; of several, each has its own, and images fit them."""
    whole, parted = toy(make_backbone), toy(make_backbone, groups=4, shuffle=True)
    assert (whole.sync_batch_norm, parted.sync_batch_norm) == (True, False)
    whole.check_images(10)
    with pytest.raises(UsageError, match="sce groups divides the 10 images"):
        parted.check_images(10)
    with pytest.raises(UsageError, match="batch norm needs two images a forward, got 1"):
        whole.check_images(1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"own_share": 1.5}, r"sce own_share lies in \[0, 1\], got 1.5"),
        ({"predictor_dim": 0}, "sce predictor_dim is at least 1, got 0"),
        ({"shuffle": True}, "sce groups is at least 2 when keys are shuffled, got 1"),
    ],
)
def test_wrong_settings_are_named(values: dict, message: str) -> None:
    """Each wrong value is one line with rule, value and remedy."""
    with pytest.raises(UsageError, match=message):
        Settings(**values)
