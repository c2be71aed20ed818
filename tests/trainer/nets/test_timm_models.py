"""timm's architectures: made so that every crop size gives features of one width, or one line."""

import sys
import types
from typing import Any

import pytest
import torch
from torch import nn

from shards.errors import UsageError
from trainer.nets.backbones import create_backbone, feature_dim
from trainer.nets.batchnorm import BatchNorm2d
from trainer.nets.timm_models import describe_options, feature_width


class Fake(nn.Module):
    """Takes the sizes that `takes` says of its options; `num_features` is wrong, as it may be."""

    def __init__(self, kind: str, options: dict[str, Any]) -> None:
        super().__init__()
        self.kind, self.options = kind, options
        self.stem = nn.Conv2d(3, 6, 1)
        self.norm = nn.BatchNorm2d(6) if kind != "no_norm" else nn.Identity()
        self.drop = nn.Dropout(0.5)
        self.num_features = 99

    def forward(self, images: torch.Tensor) -> Any:
        side = images.shape[-1]
        sizes = {
            "vit": "dynamic_img_size" in self.options,
            "padding": "dynamic_img_pad" in self.options or side % 14 == 0,
            "window": "strict_img_size" in self.options or side == 32,
            "fixed": side == self.options.get("img_size", 32),
            "own_size": side == 512,
        }
        assert sizes.get(self.kind, True), f"Input height ({side}) doesn't match model"
        maps = self.drop(self.norm(self.stem(images)))
        return {
            "tuple": lambda: (maps.mean((2, 3)), None),
            "maps": lambda: maps,
            "tokens": lambda: maps.flatten(2),
            "grows": lambda: maps[:, 0].flatten(1),
            "whole": lambda: maps.mean((2, 3)).long(),
        }.get(self.kind, lambda: maps.mean((2, 3)))()


KNOWN = {
    "conv": (),
    "no_norm": (),
    "vit": ("img_size", "dynamic_img_size"),
    "padding": ("img_size", "dynamic_img_size", "dynamic_img_pad"),
    "window": ("img_size", "strict_img_size"),
    "fixed": ("img_size",),
    **dict.fromkeys(("own_size", "tuple", "maps", "tokens", "grows", "whole"), ()),
}


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timm of fakes."""
    module = types.ModuleType("timm")

    def create_model(name: str, num_classes: int, **options: Any) -> nn.Module:
        assert num_classes == 0
        torch.rand(3)  # what a constructor draws before it fails
        unknown = [key for key in options if key not in KNOWN[name]]
        if unknown:
            raise TypeError(f"unexpected keyword argument '{unknown[0]}'")
        return Fake(name, options)

    module.create_model = create_model  # type: ignore[attr-defined]
    module.list_models = lambda: list(KNOWN)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", module)


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("conv", {}),
        ("no_norm", {}),
        ("vit", {"img_size": 32, "dynamic_img_size": True}),
        ("padding", {"img_size": 32, "dynamic_img_size": True, "dynamic_img_pad": True}),
        ("window", {"img_size": 32, "strict_img_size": False}),
    ],
)
def test_it_is_made_for_every_crop_size(name: str, options: dict) -> None:
    """The plainest way that takes 32 and 16 px; the width is what comes out."""
    model = create_backbone(f"timm:{name}", image_size_px=32, other_sizes_px=(16,))
    assert model.options == options
    assert feature_dim(model) == 6
    assert model.training
    for size_px in (32, 16):
        assert model(torch.randn(2, 3, size_px, size_px)).shape == (2, 6)
    assert (describe_options(model) is None) == (not options)
    assert ("padded" in str(describe_options(model))) == (name == "padding")
    if name != "no_norm":
        assert isinstance(model.get_submodule("norm"), BatchNorm2d)


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "fixed",
            r"crops of 16 px into features \[N, D\], got AssertionError: Input height \(16\)",
        ),
        ("own_size", "crops of 32 px .* got AssertionError: Input height"),
        ("tuple", "got a tuple"),
        ("maps", r"got torch.float32 of shape \[2, 6, 32, 32\] from two images"),
        ("tokens", r"got torch.float32 of shape \[2, 6, 1024\]"),
        ("grows", "features of one width, got 1024 at 32 px, 256 at 16 px"),
        ("whole", r"got torch.int64 of shape \[2, 6\]"),
    ],
)
def test_what_gives_no_features_is_one_line(name: str, message: str) -> None:
    """Which size, what came, and what to try."""
    with pytest.raises(UsageError, match=f"timm:{name} cannot be the arch: .*{message}.*; try"):
        create_backbone(f"timm:{name}", image_size_px=32, other_sizes_px=(16,))


@pytest.mark.usefixtures("fakes")
def test_a_fixed_size_serves_alone() -> None:
    """A network of one size is made for it when all crops have it."""
    model = create_backbone("timm:fixed", image_size_px=48)
    assert model(torch.randn(1, 3, 48, 48)).shape == (1, 6)
    with pytest.raises(UsageError, match="16 px"):
        feature_width(model, (16,))


@pytest.mark.usefixtures("fakes")
def test_a_trial_leaves_no_trace() -> None:
    """Weights, running statistics, modes and random state are those of no trial at all."""
    torch.manual_seed(5)
    torch.rand(3)
    plain, after = Fake("conv", {}), torch.rand(1)
    torch.manual_seed(5)
    model = create_backbone("timm:conv", image_size_px=32, other_sizes_px=(16,))
    assert torch.equal(torch.rand(1), after)
    for name, value in plain.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    model.get_submodule("norm").eval()
    feature_width(model, (8,))
    modes = {name: module.training for name, module in model.named_modules()}
    assert [name for name, mode in modes.items() if not mode] == ["norm"]


@pytest.mark.usefixtures("fakes")
def test_what_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slip in the name, options of a ResNet, timm absent or broken."""
    for arch, options, message in (
        ("timm:vitt", {}, "did you mean vit"),
        ("timm:conv", {"width": 2}, "belong to ResNets"),
        ("timm:conv", {"drop_path": 0.1}, "belong to ViTs"),
    ):
        with pytest.raises(UsageError, match=message):
            create_backbone(arch, **options)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match=r"pip install 'timm>=1\.0'"):
        create_backbone("timm:resnet18")


REAL = {
    "test_resnet": 64,
    "test_vit": 64,
    "test_convnext": 64,
    "mobilenetv3_small_050": 1024,
    "repghostnet_050": 1280,
    "cs3darknet_focus_s": 512,
    "test_nfnet": 192,
}


@pytest.mark.parametrize("name", REAL)
def test_real_ones(name: str) -> None:
    """With timm installed: families with and without batch norm, of wrong num_features, of ViTs."""
    timm = pytest.importorskip("timm")
    if name not in timm.list_models():
        pytest.skip(f"timm {timm.__version__} has no {name}")
    model = create_backbone(f"timm:{name}", image_size_px=64, other_sizes_px=(32,))
    for size_px in (64, 32):
        assert model(torch.randn(2, 3, size_px, size_px)).shape == (2, feature_dim(model))


@pytest.mark.parametrize("name", ["beit_base_patch16_224", "mixer_s32_224"])
def test_real_ones_of_one_size(name: str) -> None:
    """With timm installed: those whose positions are fixed say so in one line."""
    pytest.importorskip("timm")
    with pytest.raises(UsageError, match=r"crops of 32 px .* doesn't match model \(64\)"):
        create_backbone(f"timm:{name}", image_size_px=64, other_sizes_px=(32,))
