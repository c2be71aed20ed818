"""Instance Discrimination against its paper and code: loss, bank, Z, the proximal term."""

import math

import pytest
import torch

from shards.errors import UsageError
from trainer.methods.instdisc import InstDisc, Settings
from trainer.methods.protocol import Progress

NUM_IMAGES = 21


def toy(make_backbone, **changes: object) -> InstDisc:
    values = {"num_negatives": 6, "out_dim": 8, "temperature": 0.2, **changes}
    backbone = make_backbone()
    torch.manual_seed(1)
    method = InstDisc(backbone, Settings(**values))
    method.prepare(NUM_IMAGES)
    return method


def at(step: int) -> Progress:
    return Progress(step, 100, steps_per_epoch=10)


def embed(method: InstDisc, views) -> torch.Tensor:
    """[V, B, D]: each view forwarded by itself, through the linear layer, to length 1."""
    crops = [view for group in views.crops for view in group]
    v = torch.stack([method.projector(method.backbone(view)) for view in crops])
    return v / v.norm(dim=-1, keepdim=True)


def test_full_softmax_is_the_published_one(make_backbone, make_views) -> None:
    """One view, no negatives: -log of the softmax over the bank at the image's own row."""
    method, views = toy(make_backbone, num_negatives=0), make_views((1,))
    loss = method.step(views, at(0)).loss
    v = embed(method, views)[0]
    terms = [-torch.log_softmax(method.bank.rows @ v[b] / 0.2, 0)[b] for b in range(16)]
    torch.testing.assert_close(loss, torch.stack(terms).mean())


@pytest.mark.parametrize("form", ["nce", "info_nce"])
def test_sampled_loss_is_the_published_one(form: str, make_backbone, make_views) -> None:
    """2+1 views, each against the noise of its image; Z = N mean(exp(scores)) of this batch."""
    method, views = toy(make_backbone, form=form), make_views((2, 1))
    loss = method.step(views, at(0)).loss
    noise = method.bank.draw(16, 6, 0)
    v = embed(method, views)
    s = torch.stack(
        [
            torch.stack([method.bank.rows[[b, *noise[b].tolist()]] @ view[b] for b in range(16)])
            for view in v
        ]
    )
    e = (s / 0.2).exp()
    if form == "info_nce":
        expected = -(e[..., 0] / e.sum(-1)).log().mean()
    else:
        p = e / (NUM_IMAGES * e.mean())
        h = p / (p + 6 / NUM_IMAGES)
        expected = -(h[..., 0].log() + (1 - h[..., 1:]).log().sum(-1)).mean()
    torch.testing.assert_close(loss, expected)


def test_z_is_set_once(make_backbone, make_views) -> None:
    """The first step sets it, later ones and a checkpoint keep it; without it the loss is none."""
    method = toy(make_backbone)
    assert math.isinf(method.step(make_views(), at(3)).loss.item())
    method.step(make_views(seed=0), at(0))
    first = method.log_z.clone()
    assert first.isfinite()
    method.after_step(at(0))
    method.step(make_views(seed=1), at(1))
    assert torch.equal(method.log_z, first)
    twin = toy(make_backbone)
    twin.load_state_dict(method.state_dict())
    assert torch.equal(twin.log_z, first)


def test_bank_takes_the_mean_of_global_views_after_the_step(make_backbone, make_views) -> None:
    """Rows stay while the backward may need them; then n(0.5 old + 0.5 new), local views aside."""
    method, views = toy(make_backbone, num_negatives=0), make_views((2, 3))
    old = method.bank.rows.clone()
    result = method.step(views, at(0))
    assert torch.equal(method.bank.rows, old)
    result.loss.backward()
    method.after_step(at(0))
    mixed = 0.5 * old[:16] + 0.5 * embed(method, views)[:2].mean(0)
    expected = mixed / mixed.norm(dim=1, keepdim=True)
    torch.testing.assert_close(method.bank.rows[:16], expected)
    assert torch.equal(method.bank.rows[16:], old[16:])


def test_proximal_term(make_backbone, make_views) -> None:
    """It adds lambda times the squared distance of a feature and its image's row."""
    views = make_views((2,))
    plain, pulled = (toy(make_backbone, proximal=p).step(views, at(0)).loss for p in (0.0, 30.0))
    method = toy(make_backbone)
    distances = (embed(method, views) - method.bank.rows[:16]).square().sum(-1)
    torch.testing.assert_close(pulled - plain, 30 * distances.mean())


def test_negatives_change_with_the_step(make_backbone, make_views) -> None:
    """Another step draws other noise, the same step the same."""
    method, views = toy(make_backbone, form="info_nce"), make_views()
    losses = [method.step(views, at(step)).loss.item() for step in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"form": "softmax"}, "unknown instdisc form 'softmax'"),
        ({"num_negatives": -1}, "instdisc num_negatives is not negative, got -1"),
        ({"temperature": 0.0}, "instdisc temperature is positive, got 0.0"),
        ({"bank_momentum": 1.0}, r"instdisc bank_momentum lies in \[0, 1\), got 1.0"),
        ({"proximal": -1.0}, "instdisc proximal is not negative"),
    ],
)
def test_wrong_settings_are_named(values: dict, message: str) -> None:
    """Each wrong value is one line with rule, value and remedy."""
    with pytest.raises(UsageError, match=message):
        Settings(**values)
