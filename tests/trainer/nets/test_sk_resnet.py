"""Selective-kernel ResNets: SimCLR v2's sizes, its mixed streams, ResNet-D's stem and shortcut."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainer.nets.backbones import create_backbone, feature_dim
from trainer.nets.sk_resnet import SelectiveKernel, ShortcutPool, SKBottleneck

# (depth, width, selective): millions of parameters in the table of google-research/simclr's README,
# which counts running means and variances.
SIZES = {
    (50, 1, False): 24, (50, 1, True): 35, (50, 2, False): 94, (50, 2, True): 140,
    (101, 1, False): 43, (101, 1, True): 65, (101, 2, False): 170, (101, 2, True): 257,
    (152, 1, False): 58, (152, 1, True): 89, (152, 2, False): 233, (152, 2, True): 354,
    (152, 3, True): 795,
}  # fmt: skip


@pytest.mark.parametrize(("depth", "width", "selective"), SIZES)
def test_sizes_are_the_published_ones(depth: int, width: int, selective: bool) -> None:
    """SimCLR v2's thirteen encoders have its README's parameters, to the million."""
    with torch.device("meta"):
        model = create_backbone(f"resnet{depth}{'_sk' if selective else ''}", width=width)
    statistics = [b for name, b in model.named_buffers() if "running" in name]
    count = sum(t.numel() for t in (*model.parameters(), *statistics))
    assert round(count / 1e6) == SIZES[depth, width, selective]
    assert feature_dim(model) == 2048 * width


def test_two_streams_are_mixed_per_channel() -> None:
    """The layer equals loops over the published steps, image by image and channel by channel."""
    torch.manual_seed(0)
    layer = SelectiveKernel(4, stride=2).double().eval()
    assert layer.squeeze.out_channels == 32  # 4 / 16 is less than the least
    assert SelectiveKernel(1024, stride=1).squeeze.out_channels == 64
    x = torch.randn(3, 4, 6, 6, dtype=torch.float64)
    both = F.relu(layer.bn(F.conv2d(x, layer.conv.weight, stride=2, padding=1)))
    out = torch.zeros(3, 4, 3, 3, dtype=torch.float64)
    for n in range(3):
        first, second = both[n, :4], both[n, 4:]
        pooled = (first + second).mean((1, 2))
        hidden = layer.squeeze_bn((layer.squeeze.weight[:, :, 0, 0] @ pooled)[None, :, None, None])
        votes = layer.mix.weight[:, :, 0, 0] @ F.relu(hidden).flatten()
        for c in range(4):
            share = 1 / (1 + torch.exp(votes[4 + c] - votes[c]))
            out[n, c] = share * first[c] + (1 - share) * second[c]
    torch.testing.assert_close(layer(x), out)


@pytest.mark.parametrize(("side", "stride"), [(4, 1), (5, 1), (4, 2), (5, 2), (1, 2)])
def test_the_shortcut_averages_the_pixels_there_are(side: int, stride: int) -> None:
    """Each output is the mean of its 2x2 window to the lower right, cut off at the border."""
    x = torch.randn(2, 3, side, side)
    out = ShortcutPool(stride)(x)
    tops = range(0, side, stride)
    assert out.shape == (2, 3, len(tops), len(tops))
    for i, top in enumerate(tops):
        for j, left in enumerate(tops):
            window = x[:, :, top : top + 2, left : left + 2]
            torch.testing.assert_close(out[:, :, i, j], window.mean((2, 3)))


@pytest.mark.parametrize("side", [32, 33, 64])
def test_a_block_fits_its_shortcut_at_any_side(side: int) -> None:
    """Convolution and pooled shortcut agree on the size; the last ReLU of the mix does nothing."""
    block = SKBottleneck(16, 4, stride=2)
    x = torch.randn(2, 16, side, side)
    assert block(x).shape == (2, 16, -(-side // 2), -(-side // 2))
    assert block.conv2(block.conv1(x)).min() >= 0


def test_stems() -> None:
    """ImageNet: three 3x3 convolutions, half as wide at first; small images: one, no pooling."""
    large = create_backbone("resnet50_sk", width=0.25)
    stem = large.get_submodule("conv1").children()
    convolutions = [m for m in stem if isinstance(m, nn.Conv2d)]
    shapes = [(c.out_channels, c.kernel_size, c.stride) for c in convolutions]
    assert shapes == [(8, (3, 3), (2, 2)), (8, (3, 3), (1, 1)), (16, (3, 3), (1, 1))]
    small = create_backbone("resnet50_sk", width=0.25, stem="small").get_submodule("conv1")
    assert isinstance(small, nn.Conv2d)
    assert small.stride == (1, 1)


def test_zero_init_and_gradients() -> None:
    """Blocks can start as their shortcuts, and every parameter of a block gets a gradient."""
    model = create_backbone("resnet50_sk", width=0.125, zero_init_residual=True)
    assert model.get_parameter("layer1.0.bn3.weight").abs().max() == 0
    plain = create_backbone("resnet50_sk", width=0.125, stem="small")
    plain(torch.randn(4, 3, 16, 16)).square().sum().backward()
    assert all(p.grad is not None for p in plain.parameters())
