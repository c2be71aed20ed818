"""Backbones by name: shapes, torchvision's and timm's parameter names, options, refusals."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from shards.errors import UsageError
from trainer.nets.backbones import BACKBONES, create_backbone, feature_dim
from trainer.nets.batchnorm import BatchNorm2d
from trainer.nets.ema import frozen_copy
from trainer.nets.multicrop import forward_groups
from trainer.nets.resnet import NarrowShortcut
from trainer.nets.vit import DropPath

ROOT = Path(__file__).parents[3]
# Digest of "name shape" lines of the state dict, without classifier, and number of parameters.
# From torchvision 0.29.2 (resnet18(), ...) and timm 1.0.31 (vit_tiny_patch16_224, ...).
PUBLISHED = {
    "resnet18": ("3e41db4eb3bc5ae8", 11176512),
    "resnet34": ("3d6e9094c640cf42", 21284672),
    "resnet50": ("3fd989592177b1c7", 23508032),
    "resnet101": ("ae2a783082f291ca", 42500160),
    "resnet152": ("8edd28a3b55d4400", 58143808),
    "vit_tiny16": ("ccb1acec7c8b20b6", 5524416),
    "vit_small8": ("13505492a8d9a5f2", 21670272),
    "vit_base16": ("4123542f191697e0", 85798656),
}


def on_meta(arch: str, **options: object) -> nn.Module:
    with torch.device("meta"):
        return create_backbone(arch, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("arch", PUBLISHED)
def test_names_and_shapes_are_the_published_ones(arch: str) -> None:
    """State dicts have torchvision's (ResNet) and timm's (ViT) names, shapes and order."""
    model = on_meta(arch)
    lines = [f"{name} {tuple(value.shape)}" for name, value in model.state_dict().items()]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    assert (digest, sum(p.numel() for p in model.parameters())) == PUBLISHED[arch]


@pytest.mark.parametrize("arch", [a for a in BACKBONES if "t1" not in a or "t18" in a])
def test_every_name_builds_and_knows_its_width(arch: str) -> None:
    """Each listed name maps images to [N, feature_dim], for two crop sizes."""
    sizes = (56, 28) if arch.endswith("14") else (64, 32)  # whole patches
    model = on_meta(arch, image_size_px=sizes[0])
    for size in sizes:
        features = model(torch.zeros(2, 3, size, size, device="meta"))
        assert features.shape == (2, feature_dim(model))


@pytest.mark.parametrize(
    ("arch", "width", "expected"),
    [("resnet18", 0.25, 128), ("resnet50x2", 1, 4096), ("resnet50x4", 0.5, 4096)],
)
def test_width_scales_every_channel(arch: str, width: float, expected: int) -> None:
    """Features grow with width and the x2 in a name; a quarter width has about 1/16 parameters."""
    assert feature_dim(on_meta(arch, width=width)) == expected
    small = sum(p.numel() for p in on_meta("resnet18", width=0.25).parameters())
    assert small == pytest.approx(11176512 / 16, rel=0.01)


def test_stem_follows_the_crop_size() -> None:
    """auto: stride 1 without pooling up to 64 px, the ImageNet stem above; or as asked for."""
    assert on_meta("resnet18", image_size_px=64).conv1.stride == (1, 1)
    assert isinstance(on_meta("resnet18", image_size_px=64).maxpool, nn.Identity)
    assert on_meta("resnet18", image_size_px=65).conv1.stride == (2, 2)
    assert on_meta("resnet18", image_size_px=32, stem="imagenet").conv1.kernel_size == (7, 7)
    assert on_meta("resnet18", image_size_px=224, stem="small").conv1.kernel_size == (3, 3)


@pytest.mark.parametrize(("stem", "side"), [("small", 32), ("half", 16), ("imagenet", 8)])
def test_a_stem_says_how_large_the_first_stage_is(stem: str, side: int) -> None:
    """Of views of 32 px: as large, half, and a quarter; 24 px and odd sides go through as well."""
    network = on_meta("resnet10", image_size_px=32, stem=stem, width=0.25)
    sides: list[int] = []
    network.layer1.register_forward_hook(lambda _, inputs, output: sides.append(output.shape[-1]))
    for px in (32, 24, 17):
        assert network(torch.empty(2, 3, px, px, device="meta")).shape == (2, 128)
    assert sides[0] == side


def test_zero_init_residual() -> None:
    """Blocks start as their shortcuts: the last norm's scale is 0, all the others 1."""
    zeroed = create_backbone("resnet50", width=0.125, zero_init_residual=True)
    scales = {n: m.weight for n, m in zeroed.named_modules() if isinstance(m, BatchNorm2d)}
    for name, scale in scales.items():
        assert scale.unique().tolist() == [0.0 if name.endswith("bn3") else 1.0]
    plain = create_backbone("resnet18", width=0.125)
    assert all(m.weight.min() == 1 for m in plain.modules() if isinstance(m, BatchNorm2d))


def test_channels_last_gives_the_same_features() -> None:
    """channels_last weights and crops: same features, and no layer falls back."""
    torch.manual_seed(0)
    model = create_backbone("resnet18", width=0.125, stem="small").eval()
    images = torch.randn(2, 3, 16, 16)
    plain = model(images)
    model.to(memory_format=torch.channels_last)
    out = model(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(out, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("position", ["learned", "sincos"])
def test_vit_takes_every_crop_size(position: str) -> None:
    """One table of positions serves 32 and 16 px crops; its gradient exists when it is learned."""
    torch.manual_seed(0)
    model = create_backbone("vit_tiny8", image_size_px=32, position=position)
    crops = (torch.randn(2, 2, 3, 32, 32), torch.randn(3, 2, 3, 16, 16))
    features = forward_groups(model, crops, per_view=False)
    assert features.shape == (5, 2, 192)
    features.square().sum().backward()
    table = model.get_parameter("pos_embed")
    assert (table.grad is not None) == (position == "learned")


def test_sincos_tells_places_apart() -> None:
    """Fixed positions are distinct, bounded, and nearer places have nearer embeddings."""
    table = create_backbone("vit_tiny4", image_size_px=32, position="sincos").get_parameter(
        "pos_embed"
    )[0, 1:]
    distances = torch.cdist(table, table)
    assert table.abs().max() <= 1
    assert distances[~torch.eye(64, dtype=torch.bool)].min() > 0.1
    assert distances[0, 1] < distances[0, 3]
    assert distances[0, 8] < distances[0, 24]
    torch.testing.assert_close(distances[0, 1], distances[0, 8])


def test_freeze_patch() -> None:
    """The patch projection alone stands still: no gradient for it, one for everything else."""
    model = create_backbone("vit_tiny4", image_size_px=8, freeze_patch=True)
    model(torch.randn(2, 3, 8, 8)).square().sum().backward()
    for name, p in model.named_parameters():
        assert (p.grad is None) == name.startswith("patch_embed."), name


def test_drop_path() -> None:
    """Linear from 0 to the last block's rate, in training only; a branch keeps its mean."""
    model = create_backbone("vit_tiny4", image_size_px=8, drop_path=0.11)
    layers = [m for m in model.modules() if isinstance(m, DropPath)]
    assert [layer.rate for layer in layers] == pytest.approx([i / 100 for i in range(12)])
    layer, x = DropPath(0.25), torch.ones(40_000, 1, 2)
    torch.manual_seed(0)
    out = layer(x)
    assert torch.equal(out[..., 0], out[..., 1])  # a whole image, or nothing of it
    torch.testing.assert_close(out.unique(), torch.tensor([0.0, 4 / 3]))
    assert out.mean().item() == pytest.approx(1, abs=0.01)
    assert layer.eval()(x) is x
    teacher = frozen_copy(model)
    assert all(m.rate == 0 for m in teacher.modules() if isinstance(m, DropPath))
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(teacher(images), model.eval()(images))


@pytest.mark.parametrize(
    ("arch", "options", "message"),
    [
        ("resnet51", {}, "unknown arch 'resnet51'; did you mean resnet50x2|did you mean resnet5"),
        ("resnet18", {"stem": "tiny"}, "unknown stem 'tiny'.*known: auto, imagenet, small, half"),
        ("resnet18", {"width": 0.0}, r"backbone.width lies in \[0.125, 16\], got 0.0"),
        ("resnet18", {"width": 0.12}, r"backbone.width lies in \[0.125, 16\], got 0.12"),
        ("resnet18", {"width": 1e9}, r"backbone.width lies in \[0.125, 16\], got 1000000000.0"),
        ("vit_tiny16", {"width": 0.5}, "belong to ResNets"),
        ("vit_tiny16", {"stem": "small"}, "belong to ResNets"),
        ("vit_tiny16", {"image_size_px": 28}, "multiple of the ViT's patch, got 28 px and 16 px"),
        ("vit_tiny16", {"position": "none"}, "unknown position embedding"),
        ("vit_tiny16", {"drop_path": 1.0}, r"backbone.drop_path lies in \[0, 1\), got 1.0"),
        ("resnet18", {"drop_path": 0.1}, "belong to ViTs.*drop_path=0.1, init=trunc_normal"),
        ("resnet18", {"freeze_patch": True}, "belong to ViTs"),
        ("resnet18", {"position": "sincos"}, "belong to ViTs"),
    ],
)
def test_wrong_requests_are_named(arch: str, options: dict, message: str) -> None:
    """Each wrong option is one line with rule, value and remedy."""
    with pytest.raises(UsageError, match=message):
        create_backbone(arch, **options)


def test_feature_dim_must_be_said() -> None:
    """A module that does not say its width is refused."""
    with pytest.raises(TypeError, match="int attribute feature_dim"):
        feature_dim(nn.Identity())


NARROW = """
import torch
from trainer.nets.resnet import ResNet
torch.set_num_threads(2)
for width in (0.125, 0.1875):
    network = ResNet(10, width=width, stem="small", zero_init_residual=False)
    network.to(memory_format=torch.channels_last)
    for _ in range(4):
        images = torch.randn(37, 3, 32, 32).contiguous(memory_format=torch.channels_last)
        network(images).square().sum().backward()
"""


def test_a_narrow_network_trains_on_an_odd_batch_and_two_threads() -> None:
    """In a process of its own, since what this guards against is a write past the end of memory."""
    environment = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", NARROW], check=True, env=environment)


def test_a_narrow_shortcut_is_the_convolution() -> None:
    """Names, values and gradients are those of nn.Conv2d, also of odd sides."""
    ours = NarrowShortcut(8, 16, 1, 2, bias=False)
    plain = nn.Conv2d(8, 16, 1, 2, bias=False)
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(4, 8, 9, 7)
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [conv(i) for conv, i in zip((ours, plain), inputs, strict=True)]
    torch.testing.assert_close(*outputs)
    for out in outputs:
        out.square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, plain.weight.grad)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
