"""SimCLR against its papers: one forward for both views, head, loss scale, memory."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from shards.errors import UsageError
from trainer.methods.method_table import create_method, method_settings
from trainer.methods.protocol import Progress
from trainer.methods.simclr import Settings, SimCLR
from trainer.nets.batchnorm import BatchNorm1d

START = Progress(0, 100, 10)


def toy(make_backbone, **changes: object) -> SimCLR:
    backbone = make_backbone()
    torch.manual_seed(1)
    return SimCLR(backbone, Settings(**{"out_dim": 8, "temperature": 0.2, **changes}))


def embed(method: SimCLR, crops: torch.Tensor) -> torch.Tensor:
    """[V * B, D] unit rows: all views of a size in one batch, as in tf2/model.py."""
    return F.normalize(method.projector(method.backbone(crops.flatten(0, 1))), dim=1)


def test_two_views_are_the_papers_one_batch(make_backbone, make_views) -> None:
    """Loss and gradients equal the mean over 2N rows, statistics of both views together."""
    method = toy(make_backbone)
    twin, views = copy.deepcopy(method), make_views()
    z = embed(twin, views.crops[0])
    scores = z @ z.T / 0.2 - torch.diag(torch.full((32,), math.inf))
    paper = F.cross_entropy(scores, torch.arange(32).roll(16))
    ours = method.step(views, START).loss
    torch.testing.assert_close(ours, paper)
    ours.backward()
    paper.backward()
    for (name, p), q in zip(method.named_parameters(), twin.parameters(), strict=True):
        if p.requires_grad:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_the_code_gives_twice_as_much(make_backbone, make_views) -> None:
    """code_scale adds the means of two views instead of averaging all rows, memory or not."""
    for length in (0, 24):
        paper, code = (
            toy(make_backbone, code_scale=flag, queue_length=length).step(make_views(), START).loss
            for flag in (False, True)
        )
        torch.testing.assert_close(code, 2 * paper)


@pytest.mark.parametrize("name", ["dcl", "dclw"])
def test_dcl_leaves_the_positive_out(name: str, make_backbone, make_views) -> None:
    """Loss and gradients of two views: 2N - 2 candidates a row, and DCLW's weights."""
    torch.manual_seed(1)
    method = create_method(name, make_backbone(), {"out_dim": 8, "temperature": 0.2})
    twin, views = copy.deepcopy(method), make_views()
    z = embed(twin, views.crops[0])
    pull = (z[:16] * z[16:]).sum(1).repeat(2)
    # Both of an image's rows are no candidates of it.
    scores = z @ z.T / 0.2 + torch.full((16, 16), 0.0).fill_diagonal_(-math.inf).repeat(2, 2)
    weights = 2 - 16 * (pull[:16].detach() / 0.5).softmax(0).repeat(2) if name == "dclw" else 1
    paper = (scores.logsumexp(1) - weights * pull / 0.2).mean()
    ours = method.step(views, START).loss
    torch.testing.assert_close(ours, paper)
    ours.backward()
    paper.backward()
    for (parameter, p), q in zip(method.named_parameters(), twin.parameters(), strict=True):
        if p.requires_grad:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-5, msg=parameter)


def test_dcl_and_dclw_are_names_of_settings() -> None:
    """Simclr with another loss, else alike; whoever says the loss gets it under any name."""
    simclr, dcl, dclw = (method_settings(name, {}) for name in ("simclr", "dcl", "dclw"))
    assert [s.loss for s in (simclr, dcl, dclw)] == ["nt_xent", "dcl", "dclw"]
    assert method_settings("simclr", {"loss": "dcl"}) == dcl
    assert dcl.sigma == dclw.sigma == 0.5


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_head(layers: int, make_backbone) -> None:
    """As wide as the features, no biases, small first weights; the last norm only scales."""
    head = toy(make_backbone, projector_layers=layers).projector
    linears = [layer for layer in head if isinstance(layer, nn.Linear)]
    assert [(x.in_features, x.out_features) for x in linears] == [(16, 16)] * (layers - 1) + [
        (16, 8)
    ]
    assert all(layer.bias is None for layer in linears)
    assert linears[0].weight.std().item() == pytest.approx(0.01, rel=0.2)
    norms = [layer for layer in head if isinstance(layer, BatchNorm1d)]
    assert [norm.bias.requires_grad for norm in norms] == [True] * (layers - 1) + [False]
    assert norms[-1].weight.requires_grad
    assert norms[-1].bias.abs().max() == 0


@pytest.mark.parametrize("length", [0, 40])
def test_without_a_projector_embeddings_are_the_features(
    length: int, make_backbone, make_views
) -> None:
    """The paper's identity mapping: NT-Xent of the features themselves, with a memory too."""
    method, views = toy(make_backbone, projector_layers=0, queue_length=length), make_views()
    z = F.normalize(copy.deepcopy(method.backbone)(views.crops[0].flatten(0, 1)), dim=1)
    result = method.step(views, START)
    torch.testing.assert_close(F.normalize(result.embeddings, dim=1), z.detach())
    if not length:
        scores = z @ z.T / 0.2 - torch.diag(torch.full((32,), math.inf))
        torch.testing.assert_close(result.loss, F.cross_entropy(scores, torch.arange(32).roll(16)))
    result.loss.backward()
    method.after_step(START)
    assert not [name for name in method.state_dict() if "projector" in name]
    assert method.backbone.feature_dim == 16 != method.settings.out_dim
    assert all(p.grad is not None for p in method.backbone.parameters())


def test_memory_takes_positives_and_negatives_from_the_copy(make_backbone, make_views) -> None:
    """Candidates: the copy's keys of the other view, then those of former batches, newest first."""
    method = toy(make_backbone, queue_length=40)
    with torch.no_grad():  # a copy unlike the network, as after some steps
        for p in (*method.key_backbone.parameters(), *method.key_projector.parameters()):
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(3)))
    former = torch.zeros(0, 8)
    for seed in range(3):
        twin, views = copy.deepcopy(method), make_views(seed=seed)
        z = embed(twin, views.crops[0]).unflatten(0, (2, 16))
        features = twin.key_backbone(views.crops[0].flatten(0, 1))
        keys = F.normalize(twin.key_projector(features), dim=1).unflatten(0, (2, 16))
        losses = [
            F.cross_entropy(z[v] @ torch.cat([keys[1 - v], former]).T / 0.2, torch.arange(16))
            for v in range(2)
        ]
        loss = method.step(views, START).loss
        torch.testing.assert_close(loss, sum(losses) / 2)
        former = torch.cat([keys[1], keys[0], former])[:40].detach()
        torch.testing.assert_close(method.queue.rows, former)


def test_the_copy_follows_and_takes_no_gradient(make_backbone, make_views) -> None:
    """after_step: 0.9 old + 0.1 new; without a memory there is no copy."""
    method = toy(make_backbone, queue_length=40, momentum=0.9)
    method.step(make_views((2, 2)), START).loss.backward()
    copied = (*method.key_backbone.parameters(), *method.key_projector.parameters())
    assert all(p.grad is None for p in copied)
    with torch.no_grad():
        for p in (*method.backbone.parameters(), *method.projector.parameters()):
            p.add_(1)
    old = copy.deepcopy(method)
    method.after_step(START)
    for name in ("backbone", "projector"):
        target, before = method.get_submodule(f"key_{name}"), old.get_submodule(f"key_{name}")
        online = method.get_submodule(name)
        for p, q, new in zip(
            target.parameters(), before.parameters(), online.parameters(), strict=True
        ):
            torch.testing.assert_close(p, 0.9 * q + 0.1 * new)
    assert not any("key" in name for name in toy(make_backbone).state_dict())


def test_a_continued_memory_repeats(make_backbone, make_views) -> None:
    """Loaded into a fresh method while the queue still grows, the next losses are the same."""
    method = toy(make_backbone, queue_length=100)
    method.step(make_views(seed=0), START)
    twin = toy(make_backbone, queue_length=100)
    twin.load_state_dict(method.state_dict())
    for seed in (1, 2):
        views = make_views(seed=seed)
        assert torch.equal(method.step(views, START).loss, twin.step(views, START).loss)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": 0.0}, "simclr temperature is positive, got 0.0"),
        ({"projector_layers": -1}, "simclr projector_layers is not negative, got -1; try 2"),
        ({"projector_layers": 17}, "simclr projector_layers is at most 16, got 17"),
        ({"queue_length": -1}, "simclr queue_length is not negative"),
        ({"momentum": 1.5}, r"simclr momentum lies in \[0, 1\]"),
        ({"sigma": -1.0}, "simclr sigma is positive, got -1.0"),
        ({"loss": "dlc"}, "unknown simclr loss 'dlc'; did you mean dcl"),
        ({"loss": "dcl", "queue_length": 9}, "has a memory with loss nt_xent alone, got 'dcl'"),
    ],
)
def test_wrong_settings_are_named(values: dict, message: str) -> None:
    """Each wrong value is one line with rule, value and remedy."""
    with pytest.raises(UsageError, match=message):
        Settings(**values)
