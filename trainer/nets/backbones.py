"""Encoders by name: ours (ResNet, ViT), one's own, and through timm when it is installed the rest.

A backbone maps images [N, 3, S, S] of any crop size to features [N, feature_dim]; methods ask
nothing else of it. `networks.py` builds it here from the recipe's `backbone`.
"""

import inspect

from torch import nn

from shards.errors import UsageError
from trainer.checks import choose, require
from trainer.nets.own_nets import create_own
from trainer.nets.resnet import DEPTHS, STEMS, ResNet
from trainer.nets.sk_resnet import SK_DEPTHS, sk_resnet
from trainer.nets.timm_models import create_timm
from trainer.nets.vit import INITS, PATCHES_PX, POSITIONS, SIZES, VisionTransformer, require_patches

WIDTHS = (1 / 8, 16)
SMALL_IMAGE_PX = 64  # stem "auto" takes the small one up to here
_RESNETS = {
    f"resnet{depth}" + (f"x{width}" if width > 1 else ""): (depth, width)
    for depth in DEPTHS
    for width in (1, 2, 4)
}
_SK_RESNETS = {f"resnet{depth}_sk": depth for depth in SK_DEPTHS}
_VITS = {f"vit_{size}{patch}": (size, patch) for size in SIZES for patch in PATCHES_PX}
# Every name that ships; timm:NAME, package.module:Class and entry points come on top.
BACKBONES = dict.fromkeys(
    (*_RESNETS, *_SK_RESNETS, *_VITS), "trainer.nets.backbones:create_backbone"
)


def check_options(stem: str, width: float, position: str, init: str, drop_path: float) -> None:
    """UsageError for an option that no encoder has; a config asks before anything is built."""
    choose("stem", stem, ("auto", *STEMS))
    choose("position embedding", position, POSITIONS)
    choose("backbone.init", init, INITS)
    low, high = WIDTHS
    rule = f"backbone.width lies in [{low:g}, {high:g}]"
    require(low <= width <= high, rule, width, "try backbone.width=1")
    require(0 <= drop_path < 1, "backbone.drop_path lies in [0, 1)", drop_path, "try 0.1")


def create_backbone(
    arch: str,
    *,
    image_size_px: int = 224,  # side of the largest crop
    other_sizes_px: tuple[int, ...] = (),  # sides of the others, in falling order
    stem: str = "auto",  # imagenet, small, half; auto: small up to 64 px. ResNets only
    width: float = 1.0,  # channels, times the published ones. ResNets only
    zero_init_residual: bool = False,  # every block starts as its shortcut. ResNets only
    position: str = "learned",  # or sincos, fixed. ViTs only
    freeze_patch: bool = False,  # the patch projection keeps its random weights. ViTs only
    drop_path: float = 0.0,  # share of images that skip the last block. ViTs only
    init: str = "trunc_normal",  # or xavier, how weights start. ViTs only
    heads: int | None = None,  # of attention; null: the size's own. ViTs only
) -> nn.Module:
    """A randomly initialised backbone with an int attribute `feature_dim`.

    Raises:
        UsageError: an unknown name, or an option this kind of backbone does not have.
    """
    check_options(stem, width, position, init, drop_path)
    if arch.startswith("timm:"):
        _refuse_resnet_options(arch, stem, width, zero_init_residual)
        _refuse_vit_options(arch, position, freeze_patch, drop_path, init, heads)
        return create_timm(arch.removeprefix("timm:"), (image_size_px, *other_sizes_px))
    if arch not in BACKBONES:
        sizes = {"image_size_px": image_size_px, "other_sizes_px": other_sizes_px}
        options = {
            "stem": stem,
            "width": width,
            "zero_init_residual": zero_init_residual,
            "position": position,
            "freeze_patch": freeze_patch,
            "drop_path": drop_path,
            "init": init,
            "heads": heads,
        }
        return create_own(arch, BACKBONES, sizes, options, _DEFAULTS)
    if arch in _VITS:
        _refuse_resnet_options(arch, stem, width, zero_init_residual)
        size, patch_px = _VITS[arch]
        dim, _ = SIZES[size]
        rule = f"backbone.heads divides the {dim} features of {arch}"
        require(heads is None or (heads >= 1 and dim % heads == 0), rule, heads, "try 12")
        for size_px in other_sizes_px:
            require_patches(size_px, patch_px)
        return VisionTransformer(
            size,
            patch_px,
            image_size_px=image_size_px,
            position=position,
            freeze_patch=freeze_patch,
            drop_path=drop_path,
            init=init,
            heads=heads,
        )
    _refuse_vit_options(arch, position, freeze_patch, drop_path, init, heads)
    if stem == "auto":
        stem = "small" if image_size_px <= SMALL_IMAGE_PX else "imagenet"
    if arch in _SK_RESNETS:
        depth = _SK_RESNETS[arch]
        return sk_resnet(depth, width=width, stem=stem, zero_init_residual=zero_init_residual)
    depth, published_width = _RESNETS[arch]
    width *= published_width
    return ResNet(depth, width=width, stem=stem, zero_init_residual=zero_init_residual)


def feature_dim(backbone: nn.Module) -> int:
    """Width of the backbone's features; TypeError when it does not say."""
    dim = getattr(backbone, "feature_dim", None)
    if not isinstance(dim, int):
        raise TypeError(
            f"a backbone has an int attribute feature_dim, got {dim!r} from "
            f"{type(backbone).__name__}; set it to the width of its output"
        )
    return dim


_DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(create_backbone).parameters.items()
}


def _refuse_resnet_options(arch: str, stem: str, width: float, zero_init: bool) -> None:
    if stem in STEMS or width != 1 or zero_init:
        raise UsageError(
            f"stem, width and zero_init_residual belong to ResNets, got stem={stem}, "
            f"width={width:g}, zero_init_residual={zero_init} with {arch}; leave them out"
        )


def _refuse_vit_options(
    arch: str, position: str, freeze_patch: bool, drop_path: float, init: str, heads: int | None
) -> None:
    defaults = position == "learned" and init == "trunc_normal" and heads is None
    if not defaults or freeze_patch or drop_path:
        raise UsageError(
            "position, freeze_patch, drop_path, init and heads belong to ViTs, got "
            f"position={position}, freeze_patch={freeze_patch}, drop_path={drop_path:g}, "
            f"init={init}, heads={heads} with {arch}; leave them out"
        )
