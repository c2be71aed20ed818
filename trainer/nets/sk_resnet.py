"""Selective-kernel residual networks: SimCLR v2's large encoders, 50 to 152 layers.

Every 3x3 convolution becomes two streams, mixed per channel by weights from the image itself; stem
and shortcuts are ResNet-D's. resnet.py builds the rest; `width` makes the papers' 2x and 3x.
Chen et al. 2020, 2006.10029; google-research/simclr resnet.py (`sk_conv2d`, `bottleneck_block`);
Li et al. 2019, 1903.06586; He et al. 2018 (ResNet-D), 1812.01187. Max-pooling is torchvision's,
padded on both sides, where TensorFlow pads the lower right only.

Legend: N images, C channels, S side in pixels.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from trainer.nets.batchnorm import BatchNorm2d
from trainer.nets.resnet import Bottleneck, ResNet

SK_DEPTHS = (50, 101, 152)
SK_RATIO = 0.0625  # hidden channels of the mixing weights a channel of a stream
_MIN_HIDDEN = 32


def sk_resnet(depth: int, **options: Any) -> ResNet:
    """A ResNet of selective-kernel blocks; options as ResNet's width, stem, zero_init_residual."""
    return ResNet(depth, block=SKBottleneck, deep_stem=True, **options)


class SelectiveKernel(nn.Module):
    """Two 3x3 convolutions, batch-normalised, and a softmax between them for every channel."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        hidden = max(int(channels * SK_RATIO), _MIN_HIDDEN)
        self.conv = nn.Conv2d(channels, 2 * channels, 3, stride, 1, bias=False)
        self.bn = BatchNorm2d(2 * channels)
        self.squeeze = nn.Conv2d(channels, hidden, 1, bias=False)
        self.squeeze_bn = BatchNorm2d(hidden)
        self.mix = nn.Conv2d(hidden, 2 * channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, S, S] -> [N, C, S/stride, S/stride]."""
        streams = self.bn(self.conv(x)).relu().unflatten(1, (2, -1))  # [N, 2, C, S, S]
        pooled = streams.sum(1).mean((2, 3), keepdim=True)
        hidden = self.squeeze_bn(self.squeeze(pooled)).relu()
        shares = self.mix(hidden).unflatten(1, (2, -1)).softmax(1)  # [N, 2, C, 1, 1]
        return (streams * shares).sum(1)


class ShortcutPool(nn.Module):
    """Average of 2x2 pixels, at the border of those there are: a shortcut that drops no pixel."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, S, S] -> [N, C, S/stride, S/stride], rounded up."""
        if self.stride > 1:
            return F.avg_pool2d(x, 2, self.stride, ceil_mode=True, count_include_pad=False)
        # Padded all round for a missing row and column at the end only; the first ones go again.
        return F.avg_pool2d(x, 2, 1, padding=1, count_include_pad=False)[:, :, 1:, 1:]


class SKBottleneck(Bottleneck):
    """A bottleneck whose middle is a selective kernel, with ResNet-D's shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__(channels_in, channels, stride)
        self.conv2 = SelectiveKernel(channels, stride)
        # The streams have been normalised, and stay positive when mixed: the ReLU changes nothing.
        self.bn2 = nn.Identity()
        if self.downsample is not None:
            channels_out = channels * self.expansion
            self.downsample = nn.Sequential(
                ShortcutPool(stride),
                nn.Conv2d(channels_in, channels_out, 1, bias=False),
                BatchNorm2d(channels_out),
            )
