"""Statistics per view in one forward: exactly separate forwards, for values, gradients, buffers."""

import copy

import pytest
import torch
from torch import nn

from shards.errors import UsageError
from trainer.nets.batchnorm import (
    BatchNorm1d,
    BatchNorm2d,
    ViewBatchNorm,
    adopt_batch_norm,
    chunked_statistics,
    synchronize_batch_norm,
)
from trainer.nets.multicrop import forward_groups, forward_views
from trainer.nets.resnet import ResNet


def small_resnet() -> ResNet:
    torch.manual_seed(0)
    return ResNet(18, width=0.125, stem="small").double()


def crops(views: int, size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(size)
    x = torch.randn(views, 3, 3, size, size, generator=generator, dtype=torch.float64)
    return x + 2 * torch.arange(views).view(-1, 1, 1, 1, 1)  # views with unlike statistics


def test_one_forward_equals_separate_forwards() -> None:
    """Features, every gradient and every running statistic of a ResNet equal V forwards'."""
    together, apart = small_resnet(), small_resnet()
    views = crops(3, 8)
    ours = forward_views(together, views, per_view=True)
    theirs = torch.stack([apart(view) for view in views])
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    weights = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1)).double()
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    for (name, p), q in zip(together.named_parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-8, atol=1e-10, msg=name)
    for (name, a), b in zip(together.named_buffers(), apart.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12, msg=name)


def test_joint_statistics_differ_and_are_torchs() -> None:
    """Without per_view the batch is one, as in torch's layer, and the features are others."""
    views = crops(2, 8)
    joint = forward_views(small_resnet(), views, per_view=False)
    torch.testing.assert_close(joint.flatten(0, 1), small_resnet()(views.flatten(0, 1)))
    assert (joint - forward_views(small_resnet(), views, per_view=True)).abs().max() > 0.1
    ours, theirs = BatchNorm2d(3).double(), nn.BatchNorm2d(3).double()
    batch = views.flatten(0, 1)
    torch.testing.assert_close(ours(batch), theirs(batch), rtol=0, atol=0)


def test_groups_keep_their_order_with_one_forward_each() -> None:
    """Two sizes: [V, B, D] in view order, the backbone called once a crop group."""
    network = small_resnet()
    calls: list[tuple[int, ...]] = []
    network.register_forward_hook(lambda _, args, __: calls.append(tuple(args[0].shape)))
    groups = (crops(2, 16), crops(4, 8))
    features = forward_groups(network, groups, per_view=True)
    assert features.shape == (6, 3, network.feature_dim)
    assert calls == [(6, 3, 16, 16), (12, 3, 8, 8)]
    expected = [small_resnet()(view) for group in groups for view in group]
    torch.testing.assert_close(features, torch.stack(expected))


def test_evaluation_ignores_chunks() -> None:
    """In eval mode running statistics serve every row alike, whatever the number of views."""
    network = small_resnet().eval()
    batch = crops(1, 8)[0]
    with chunked_statistics(network, 2):  # three rows: not a multiple, and that is fine
        chunked = network(batch)
    torch.testing.assert_close(chunked, network(batch), rtol=0, atol=0)


def test_chunks_end_with_the_context() -> None:
    """After the context, also after an error, the layers see whole batches again."""
    layer = BatchNorm1d(2)
    with pytest.raises(ValueError, match="multiple of 2, got 3 rows"), chunked_statistics(layer, 2):
        layer(torch.zeros(3, 2))
    assert layer.num_chunks == 1


def test_foreign_layers_are_refused_until_adopted() -> None:
    """torch's own layer cannot do it and says so; adopted, it can, and its state dict is kept."""
    foreign = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).double()
    twin = copy.deepcopy(foreign)
    views = torch.randn(2, 5, 3, dtype=torch.float64)
    with pytest.raises(UsageError, match="got BatchNorm1d; pass the network through adopt"):
        forward_views(foreign, views, per_view=True)
    names = list(foreign.state_dict())
    adopted = adopt_batch_norm(foreign)
    assert list(adopted.state_dict()) == names
    ours = forward_views(adopted, views, per_view=True)
    torch.testing.assert_close(ours, torch.stack([twin(view) for view in views]))


def test_adopted_subclass_keeps_its_forward() -> None:
    """A layer that also activates (timm has such) still does, view by view."""

    class Activated(nn.BatchNorm2d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return super().forward(input).relu()

    network, twin = nn.Sequential(Activated(3)).double(), nn.Sequential(Activated(3)).double()
    adopt_batch_norm(network)
    assert isinstance(network[0], ViewBatchNorm)
    views = crops(2, 4)
    ours = forward_views(network, views, per_view=True)
    torch.testing.assert_close(ours, torch.stack([twin(view) for view in views]))
    with pytest.raises(UsageError, match="got ViewActivated"):
        synchronize_batch_norm(network)


def test_channels_last_is_kept() -> None:
    """A channels_last batch leaves the layer channels_last, chunked or not."""
    batch = torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last)
    layer = BatchNorm2d(3)
    with chunked_statistics(layer, 2):
        assert layer(batch).is_contiguous(memory_format=torch.channels_last)
