"""MoCo v3 against its code, forward by forward."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from shards.errors import UsageError
from trainer.methods.mocov3 import MoCoV3, Settings
from trainer.methods.protocol import Progress
from trainer.nets.batchnorm import BatchNorm1d
from trainer.nets.ema import cosine_momentum

HALF_WAY = Progress(50, 100, 10)


def toy(make_backbone, **changes: object) -> MoCoV3:
    backbone = make_backbone()
    torch.manual_seed(1)
    values = {"hidden_dim": 32, "out_dim": 8, "temperature": 0.3, "momentum": 0.9, **changes}
    method = MoCoV3(backbone, Settings(**values))
    with torch.no_grad():  # keys of another network, as after some steps
        for p in (*method.key_backbone.parameters(), *method.key_projector.parameters()):
            p.mul_(0.7)
    return method


def codes_loss(method: MoCoV3, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
    """Algorithm 1: ctr(q1, k2) + ctr(q2, k1), every view forwarded on its own."""

    def query(x: torch.Tensor) -> torch.Tensor:
        return F.normalize(method.predictor(method.projector(method.backbone(x))), dim=1)

    def key(x: torch.Tensor) -> torch.Tensor:
        return F.normalize(method.key_projector(method.key_backbone(x)).detach(), dim=1)

    def ctr(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return 2 * 0.3 * F.cross_entropy(q @ k.T / 0.3, torch.arange(len(q)))

    q1, q2, k1, k2 = query(x1), query(x2), key(x1), key(x2)
    return ctr(q1, k2) + ctr(q2, k1)


def test_two_views_are_the_codes_separate_forwards(make_backbone, make_views) -> None:
    """Loss, gradients and the keys' running statistics equal a transcription; keys get none."""
    method, views = toy(make_backbone), make_views()
    twin = copy.deepcopy(method)
    ours, theirs = method.step(views, HALF_WAY).loss, codes_loss(twin, *views.crops[0])
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    ours.backward()
    theirs.backward()
    for (name, p), q in zip(method.named_parameters(), twin.parameters(), strict=True):
        if not p.requires_grad:
            assert p.grad is None, name
            continue
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-5, msg=name)
    for a, b in zip(method.key_backbone.buffers(), twin.key_backbone.buffers(), strict=True):
        torch.testing.assert_close(a, b)


def test_local_views_only_ask(make_backbone, make_views) -> None:
    """2+2: keys of the global views alone; six ordered pairs, the local views in four of them."""
    method, views = toy(make_backbone), make_views((2, 2))
    twin = copy.deepcopy(method)
    rows: list[int] = []
    method.key_backbone.register_forward_hook(lambda _, args, __: rows.append(len(args[0])))
    crops = [x for group in views.crops for x in group]
    q = [F.normalize(twin.predictor(twin.projector(twin.backbone(x))), dim=1) for x in crops]
    k = [F.normalize(twin.key_projector(twin.key_backbone(x)), dim=1) for x in crops[:2]]
    pairs = [(v, g) for v in range(4) for g in range(2) if v != g]
    losses = [F.cross_entropy(q[v] @ k[g].T / 0.3, torch.arange(16)) for v, g in pairs]
    expected = 4 * 0.3 * torch.stack(losses).mean()
    torch.testing.assert_close(method.step(views, HALF_WAY).loss, expected, rtol=1e-5, atol=1e-5)
    assert rows == [2 * 16]


def test_starts_at_four_t_ln_b(make_backbone, make_views) -> None:
    """Keys that are all alike: 2 x 2 T ln B, which is 33.27 for the paper's 4,096 at T = 1."""
    method = toy(make_backbone, temperature=1.0)
    with torch.no_grad():  # every image the same prediction, hence the same scores
        method.predictor[-1].weight.zero_()
    loss = method.step(make_views(), HALF_WAY).loss
    assert loss.item() == pytest.approx(4 * math.log(16), rel=1e-5)


def test_heads_of_resnet_and_vit(make_backbone) -> None:
    """Projector ends in a batch norm without scale; the predictor in one only for a ViT."""
    resnet, vit = (
        toy(make_backbone, projector_layers=layers, predictor_norm=norm)
        for layers, norm in ((2, False), (3, True))
    )
    kinds = [[type(x).__name__ for x in m.projector] for m in (resnet, vit)]
    hidden = ["Linear", "BatchNorm1d", "ReLU"]
    assert kinds == [[*hidden * n, "Linear", "BatchNorm1d"] for n in (1, 2)]
    assert not any(m.projector[-1].affine for m in (resnet, vit))
    assert [isinstance(m.predictor[-1], BatchNorm1d) for m in (resnet, vit)] == [False, True]


def test_keys_follow_after_the_step(make_backbone, make_views) -> None:
    """after_step: m old + (1 - m) new by the next step's m, as the code, which moves it then."""
    method = toy(make_backbone)
    assert method.step(make_views(), HALF_WAY).metrics["momentum"] == cosine_momentum(0.9, 0.5)
    old = copy.deepcopy(method)
    method.after_step(HALF_WAY)
    m = cosine_momentum(0.9, 0.51)
    for name in ("backbone", "projector"):
        target, before = method.get_submodule(f"key_{name}"), old.get_submodule(f"key_{name}")
        online = method.get_submodule(name)
        for p, q, new in zip(
            target.parameters(), before.parameters(), online.parameters(), strict=True
        ):
            torch.testing.assert_close(p, m * q + (1 - m) * new, rtol=1e-6, atol=1e-7)
    assert method.step(make_views(), Progress(100, 100, 10)).metrics["momentum"] == 1.0


def test_keys_are_the_codes_over_a_run(make_backbone) -> None:
    """Ten steps: the code moves the keys before it makes them, by m of that step; so do we."""
    method = toy(make_backbone)
    weight, key = method.projector[0].weight, method.key_projector[0].weight
    theirs = key.detach().clone()
    generator = torch.Generator().manual_seed(5)
    for step in range(10):
        if step:  # at step 0 the code moves it as well, from a copy of the network to itself
            m = 1 - 0.5 * (1 + math.cos(math.pi * step / 10)) * (1 - 0.9)  # adjust_moco_momentum
            theirs = theirs * m + weight.detach() * (1 - m)
        torch.testing.assert_close(key, theirs, rtol=1e-6, atol=1e-7)
        with torch.no_grad():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))  # the optimizer
        method.after_step(Progress(step, 10, 5))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": 0.0}, "mocov3 temperature is positive, got 0.0"),
        ({"momentum": -0.1}, r"mocov3 momentum lies in \[0, 1\], got -0.1"),
        ({"hidden_dim": 0}, "mocov3 hidden_dim is at least 1"),
    ],
)
def test_wrong_settings_are_named(values: dict, message: str) -> None:
    """Each wrong value is one line with rule, value and remedy."""
    with pytest.raises(UsageError, match=message):
        Settings(**values)
