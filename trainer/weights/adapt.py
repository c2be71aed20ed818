"""Tensors made to fit: positions for another grid, patches of another side, other channels.

Each keeps what the network says as near as it can be: positions are interpolated, a patch's filter
gives on a resized patch what it gave on the patch, and channels that are all alike give what they
gave. `match.py` calls it for a tensor whose shape is not the network's.

Legend: P tokens before the grid (the class token), D features, C channels, K side of a kernel.
"""

import math

import torch
from torch.nn import functional as F

POSITIONS = ("pos_embed",)
PATCHES = ("patch_embed.proj.weight",)
# What a network's first convolution is called: ours, torchvision's and timm's, timm's stems.
FIRST_CONVOLUTIONS = ("conv1.weight", "conv1.0.weight", "stem.0.weight", "stem.conv1.weight")


def adapt(
    name: str,
    tensor: torch.Tensor,
    shape: torch.Size,  # the network's
) -> tuple[torch.Tensor, str] | None:
    """The tensor in this shape, and in words what was done; None where there is no way."""
    if name in POSITIONS and tensor.ndim == len(shape) == 3 and tensor.shape[2] == shape[2]:
        return _positions(tensor, shape)
    is_first = name in (*PATCHES, *FIRST_CONVOLUTIONS)
    if not is_first or tensor.ndim != 4 or len(shape) != 4 or tensor.shape[0] != shape[0]:
        return None
    words = []
    if tensor.shape[1] != shape[1]:
        words.append(f"{tensor.shape[1]} channels to {shape[1]}")
        tensor = with_channels(tensor, shape[1])
    if tensor.shape[2:] != shape[2:]:
        if name not in PATCHES or tensor.shape[2] != tensor.shape[3] or shape[2] != shape[3]:
            return None
        words.append(f"patches of {tensor.shape[2]} px to {shape[2]} px")
        tensor = with_patch(tensor, shape[2])
    return tensor, ", ".join(words)


def with_grid(
    table: torch.Tensor,  # [1, P + old^2, D]
    prefix: int,  # P, which stay as they are
    grid: int,  # the new side
) -> torch.Tensor:
    """[1, P + grid^2, D]: bicubic, antialiased where it shrinks.

    timm/layers/pos_embed.py (resample_abs_pos_embed) in huggingface/pytorch-image-models.
    """
    old = math.isqrt(table.shape[1] - prefix)
    places = table[:, prefix:].float().unflatten(1, (old, old)).permute(0, 3, 1, 2)
    size = (grid, grid)
    places = F.interpolate(places, size, mode="bicubic", antialias=True, align_corners=False)
    places = places.flatten(2).transpose(1, 2).to(table.dtype)
    return torch.cat([table[:, :prefix], places], dim=1)


def with_patch(
    filters: torch.Tensor,  # [D, C, K, K]
    side_px: int,
) -> torch.Tensor:
    """[D, C, side, side]: w' with <w', B x> = <w, x> for every patch x and its resized B x.

    w' = pinv(B^T) w, exact for larger patches, the least squares for smaller ones. Beyer et al.
    2022 (FlexiViT), 2212.08013, section 3.4.
    """
    old = filters.shape[-1]
    basis = torch.eye(old * old).unflatten(1, (1, old, old))  # [K^2, 1, K, K]
    size = (side_px, side_px)
    resized = F.interpolate(basis, size, mode="bicubic", antialias=True, align_corners=False)
    inverse = torch.linalg.pinv(resized.flatten(1).double())  # of B^T, [side^2, K^2]
    flat = filters.double().flatten(2)  # [D, C, K^2]
    return (flat @ inverse.T).unflatten(2, size).to(filters.dtype)


def with_channels(
    filters: torch.Tensor,  # [D, C, K, K]
    channels: int,
) -> torch.Tensor:
    """[D, channels, K, K]: summed for one channel, else repeated in turn and scaled by C/channels.

    timm/models/_manipulate.py (adapt_input_conv) in huggingface/pytorch-image-models.
    """
    if channels == 1:
        return filters.sum(1, keepdim=True)
    own = filters.shape[1]
    turn = torch.arange(channels) % own
    return filters[:, turn] * (own / channels)


def _positions(table: torch.Tensor, shape: torch.Size) -> tuple[torch.Tensor, str] | None:
    old, new = _prefix(table.shape[1]), _prefix(shape[1])
    if old is None or new is None or old != new:
        return None
    before, after = math.isqrt(table.shape[1] - old), math.isqrt(shape[1] - new)
    words = f"positions of {before} x {before} patches to {after} x {after}"
    return with_grid(table, old, after), words


def _prefix(tokens: int) -> int | None:
    """Tokens before a square grid: none or one."""
    return next((p for p in (0, 1) if math.isqrt(tokens - p) ** 2 == tokens - p), None)
