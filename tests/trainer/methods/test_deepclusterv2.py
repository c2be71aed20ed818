"""DeepCluster v2 against its paper and code: the looking epoch, clustering, labels, loss."""

import math

import pytest
import torch

from shards.errors import UsageError
from trainer.banks.kmeans import spherical_kmeans
from trainer.methods.deepclusterv2 import DeepClusterV2, Settings
from trainer.methods.protocol import Progress

STEPS_PER_EPOCH = 2.5


def toy(make_backbone, **changes: object) -> DeepClusterV2:
    values = {"num_prototypes": 5, "hidden_dim": 32, "out_dim": 8, **changes}
    backbone = make_backbone()
    torch.manual_seed(1)
    method = DeepClusterV2(backbone, Settings(**values))
    method.prepare(16)
    return method


def at(step: int) -> Progress:
    return Progress(step, 100, STEPS_PER_EPOCH)


def embed(method: DeepClusterV2, views) -> torch.Tensor:
    """[V, B, D] as published: batch statistics of all views of a size, then of all views."""
    features = [method.backbone(crops.flatten(0, 1)) for crops in views.crops]
    z = method.projector(torch.cat(features))
    return (z / z.norm(dim=1, keepdim=True)).unflatten(0, (views.num_views, -1))


def test_loss_is_the_published_one(make_backbone, make_views) -> None:
    """2+3 views: cross-entropy of each view and head with its image's cluster, mean of all."""
    method, views = toy(make_backbone), make_views((2, 3))
    for step in range(3):
        method.step(make_views((2, 3), seed=step), at(step))
    loss = method.step(views, at(3)).loss
    z = embed(method, views)
    terms = [
        -torch.log_softmax(method.centroids[h] @ z[v, b] / 0.1, 0)[method.labels[b, h]]
        for v in range(5)
        for b in range(16)
        for h in range(3)
    ]
    torch.testing.assert_close(loss, torch.stack(terms).mean())


def test_the_first_epoch_looks(make_backbone) -> None:
    """Steps that begin in the first epoch only fill the bank, whole and broken ones."""
    method = toy(make_backbone)
    assert [method.looks_only(at(step)) for step in range(5)] == [True, True, True, False, False]


def test_clusters_are_renewed_where_an_epoch_begins(make_backbone, make_views) -> None:
    """2.5 steps an epoch: before steps 3, 5, 8, 10 and at no other; never in the first epoch."""
    method, changed = toy(make_backbone), []
    for step in range(11):
        before = method.centroids.clone()
        method.step(make_views(seed=step), at(step))
        if not torch.equal(method.centroids, before):
            changed.append(step)
    assert changed == [3, 5, 8, 10]


def test_clusters_are_those_of_the_last_epochs_bank(make_backbone, make_views) -> None:
    """Head h clusters bank h mod 2 from random rows of it; its labels are the nearest centroids."""
    method = toy(make_backbone)
    for step in range(3):
        method.step(make_views(seed=step), at(step))
    bank = method.bank.rows.clone()
    method.step(make_views(seed=3), at(3))
    generator = torch.Generator().manual_seed(method.bank.seed + 1)
    for head in range(3):
        rows = bank[:, head % 2]
        first = rows[torch.randperm(16, generator=generator)[:5]]
        centroids, labels = spherical_kmeans(rows, first, iterations=10)
        assert torch.equal(method.centroids[head], centroids)
        assert torch.equal(method.labels[:, head], labels)


def test_bank_holds_the_assigned_views(make_backbone, make_views) -> None:
    """Each of the two global views has a bank of its own, overwritten with this step's rows."""
    method, views = toy(make_backbone), make_views((2, 2))
    method.step(views, at(0))
    z = embed(method, views)
    torch.testing.assert_close(method.bank.rows, z[:2].transpose(0, 1))


def test_centroids_are_never_trained(make_backbone, make_views) -> None:
    """They are no parameters, so no optimizer sees them."""
    method = toy(make_backbone)
    method.step(make_views(), at(4)).loss.backward()
    assert not method.centroids.requires_grad
    assert "centroids" not in dict(method.named_parameters())


def test_equal_centroids_cost_log_k(make_backbone, make_views) -> None:
    """Centroids that are all alike: the loss is ln K."""
    method = toy(make_backbone)
    method.centroids.copy_(method.centroids[:, :1].expand(3, 5, 8).clone())
    assert method.step(make_views(), at(0)).loss.item() == pytest.approx(math.log(5), rel=1e-5)


def test_one_assigned_view_is_enough(make_backbone, make_views) -> None:
    """With num_assign 1 a single global view trains; with 2 it is refused."""
    method = toy(make_backbone, num_assign=1)
    method.check_views((1, 6))
    for step in range(5):
        assert method.step(make_views((1,), seed=step), at(step)).loss.isfinite()
    with pytest.raises(UsageError, match="at least 2 global views"):
        toy(make_backbone).check_views((1, 6))


def test_more_clusters_than_images_are_refused(make_backbone) -> None:
    """First centroids are images, so there are no more clusters than those."""
    method = DeepClusterV2(make_backbone(), Settings(num_prototypes=17))
    with pytest.raises(UsageError, match="at most the number of images, 16, got 17; try"):
        method.prepare(16)


@pytest.mark.parametrize("name", ["num_heads", "num_prototypes", "iterations", "num_assign"])
def test_wrong_settings_are_named(name: str) -> None:
    """Each wrong value is one line with rule, value and remedy."""
    with pytest.raises(UsageError, match=f"deepclusterv2 {name} is at least 1, got 0"):
        Settings(**{name: 0})
    with pytest.raises(UsageError, match="deepclusterv2 temperature is positive, got 0"):
        Settings(temperature=0.0)
