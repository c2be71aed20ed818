"""DINO against its code: loss, center, schedules, teacher, prototypes."""

import copy
import math

import pytest
import torch
from torch import nn

from shards.errors import UsageError
from trainer.methods.dino import DINO, Settings
from trainer.methods.protocol import Progress
from trainer.nets.backbones import create_backbone
from trainer.nets.ema import cosine_momentum
from trainer.nets.vit import DropPath


def toy(make_backbone, **changes: object) -> DINO:
    values = {"num_prototypes": 12, "hidden_dim": 32, "out_dim": 8, "head_norm": True, **changes}
    backbone = make_backbone()
    torch.manual_seed(1)
    return DINO(backbone, Settings(**values))


def at(epoch: float, total: int = 1000) -> Progress:
    return Progress(round(epoch * 10), total, steps_per_epoch=10)


def shaken(method: DINO) -> DINO:
    """With a teacher and a center unlike those of the start, as after some steps."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, p in method.named_parameters():
            if name.startswith("teacher_") and not name.endswith("length"):
                p.add_(0.02 * torch.randn(p.shape, generator=generator))
        method.center.copy_(torch.randn(12, generator=generator) / 10)
    return method


def network(method: DINO, prefix: str, groups: list[torch.Tensor]) -> torch.Tensor:
    """Scores [V, B, K] as published: one backbone forward a size, one head forward for all."""
    parts = [method.get_submodule(prefix + name) for name in ("backbone", "projector")]
    prototypes = method.get_submodule(prefix + "prototypes").get_parameter("weight")
    z = parts[1](torch.cat([parts[0](crops.flatten(0, 1)) for crops in groups]))
    z = nn.functional.normalize(z, dim=1)
    scores = z @ nn.functional.normalize(prototypes, dim=1).T
    return scores.unflatten(0, (sum(len(crops) for crops in groups), -1))


def test_loss_is_the_published_one(make_backbone, make_views) -> None:
    """2+3 views, eight pairs: loss, gradients, the teacher's statistics are a transcription's."""
    method, views = shaken(toy(make_backbone)), make_views((2, 3))
    twin, center = copy.deepcopy(method), method.center.clone()
    student, teacher = network(twin, "", views.crops), network(twin, "teacher_", views.crops[:1])
    targets = ((teacher.detach() - center) / 0.055).softmax(-1)
    terms = [
        -(targets[g] * (student[v] / 0.1).log_softmax(-1)).sum(-1).mean()
        for g in range(2)
        for v in range(5)
        if v != g
    ]
    theirs = torch.stack(terms).mean()
    ours = method.step(views, at(15)).loss  # half way from 0.04 to 0.07
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    ours.backward()
    theirs.backward()
    for (name, p), q in zip(method.named_parameters(), twin.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), name
        if p.grad is not None:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-5, msg=name)
    for a, b in zip(
        method.teacher_backbone.buffers(), twin.teacher_backbone.buffers(), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_center_moves_after_its_use(make_backbone, make_views) -> None:
    """After a step: 0.9 old + 0.1 mean of the teacher's scores of the global views."""
    method, views = shaken(toy(make_backbone)), make_views((2, 3))
    old = method.center.clone()
    scores = network(copy.deepcopy(method), "teacher_", views.crops[:1])
    method.step(views, at(0))
    expected = 0.9 * old + 0.1 * scores.detach().mean((0, 1))
    torch.testing.assert_close(method.center, expected)
    assert "center" in method.state_dict()


def test_a_new_center_changes_the_next_loss_only(make_backbone, make_views) -> None:
    """Whatever the center's momentum, the first loss is the same, and the second is not."""
    first, second = [], []
    for momentum in (0.0, 0.9):
        method = toy(make_backbone, center_momentum=momentum)
        first.append(method.step(make_views(), at(0)).loss.item())
        second.append(method.step(make_views(), at(0)).loss.item())
    assert first[0] == first[1]
    assert second[0] != second[1]


def test_teacher_temperature_schedule(make_backbone, make_views) -> None:
    """From 0.04 in a line to 0.07 at epoch 30, and no further; without warm-up it stands still."""
    method = toy(make_backbone)
    for epoch, expected in ((0, 0.04), (15, 0.055), (30, 0.07), (99, 0.07)):
        metrics = method.step(make_views(), at(epoch)).metrics
        assert metrics["teacher_temperature"] == pytest.approx(expected)
    still = toy(make_backbone, warmup_epochs=0.0, teacher_temperature=0.05)
    assert still.step(make_views(), at(0)).metrics["teacher_temperature"] == 0.05


def test_teacher_follows_after_the_step(make_backbone, make_views) -> None:
    """tau old + (1 - tau) new for all three networks; tau from 0.996 on a cosine to exactly 1."""
    method = shaken(toy(make_backbone))
    assert method.step(make_views(), at(0)).metrics["momentum"] == pytest.approx(0.996)
    assert method.step(make_views(), at(100)).metrics["momentum"] == 1.0
    old = copy.deepcopy(method)
    method.after_step(at(50))
    tau = cosine_momentum(0.996, 0.5)
    for name in ("backbone", "projector", "prototypes"):
        triples = zip(
            method.get_submodule(f"teacher_{name}").parameters(),
            old.get_submodule(f"teacher_{name}").parameters(),
            method.get_submodule(name).parameters(),
            strict=True,
        )
        for p, before, new in triples:
            torch.testing.assert_close(p, tau * before + (1 - tau) * new)


def test_only_global_views_reach_the_teacher(make_backbone, make_views) -> None:
    """2+3: the teacher's backbone sees two views of sixteen images, once."""
    method = toy(make_backbone)
    rows: list[int] = []
    method.teacher_backbone.register_forward_hook(lambda _, args, __: rows.append(len(args[0])))
    method.step(make_views((2, 3)), at(0))
    assert rows == [32]


def test_the_teacher_is_the_encoder_and_drops_no_path() -> None:
    """What is evaluated is the teacher's backbone; the student alone has its drop path."""
    student = create_backbone("vit_tiny4", image_size_px=8, drop_path=0.1)
    method = DINO(student, Settings(num_prototypes=12, hidden_dim=32, out_dim=8))
    assert method.encoder is method.teacher_backbone
    rates = {
        prefix: {m.rate for m in method.get_submodule(prefix).modules() if isinstance(m, DropPath)}
        for prefix in ("backbone", "teacher_backbone")
    }
    assert max(rates["backbone"]) == 0.1
    assert rates["teacher_backbone"] == {0.0}


@pytest.mark.parametrize("norm_last_layer", [True, False])
def test_prototypes_are_frozen_at_first(norm_last_layer: bool, make_backbone, make_views) -> None:
    """No gradient in the first epoch, one from then on; lengths train only when not normalised."""
    method = toy(make_backbone, norm_last_layer=norm_last_layer)
    for epoch, frozen in ((0, True), (0.9, True), (1.0, False)):
        method.zero_grad()
        method.step(make_views(), at(epoch)).loss.backward()
        method.before_optimizer(at(epoch))
        assert (method.prototypes.weight.grad is None) == frozen
        assert (method.prototypes.length.grad is None) == (frozen or norm_last_layer)
        assert method.projector[0].weight.grad is not None
    assert torch.equal(method.prototypes.length, torch.ones(12, 1))


def test_the_head_starts_as_published(make_backbone) -> None:
    """Matrices of std 0.02 without bias, prototypes as nn.Linear's; the teacher is a copy."""
    method = toy(make_backbone, hidden_dim=512, out_dim=256, num_prototypes=2048, head_norm=False)
    for layer in method.projector:
        if isinstance(layer, nn.Linear):
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.03)
            assert not layer.bias.any()
    lengths = method.prototypes.weight.norm(dim=1)
    assert lengths.mean().item() == pytest.approx(1 / math.sqrt(3), rel=5e-3)
    assert torch.equal(method.prototypes.length, torch.ones(2048, 1))
    for name in ("backbone", "projector", "prototypes"):
        student, teacher = (method.get_submodule(p + name) for p in ("", "teacher_"))
        for p, q in zip(student.parameters(), teacher.parameters(), strict=True):
            assert torch.equal(p, q)


def test_equal_prototypes_start_at_log_k(make_backbone, make_views) -> None:
    """Prototypes that are all alike: loss and teacher entropy are ln K."""
    method = toy(make_backbone)
    with torch.no_grad():
        for prototypes in (method.prototypes, method.teacher_prototypes):
            prototypes.weight.copy_(prototypes.weight[:1].expand(12, -1))
    result = method.step(make_views((2, 2)), at(0))
    assert result.loss.item() == pytest.approx(math.log(12), rel=1e-5)
    assert float(result.metrics["teacher_entropy"]) == pytest.approx(math.log(12), rel=1e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_prototypes": 0}, "dino num_prototypes is at least 1, got 0"),
        ({"teacher_temperature": 0.0}, r"dino teacher_temperature is positive, got 0\.0"),
        ({"warmup_epochs": -1.0}, "dino warmup_epochs is not negative"),
        ({"center_momentum": 1.5}, r"dino center_momentum lies in \[0, 1\], got 1.5"),
    ],
)
def test_wrong_settings_are_named(values: dict, message: str) -> None:
    """Each wrong value is one line with rule, value and remedy."""
    with pytest.raises(UsageError, match=message):
        Settings(**values)
