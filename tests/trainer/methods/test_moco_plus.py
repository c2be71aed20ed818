"""MoCo v2+ by its equations: predictors, statistics of the batch, one key set, the momentum."""

import copy

import pytest
import torch

from shards.errors import UsageError
from trainer.methods.moco import MoCo, Settings
from trainer.methods.protocol import Method, Progress

PLUS = {
    "head": "mlp_norm", "hidden_dim": 24, "predictor": True, "symmetric": True, "ramp": True,
    "enqueue": "one", "groups": 1, "shuffle": False,
}  # fmt: skip


def toy(make_backbone, **changes: object) -> MoCo:
    backbone = make_backbone()
    torch.manual_seed(1)
    values = {"out_dim": 8, "queue_length": 48, "momentum": 0.9, **PLUS, **changes}
    method = MoCo(backbone, Settings(**values))
    with torch.no_grad():  # keys of another network, as after some steps
        for p in (*method.key_backbone.parameters(), *method.key_projector.parameters()):
            p.mul_(0.7)
    return method


def at(step: int) -> Progress:
    return Progress(step, 100, 10)


def unit(rows: torch.Tensor) -> torch.Tensor:
    return rows / rows.norm(dim=1, keepdim=True)


def direction(p: torch.Tensor, k: torch.Tensor, queue: torch.Tensor) -> float:
    """exp/mocov2_plus.py: cross-entropy of [p k, p queue] / 0.2 at place 0, row by row."""
    rows = []
    for one, key in zip(p.double(), k.double(), strict=True):
        scores = torch.stack([one @ key, *(one @ row for row in queue.double())]) / 0.2
        rows.append(-(scores[0] - scores.exp().sum().log()))
    return float(sum(rows) / len(rows))


@pytest.mark.parametrize("key_predictor", [False, True])
def test_loss_is_the_sum_of_both_directions(make_backbone, make_views, key_predictor: bool) -> None:
    """Queries pass projector and predictor, keys the moving averages; statistics are a view's."""
    method = toy(make_backbone, key_predictor=key_predictor)
    twin, views = copy.deepcopy(method), make_views()
    with torch.no_grad():
        p = [unit(twin.predictor(twin.projector(twin.backbone(x)))) for x in views.crops[0]]
        keys = [twin.key_projector(twin.key_backbone(x)) for x in views.crops[0]]
        k = [unit(twin.key_predictor(z) if key_predictor else z) for z in keys]
    queue = twin.queue.rows
    wanted = direction(p[0], k[1], queue) + direction(p[1], k[0], queue)
    assert method.step(views, at(0)).loss.item() == pytest.approx(wanted, rel=1e-5)


def test_one_key_set_enters_the_queue(make_backbone, make_views) -> None:
    """Sixteen rows a step; over some steps those of either view; the same for the same step."""
    chosen = []
    for step in range(8):
        method = toy(make_backbone)
        views, old = make_views(), method.queue.rows.clone()
        with torch.no_grad():
            k = [unit(method.key_projector(method.key_backbone(x))) for x in views.crops[0]]
        method.step(views, at(step))
        torch.testing.assert_close(method.queue.rows[16:], old[:32])
        near = [torch.allclose(method.queue.rows[:16], rows, atol=1e-5) for rows in k]
        chosen.append(near.index(True))
        again = toy(make_backbone)
        again.step(make_views(), at(step))
        assert torch.equal(again.queue.rows, method.queue.rows)
    assert set(chosen) == {0, 1}


def test_the_momentum_goes_to_one(make_backbone) -> None:
    """1 - (1 - m) (1 + cos(pi t / T)) / 2 with `ramp`, else m; the predictor's average too."""
    for ramp, step, tau in ((True, 0, 0.9), (True, 50, 0.95), (False, 50, 0.9)):
        method = toy(make_backbone, key_predictor=True, ramp=ramp)
        pairs = [(method.key_backbone, method.backbone), (method.key_projector, method.projector)]
        pairs.append((method.key_predictor, method.predictor))
        with torch.no_grad():
            for p in method.predictor.parameters():
                p.add_(1)
        before = [[p.clone() for p in old.parameters()] for old, _ in pairs]
        method.after_step(at(step))
        for (old, new), was in zip(pairs, before, strict=True):
            for a, b, c in zip(old.parameters(), was, new.parameters(), strict=True):
                torch.testing.assert_close(a, tau * b + (1 - tau) * c)


def test_one_group_is_the_whole_batch(make_backbone) -> None:
    """Its statistics are shared by ranks, and no number of images has to be divisible."""
    plain: Method = toy(make_backbone)
    assert plain.sync_batch_norm
    plain.check_images(17)
    with pytest.raises(UsageError, match="two images a forward, got 1"):
        plain.check_images(1)
    assert not toy(make_backbone, groups=4).sync_batch_norm


def test_moco_v2_has_no_predictor(make_backbone) -> None:
    """Without the settings names in a checkpoint, and what a term may see, are the former ones."""
    method = MoCo(make_backbone(), Settings(out_dim=8, queue_length=16))
    children = {name for name, _ in method.named_children()}
    assert children == {"backbone", "projector", "key_backbone", "key_projector", "queue"}
    assert not any(name.startswith(("predictor", "key_predictor")) for name in method.state_dict())


@pytest.mark.parametrize(
    ("values", "message"),
    [({"enqueue": "both"}, "unknown moco enqueue 'both'; known: all, one"),
     ({"key_predictor": True}, "key_predictor is a moving average of the predictor, got 'none'"),
     ({"hidden_dim": 0}, "moco hidden_dim is at least 1, got 0")],
)  # fmt: skip
def test_wrong_settings_are_named(values: dict, message: str) -> None:
    """Each wrong value is one line with rule, value and remedy."""
    with pytest.raises(UsageError, match=message):
        Settings(**values)
