"""MoCo v1 and v2 against their code: who asks, the queue, the keys, shuffled batch norm."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from shards.errors import UsageError
from trainer.methods.method_table import create_method, method_settings
from trainer.methods.moco import MoCo, Settings
from trainer.methods.protocol import Progress
from trainer.nets.shuffle import random_order


def toy(make_backbone, **changes: object) -> MoCo:
    backbone = make_backbone()
    torch.manual_seed(1)
    values = {"out_dim": 8, "queue_length": 48, "groups": 4, "momentum": 0.9, **changes}
    method = MoCo(backbone, Settings(**values))
    with torch.no_grad():  # keys of another network, as after some steps
        for p in (*method.key_backbone.parameters(), *method.key_projector.parameters()):
            p.mul_(0.7)
    return method


def at(step: int) -> Progress:
    return Progress(step, 100, 10)


def in_groups(network: nn.Module, projector: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """[B, D] unit rows: each quarter of the images forwarded on its own, as on its own GPU."""
    parts = [projector(network(part)) for part in images.chunk(4)]
    return F.normalize(torch.cat(parts), dim=1)


def shuffled_keys(method: MoCo, images: torch.Tensor, step: int) -> torch.Tensor:
    """Keys normalised among the images of another order, put back."""
    order = random_order(len(images), step)
    with torch.no_grad():
        keys = in_groups(method.key_backbone, method.key_projector, images[order])
    back = torch.empty_like(keys)
    back[order] = keys
    return back


def moco_loss(q: torch.Tensor, k: torch.Tensor, queue: torch.Tensor, t: float) -> torch.Tensor:
    """The paper's pseudo-code: logits [positive, negatives] / T, label 0."""
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], dim=1) / t
    return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))


def test_two_views_are_the_published_step(make_backbone, make_views) -> None:
    """Loss, gradients, queue and running statistics equal a transcription for four GPUs."""
    method = toy(make_backbone)
    twin, views = copy.deepcopy(method), make_views()
    x_q, x_k = views.crops[0]
    q = in_groups(twin.backbone, twin.projector, x_q)
    k = shuffled_keys(twin, x_k, step=7)
    theirs = moco_loss(q, k, twin.queue.rows, 0.2)
    ours = method.step(views, at(7)).loss
    torch.testing.assert_close(ours, theirs)
    ours.backward()
    theirs.backward()
    for (name, p), other in zip(method.named_parameters(), twin.parameters(), strict=True):
        if p.requires_grad:
            torch.testing.assert_close(p.grad, other.grad, rtol=1e-3, atol=1e-6, msg=name)
        else:
            assert p.grad is None, name
    torch.testing.assert_close(method.queue.rows, torch.cat([k, twin.queue.rows])[:48])
    for a, b in zip(method.backbone.buffers(), twin.backbone.buffers(), strict=True):
        torch.testing.assert_close(a, b)
    for a, b in zip(method.key_backbone.buffers(), twin.key_backbone.buffers(), strict=True):
        torch.testing.assert_close(a, b)


def test_symmetric_sums_both_directions(make_backbone, make_views) -> None:
    """The demo: loss(1 -> 2) + loss(2 -> 1) against the same queue, both views' keys enqueued."""
    method = toy(make_backbone, symmetric=True)
    twin, views = copy.deepcopy(method), make_views()
    x = views.crops[0]
    q = [in_groups(twin.backbone, twin.projector, view) for view in x]
    k = [shuffled_keys(twin, view, step=3) for view in x]
    queue = twin.queue.rows
    theirs = moco_loss(q[0], k[1], queue, 0.2) + moco_loss(q[1], k[0], queue, 0.2)
    torch.testing.assert_close(method.step(views, at(3)).loss, theirs)
    torch.testing.assert_close(method.queue.rows, torch.cat([k[1], k[0], queue])[:48])


def test_local_views_only_ask(make_backbone, make_views) -> None:
    """2+3: one key view; first global view and local ones are its queries, alike in weight."""
    method = toy(make_backbone)
    twin, views = copy.deepcopy(method), make_views((2, 3))
    rows: list[int] = []
    method.key_backbone.register_forward_hook(lambda _, args, __: rows.append(len(args[0])))
    k = shuffled_keys(twin, views.crops[0][1], step=0)
    asking = [views.crops[0][0], *views.crops[1]]
    losses = [
        moco_loss(in_groups(twin.backbone, twin.projector, x), k, twin.queue.rows, 0.2)
        for x in asking
    ]
    torch.testing.assert_close(method.step(views, at(0)).loss, torch.stack(losses).mean())
    assert rows == [16]


def test_queue_holds_the_last_key_batches_in_order(make_backbone, make_views) -> None:
    """After an epoch: exactly the keys of the last 48 / 16 batches, newest first, length 1."""
    method = toy(make_backbone)
    random = method.queue.rows.clone()
    torch.testing.assert_close(random.norm(dim=1), torch.ones(48))
    seen: list[torch.Tensor] = []
    for step in range(10):
        views = make_views(seed=step)
        twin = copy.deepcopy(method)
        seen.insert(0, shuffled_keys(twin, views.crops[0][1], step))
        method.step(views, at(step)).loss.backward()
        method.after_step(at(step))
    torch.testing.assert_close(method.queue.rows, torch.cat(seen[:3]))
    torch.testing.assert_close(method.queue.rows.norm(dim=1), torch.ones(48))


def test_a_batch_is_not_its_own_negative(make_backbone, make_views) -> None:
    """Keys of a batch enter the queue after its loss: with zeros in it every query costs alike."""
    method = toy(make_backbone, temperature=0.5)
    method.queue.rows = torch.zeros(48, 8)
    twin, views = copy.deepcopy(method), make_views()
    q = in_groups(twin.backbone, twin.projector, views.crops[0][0])
    k = shuffled_keys(twin, views.crops[0][1], step=0)
    positive = (q * k).sum(1) / 0.5
    expected = (positive.exp() + 48).log() - positive
    torch.testing.assert_close(method.step(views, at(0)).loss, expected.mean())


def test_shuffling_changes_the_statistics_a_key_sees(make_backbone, make_views) -> None:
    """Other keys than unshuffled ones, but in the same places, of the same images."""
    views = make_views()
    shuffled, plain = (toy(make_backbone, shuffle=flag) for flag in (True, False))
    images = views.crops[0][1]
    expected = shuffled_keys(copy.deepcopy(shuffled), images, step=2)
    unshuffled = in_groups(plain.key_backbone, plain.key_projector, images).detach()
    for method in (shuffled, plain):
        method.step(views, at(2))
    torch.testing.assert_close(shuffled.queue.rows[:16], expected)
    torch.testing.assert_close(plain.queue.rows[:16], unshuffled)
    assert (expected - unshuffled).abs().max() > 1e-3
    distances = 1 - expected @ unshuffled.T
    assert distances.diagonal().mean() < distances.mean() / 2


def test_keys_follow_after_the_step(make_backbone, make_views) -> None:
    """after_step: 0.9 old + 0.1 new, constant over the run; statistics are left alone."""
    method = toy(make_backbone)
    method.step(make_views(), at(90))
    old = copy.deepcopy(method)
    method.after_step(at(90))
    for name in ("backbone", "projector"):
        target, before = method.get_submodule(f"key_{name}"), old.get_submodule(f"key_{name}")
        online = method.get_submodule(name)
        for p, q, new in zip(
            target.parameters(), before.parameters(), online.parameters(), strict=True
        ):
            torch.testing.assert_close(p, 0.9 * q + 0.1 * new)
        for a, b in zip(target.buffers(), before.buffers(), strict=True):
            assert torch.equal(a, b)


def test_v1_and_v2_are_two_settings_of_one_class(make_backbone) -> None:
    """v1: linear head, temperature 0.07; v2: two layers without batch norm, 0.2; else alike."""
    v1, v2 = (method_settings(name, {}) for name in ("mocov1", "mocov2"))
    assert (v1.head, v1.temperature) == ("linear", 0.07)
    assert (v2.head, v2.temperature) == ("mlp", 0.2)
    assert (v1.queue_length, v1.momentum) == (v2.queue_length, v2.momentum) == (65536, 0.999)
    assert method_settings("mocov1", {"temperature": 0.1}).temperature == 0.1
    heads = [
        create_method(name, make_backbone(), {"queue_length": 8}).get_submodule("projector")
        for name in ("mocov1", "mocov2")
    ]
    kinds = [[type(layer).__name__ for layer in head.children()] for head in heads]
    assert kinds == [["Linear"], ["Linear", "ReLU", "Linear"]]


def test_groups_that_do_not_fit_are_named(make_backbone) -> None:
    """Groups that do not divide a forward, or leave one image for batch norm, stop with a line."""
    for groups in (3, 16):
        with pytest.raises(UsageError, match=rf"moco groups divides the 16 .*got {groups}; change"):
            toy(make_backbone, groups=groups).check_images(16)
    toy(make_backbone, groups=8).check_images(16)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"head": "mpl"}, "unknown moco head 'mpl'; did you mean mlp"),
        ({"temperature": -1.0}, "moco temperature is positive, got -1.0"),
        ({"momentum": 2.0}, r"moco momentum lies in \[0, 1\], got 2.0"),
        ({"groups": 1}, "moco groups is at least 2 when keys are shuffled, got 1"),
        ({"queue_length": 0}, "moco queue_length is at least 1, got 0"),
    ],
)
def test_wrong_settings_are_named(values: dict, message: str) -> None:
    """Each wrong value is one line with rule, value and remedy."""
    with pytest.raises(UsageError, match=message):
        Settings(**values)
