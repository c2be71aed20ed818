"""Residual networks, 10 to 152 layers: the encoder of most recipes.

Parameter names and shapes are torchvision's at width 1 (stride on the 3x3 convolution, "v1.5"), so
weights go back and forth; there is no `fc`. `width` scales every channel, as the papers' x2 and x4.
He et al. 2015, 1512.03385; the small stem is the CIFAR variant of SimCLR (2002.05709, B.9), the
half one ours, between the two: a quarter of the small one's work for as many channels.

Legend: N images, C channels, S side in pixels, D features.
"""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from trainer.nets.batchnorm import BatchNorm2d

STEMS = ("imagenet", "small", "half")
_WITHOUT_POOLING = {"small": (3, 1), "half": (4, 2)}  # kernel, stride
_SAFE_CHANNELS = 16  # see NarrowShortcut
_conv = partial(nn.Conv2d, bias=False)


class NarrowShortcut(nn.Conv2d):
    """A 1x1 convolution with a stride, which is taken of the image before and not by the kernel.

    The same sums. Of the plain one in channels_last oneDNN (torch 2.13 and 2.14, AVX2) writes past
    the gradient: for fewer than 16 channels and an odd batch on two threads, below 8 always.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """[N, channels_in, S, S] -> [N, channels_out, S/stride, S/stride]."""
        down, across = self.stride
        return F.conv2d(input[:, :, ::down, ::across], self.weight)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels_in, channels, 3, stride, 1)
        self.bn1 = BatchNorm2d(channels)
        self.conv2 = _conv(channels, channels, 3, 1, 1)
        self.bn2 = BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(channels_in, channels, stride)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The norm whose scale zero_init_residual zeroes."""
        return self.bn2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, channels_in, S, S] -> [N, channels, S/stride, S/stride]."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut; four times as many channels leave."""

    expansion = 4

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        channels_out = channels * self.expansion
        self.conv1 = _conv(channels_in, channels, 1)
        self.bn1 = BatchNorm2d(channels)
        self.conv2 = _conv(channels, channels, 3, stride, 1)
        self.bn2 = BatchNorm2d(channels)
        self.conv3 = _conv(channels, channels_out, 1)
        self.bn3 = BatchNorm2d(channels_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(channels_in, channels_out, stride)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The norm whose scale zero_init_residual zeroes."""
        return self.bn3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, channels_in, S, S] -> [N, 4 channels, S/stride, S/stride]."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


DEPTHS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    10: (BasicBlock, (1, 1, 1, 1)),
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


class ResNet(nn.Module):
    """Images [N, 3, S, S] -> features [N, feature_dim], after global average pooling."""

    def __init__(
        self,
        depth: int,
        *,
        width: float = 1.0,  # channels, times the published ones
        # Or, without pooling, small: 3x3 convolution, stride 1; half: 4x4, stride 2.
        stem: str = "imagenet",
        zero_init_residual: bool = False,  # every block starts as its shortcut
        block: type[Bottleneck] | None = None,  # in place of the depth's own
        deep_stem: bool = False,  # three 3x3 convolutions for the ImageNet stem's 7x7 (ResNet-D)
    ) -> None:
        super().__init__()
        own_block, repeats = DEPTHS[depth]
        unit = block or own_block
        base = round(64 * width)
        self.stem = stem
        if stem in _WITHOUT_POOLING:
            self.conv1 = _conv(3, base, *_WITHOUT_POOLING[stem], 1)
        else:
            self.conv1 = _deep_stem(base) if deep_stem else _conv(3, base, 7, 2, 3)
        self.bn1 = BatchNorm2d(base)
        self.relu = nn.ReLU(inplace=True)
        # At 32 px the ImageNet stem would leave 1 x 1 maps for the last stage.
        self.maxpool = nn.Identity() if stem in _WITHOUT_POOLING else nn.MaxPool2d(3, 2, 1)
        stages = _stages(unit, base, repeats)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.feature_dim = 8 * base * unit.expansion
        self.apply(partial(_initialize, zero_init_residual=zero_init_residual))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, S, S] -> [N, D], for any S the strides allow."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x.mean((2, 3))


def _deep_stem(base: int) -> nn.Sequential:
    """Three 3x3 convolutions, the first of stride 2, half as wide inside.

    The norm and ReLU after the last one are the network's own. He et al. 2018, 1812.01187.
    """
    half = max(1, base // 2)
    layers: list[nn.Module] = []
    for channels_in, stride in ((3, 2), (half, 1)):
        layers += [_conv(channels_in, half, 3, stride, 1), BatchNorm2d(half)]
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers, _conv(half, base, 3, 1, 1))


def _stages(
    block: type[BasicBlock] | type[Bottleneck], base: int, repeats: tuple[int, ...]
) -> list[nn.Sequential]:
    """Stages of blocks; each but the first halves the side and doubles the channels."""
    stages = []
    channels_in = base
    for stage, count in enumerate(repeats):
        channels = base * 2**stage
        blocks = []
        for i in range(count):
            stride = 2 if stage > 0 and i == 0 else 1
            blocks.append(block(channels_in, channels, stride))
            channels_in = channels * block.expansion
        stages.append(nn.Sequential(*blocks))
    return stages


def _shortcut(channels_in: int, channels_out: int, stride: int) -> nn.Module | None:
    if stride == 1 and channels_in == channels_out:
        return None
    conv = NarrowShortcut if stride > 1 and channels_in < _SAFE_CHANNELS else _conv
    return nn.Sequential(
        conv(channels_in, channels_out, 1, stride, bias=False), BatchNorm2d(channels_out)
    )


def _initialize(module: nn.Module, zero_init_residual: bool) -> None:
    """He initialisation, as torchvision's."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    if zero_init_residual and isinstance(module, BasicBlock | Bottleneck):
        nn.init.zeros_(module.last_norm.weight)
