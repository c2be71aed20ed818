"""A plain vision transformer: tiny, small and base, at any crop size.

Parameter names are timm's, so weights go back and forth. The class token, after the last norm, is
the feature. Position embeddings belong to the grid of `image_size_px`; for another crop size they
are interpolated, so that one set serves all crops of a batch (DINO, 2104.14294).
The two starts are DINO's, which is timm's, and MoCo v3's.
Dosovitskiy et al. 2020, 2010.11929; sizes of tiny and small: DeiT, 2012.12877.

Legend: N images, P patches, D features, H heads, S side in pixels.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from shards.errors import UsageError

SIZES = {"tiny": (192, 3), "small": (384, 6), "base": (768, 12)}  # features, heads
PATCHES_PX = (16, 14, 8, 4)  # 14: DINOv2
POSITIONS = ("learned", "sincos")
INITS = ("trunc_normal", "xavier")
NUM_BLOCKS = 12


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, P, D] -> [N, P, D]."""
        heads = self.qkv(x).unflatten(2, (3, self.num_heads, -1))  # [N, P, 3, H, D/H]
        q, k, v = heads.permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers, four times as wide inside."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, P, D] -> [N, P, D]."""
        return self.fc2(F.gelu(self.fc1(x)))


class DropPath(nn.Module):
    """In training, leave a branch out for a share `rate` of the images, and scale up the others'.

    Huang et al. 2016 (stochastic depth), 1603.09382. Teachers drop nothing (ema.frozen_copy).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, P, D] -> [N, P, D]."""
        if not self.training or self.rate == 0:
            return x
        keep = torch.rand(len(x), 1, 1, device=x.device) >= self.rate
        return x * keep / (1 - self.rate)


class Block(nn.Module):
    """Attention and MLP, each normalised before and added to its input."""

    def __init__(self, dim: int, num_heads: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, P, D] -> [N, P, D]."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class PatchEmbed(nn.Module):
    """Patches to tokens: a convolution whose stride is its size."""

    def __init__(self, dim: int, patch_px: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch_px, patch_px)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[N, 3, S, S] -> [N, D, S/patch, S/patch]."""
        return self.proj(images)


class VisionTransformer(nn.Module):
    """Images [N, 3, S, S] -> features [N, feature_dim]; S is a multiple of the patch."""

    def __init__(
        self,
        size: str,
        patch_px: int,
        *,
        image_size_px: int = 224,
        position: str = "learned",  # or sincos, fixed
        freeze_patch: bool = False,  # the patch projection keeps its random weights (MoCo v3)
        drop_path: float = 0.0,  # of the last block; it rises linearly from 0 at the first
        init: str = "trunc_normal",  # or xavier (MoCo v3): how weights start
        heads: int | None = None,  # of attention, a divisor of D; None: the size's (MoCo v3: 12)
    ) -> None:
        super().__init__()
        dim, own_heads = SIZES[size]
        num_heads = own_heads if heads is None else heads
        require_patches(image_size_px, patch_px)
        self.feature_dim = dim
        self.num_heads = num_heads
        self.patch_px = patch_px
        self.grad_checkpointing = False
        self.grid = image_size_px // patch_px
        self.patch_embed = PatchEmbed(dim, patch_px)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.grid**2, dim))
        self.blocks = nn.ModuleList(
            Block(dim, num_heads, drop_path * i / (NUM_BLOCKS - 1)) for i in range(NUM_BLOCKS)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        if init == "xavier":
            self.apply(_xavier)
            nn.init.normal_(self.cls_token, std=1e-6)
        else:
            self.apply(_truncated_normal)
            nn.init.trunc_normal_(self.cls_token, std=0.02)
        if position == "sincos":
            self.pos_embed.requires_grad_(False)[0, 1:] = sincos_positions(self.grid, dim)
        else:
            nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.patch_embed.requires_grad_(not freeze_patch)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[N, 3, S, S] -> [N, D]: the class token after the last norm."""
        # A convolution would drop the pixels beyond the last whole patch in silence.
        require_patches(images.shape[-1], self.patch_px)
        tokens = self.patch_embed(images)  # [N, D, S/patch, S/patch]
        grid = tokens.shape[-1]
        tokens = tokens.flatten(2).transpose(1, 2)
        # Of the shape, not by len(), which an exported graph would take for a fixed number.
        start = self.cls_token.expand(tokens.shape[0], -1, -1)
        tokens = torch.cat([start, tokens], dim=1)
        tokens = tokens + self._positions(grid)
        recomputes = self.grad_checkpointing and torch.is_grad_enabled()
        for block in self.blocks:
            tokens = checkpoint(block, tokens, use_reentrant=False) if recomputes else block(tokens)
        return self.norm(tokens)[:, 0]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keep the blocks' inputs alone for the backward, which computes the rest again."""
        self.grad_checkpointing = enable

    def _positions(self, grid: int) -> torch.Tensor:
        """[1, 1 + grid^2, D]: the class token's embedding, then the grid's, bicubic if resized."""
        if grid == self.grid:
            return self.pos_embed
        table = self.pos_embed[:, 1:].unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 2)
        # Interpolated in every forward, so that the one table gets all gradients. DINO's code asks
        # for a tenth of a patch more than it takes, and so moves the places by up to 1.6 %.
        scale = (grid + 0.1) / self.grid
        table = F.interpolate(table, scale_factor=scale, mode="bicubic", align_corners=False)
        return torch.cat([self.pos_embed[:, :1], table.flatten(2).transpose(1, 2)], dim=1)


def sincos_positions(grid: int, dim: int) -> torch.Tensor:
    """[grid^2, dim] float32: sines and cosines of row and column, a quarter of the features each.

    Chen, Xie and He 2021 (MoCo v3), 2104.02057; facebookresearch/moco-v3 vits.py.
    """
    omega = 10_000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    angles = torch.arange(grid, dtype=torch.float64)[:, None] * omega  # [grid, dim/4]
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)  # [grid, dim/2]
    rows = waves[:, None].expand(-1, grid, -1)
    columns = waves[None].expand(grid, -1, -1)
    return torch.cat([rows, columns], dim=2).flatten(0, 1).float()


def require_patches(side_px: int, patch_px: int) -> None:
    """UsageError unless a crop's side is a whole number of patches."""
    if side_px % patch_px:
        raise UsageError(
            f"a crop's side is a multiple of the ViT's patch, got {side_px} px and {patch_px} px; "
            f"try --sizes with {side_px // patch_px * patch_px or patch_px}"
        )


def _truncated_normal(module: nn.Module) -> None:
    """DINO's and timm's start; patches keep that of nn.Conv2d."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def _xavier(module: nn.Module) -> None:
    """MoCo v3's start (vits.py of its code): matrices by their fans, patches as one, q, k, v apart.

    Its fixed positions are waves of height 1, beside which smaller patches would hardly be seen.
    """
    if isinstance(module, nn.Linear | nn.Conv2d):
        _start_uniform(module, sum(module.weight.flatten(1).shape))
    elif isinstance(module, Attention):
        _start_uniform(module.qkv, 2 * module.qkv.in_features)


def _start_uniform(layer: nn.Linear | nn.Conv2d, fans: int) -> None:
    bound = math.sqrt(6 / fans)
    nn.init.uniform_(layer.weight, -bound, bound)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
