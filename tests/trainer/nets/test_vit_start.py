"""How ViTs start and place their patches, beside MoCo v3's and DINO's code."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from shards.errors import UsageError
from trainer.nets.backbones import create_backbone
from trainer.recipes.recipe import read_recipe, resolve
from trainer.setup.networks import backbone_arguments


def published(name: str) -> nn.Module:
    """The backbone of a shipped recipe, at 224 px."""
    torch.manual_seed(0)
    config = resolve(read_recipe(name))
    arguments = backbone_arguments(config, config.policy.load())
    return create_backbone(**arguments | {"image_size_px": 224})


TINY_SUM = 4787.260678  # of all weights of vit_tiny16 at 32 px and seed 0, commit 98cf9b7
# What a weight's standard deviation is at the start, by the end of its name.
MOCO_V3 = {
    "patch_embed.proj.weight": math.sqrt(2 / (3 * 16 * 16 + 384)),  # .0417
    "attn.qkv.weight": math.sqrt(2 / (384 + 384)),  # .0510: q, k and v apart
    "attn.proj.weight": math.sqrt(2 / (384 + 384)),  # .0510
    "mlp.fc1.weight": math.sqrt(2 / (384 + 4 * 384)),  # .0323
    "mlp.fc2.weight": math.sqrt(2 / (384 + 4 * 384)),
    "cls_token": 1e-6,
}
DINO = {
    "patch_embed.proj.weight": 1 / math.sqrt(3 * 3 * 16 * 16),  # nn.Conv2d's own: .0208
    "patch_embed.proj.bias": 1 / math.sqrt(3 * 3 * 16 * 16),
    "attn.qkv.weight": 0.02,
    "attn.proj.weight": 0.02,
    "mlp.fc1.weight": 0.02,
    "mlp.fc2.weight": 0.02,
    "cls_token": 0.02,
    "pos_embed": 0.02,
}


@pytest.mark.parametrize(("name", "stds"), [("mocov3_vit", MOCO_V3), ("dino_vit", DINO)])
def test_weights_start_as_published(name: str, stds: dict[str, float]) -> None:
    """Every matrix has the code's standard deviation; all other biases are zero."""
    seen = set()
    for parameter, value in published(name).named_parameters():
        kind = next((end for end in stds if parameter.endswith(end)), None)
        if kind is not None:
            seen.add(kind)
            few = 4 / math.sqrt(2 * value.numel())  # four standard errors
            assert value.std().item() == pytest.approx(stds[kind], rel=max(few, 0.01)), parameter
        elif parameter.endswith(".bias"):
            assert not value.any(), parameter
    assert seen == set(stds)


def test_mocov3_is_uniform_and_its_patches_stand_still() -> None:
    """Xavier's bounds are sqrt(3) standard deviations; the patch projection takes no gradient."""
    model = published("mocov3_vit")
    for name, value in model.named_parameters():
        kind = next((end for end in MOCO_V3 if name.endswith(end)), "cls_token")
        if kind != "cls_token":
            assert value.abs().max() <= math.sqrt(3) * MOCO_V3[kind] * (1 + 1e-6)
            assert value.abs().max() > 0.99 * math.sqrt(3) * MOCO_V3[kind]
        assert value.requires_grad != name.startswith(("patch_embed.", "pos_embed")), name


def test_the_default_start_is_as_it_was() -> None:
    """A ViT without the key draws the numbers that it drew before there was one."""
    torch.manual_seed(0)
    model = create_backbone("vit_tiny16", image_size_px=32)
    torch.manual_seed(0)
    named = create_backbone("vit_tiny16", image_size_px=32, init="trunc_normal")
    for p, q in zip(model.parameters(), named.parameters(), strict=True):
        assert torch.equal(p, q)
    total = sum(p.double().sum() for p in model.parameters()).item()
    assert total == pytest.approx(TINY_SUM, abs=1e-2)


def moco_v3s_positions(grid: int, dim: int) -> torch.Tensor:
    """`build_2d_sincos_position_embedding`: its "w" is the first index of a token's place."""
    places = torch.arange(grid, dtype=torch.float32)
    grid_w, grid_h = torch.meshgrid(places, places, indexing="ij")
    omega = 1 / 10_000 ** (torch.arange(dim // 4, dtype=torch.float32) / (dim // 4))
    out_w, out_h = (torch.outer(g.flatten(), omega) for g in (grid_w, grid_h))
    return torch.cat([out_w.sin(), out_w.cos(), out_h.sin(), out_h.cos()], dim=1)


def test_positions_are_moco_v3s() -> None:
    """Row first, column second, to float32's rounding; the class token has none."""
    table = published("mocov3_vit").get_parameter("pos_embed")
    torch.testing.assert_close(table[0, 1:], moco_v3s_positions(14, 384), rtol=0, atol=2e-5)
    assert not table[0, 0].any()
    # One row on, one column on: the first half of the features tells rows, the second columns.
    assert torch.equal(table[0, 1, 192:], table[0, 15, 192:])
    assert torch.equal(table[0, 1, :192], table[0, 2, :192])


def test_a_saved_table_of_positions_comes_back() -> None:
    """A run of an earlier release, whose rows and columns were swapped, keeps its own table."""
    former, now = (create_backbone("vit_tiny4", image_size_px=16, position="sincos") for _ in "ab")
    table = former.get_parameter("pos_embed").data
    table[:, 1:] = table[:, 1:].unflatten(1, (4, 4)).transpose(1, 2).flatten(1, 2)
    assert not torch.equal(table, now.get_parameter("pos_embed"))
    now.load_state_dict(former.state_dict())
    assert torch.equal(table, now.get_parameter("pos_embed"))


def dinos_positions(table: torch.Tensor, side_px: int, patch_px: int) -> torch.Tensor:
    """`interpolate_pos_encoding`, which adds 0.1 to the number of patches."""
    number = int(math.sqrt(table.shape[1] - 1))
    w0 = side_px // patch_px + 0.1
    patches = F.interpolate(
        table[:, 1:].reshape(1, number, number, -1).permute(0, 3, 1, 2),
        scale_factor=(w0 / math.sqrt(number**2), w0 / math.sqrt(number**2)),
        mode="bicubic",
    )
    patches = patches.permute(0, 2, 3, 1).view(1, -1, table.shape[-1])
    return torch.cat([table[:, :1], patches], dim=1)


@pytest.mark.parametrize("side_px", [96, 16, 160, 224, 240, 384, 448])
def test_positions_are_interpolated_as_dinos(side_px: int) -> None:
    """At every crop size the table is its code's, of as many places as the crop has patches."""
    model = published("dino_vit")
    table = model.get_parameter("pos_embed")
    ours = model._positions(side_px // 16)  # type: ignore[operator]
    assert ours.shape[1] == 1 + (side_px // 16) ** 2
    expected = table if side_px == 224 else dinos_positions(table, side_px, 16)
    torch.testing.assert_close(ours, expected)


@torch.no_grad()
def test_what_the_offset_changes() -> None:
    """At 96 px the features at the start differ from those without it by half a percent or so."""
    model = published("dino_vit").eval()
    images = torch.randn(8, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    ours = model(images)
    table = model.get_parameter("pos_embed")
    grid = table[:, 1:].unflatten(1, (14, 14)).permute(0, 3, 1, 2)
    small = F.interpolate(grid, (6, 6), mode="bicubic").flatten(2).transpose(1, 2)
    model.grid = 6  # type: ignore[assignment]
    table.data = torch.cat([table[:, :1], small], dim=1)
    change = (model(images) - ours).norm() / ours.norm()
    assert 0.002 < change < 0.01


def test_another_start_is_refused() -> None:
    """One line, with the starts there are; and for a ResNet."""
    with pytest.raises(UsageError, match=r"unknown backbone.init 'kaiming'.*trunc_normal, xavier"):
        create_backbone("vit_tiny16", init="kaiming")
    with pytest.raises(UsageError, match="init=xavier, heads=None with resnet18"):
        create_backbone("resnet18", init="xavier")


def test_moco_v3_has_twelve_heads() -> None:
    """The same weights under 6 and 12 heads are two functions, each that of its formula."""
    model = published("mocov3_vit")
    attention = model.get_submodule("blocks.0.attn")
    x = torch.randn(2, 5, 384, generator=torch.Generator().manual_seed(0))
    q, k, v = attention.get_submodule("qkv")(x).chunk(3, dim=2)
    outputs = []
    for heads in (12, 6):
        parts = []
        for a, b, c in zip(*(t.chunk(heads, dim=2) for t in (q, k, v)), strict=True):
            parts.append((a @ b.transpose(1, 2) / math.sqrt(384 / heads)).softmax(-1) @ c)
        outputs.append(attention.get_submodule("proj")(torch.cat(parts, dim=2)))
    ours = attention(x)
    torch.testing.assert_close(ours, outputs[0], rtol=1e-4, atol=1e-5)
    assert (ours - outputs[1]).abs().max() > 1e-3
    assert published("dino_vit").get_submodule("blocks.0.attn").num_heads == 6


def test_heads_that_do_not_divide_the_features_are_refused() -> None:
    """One line, with the number of features."""
    with pytest.raises(UsageError, match="heads divides the 384 features of vit_small16, got 7"):
        create_backbone("vit_small16", heads=7)
    with pytest.raises(UsageError, match="heads=12 with resnet18; leave them out"):
        create_backbone("resnet18", heads=12)
