"""loop.checkpoint_activations: the same gradients from fewer saved tensors, or a line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import tiny_config
from torch import nn
from torch.utils.checkpoint import checkpoint
from toy_methods import TOY

from shards.errors import UsageError
from trainer.build import build_parts
from trainer.checkpoint import load
from trainer.methods.method_table import create_method
from trainer.nets.multicrop import forward_groups
from trainer.nets.vit import Block, VisionTransformer
from trainer.setup.recompute import recompute_blocks
from trainer.train import train


class TimmLike(nn.Module):
    """Blocks with timm's switch, and its way to use it."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_dim = 24
        self.patch = nn.Conv2d(3, 24, 8, 8)
        self.blocks = nn.Sequential(*(Block(24, 3, 0.5) for _ in range(4)))
        self.grad_checkpointing = False

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        self.grad_checkpointing = enable

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.patch(images).flatten(2).transpose(1, 2)
        for block in self.blocks:
            if self.grad_checkpointing:
                tokens = checkpoint(block, tokens, use_reentrant=False)
            else:
                tokens = block(tokens)
        return tokens.mean(1)


def own() -> nn.Module:
    network = VisionTransformer("tiny", 8, image_size_px=32, drop_path=0.5)
    network.blocks = network.blocks[-4:]
    return network


def found(make: Callable[[], nn.Module], *, switched: bool) -> tuple[list[torch.Tensor], int]:
    """Gradients of 2+6 crops, and the bytes that the forward keeps for them."""
    torch.manual_seed(0)
    method = create_method("dino", make(), TOY["dino"]).train()
    if switched:
        assert "computed again" in recompute_blocks(method, "vit")
    generator = torch.Generator().manual_seed(0)
    crops = [torch.randn(v, 4, 3, s, s, generator=generator) for v, s in ((2, 32), (6, 16))]
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(1)  # of the paths that are dropped
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        features = forward_groups(method.backbone, crops, per_view=False)
    torch.cat([x.flatten() for x in features]).sin().sum().backward()
    grads = [p.grad for p in method.backbone.parameters() if p.grad is not None]
    weights = {p.untyped_storage().data_ptr() for p in method.backbone.parameters()}
    return grads, sum(size for place, size in kept.items() if place not in weights)


@pytest.mark.parametrize("make", [own, TimmLike])
def test_equal_gradients_from_fewer_saved_tensors(make: Callable[[], nn.Module]) -> None:
    """Bit by bit, also where paths are dropped at random; a third of the bytes, or less."""
    expected, most = found(make, switched=False)
    grads, least = found(make, switched=True)
    assert len(grads) == len(expected) > 40
    assert all(map(torch.equal, grads, expected))
    assert any(bool(grad.any()) for grad in grads)
    assert least < most / 3


def test_a_teacher_and_a_score_compute_nothing_twice() -> None:
    """Where no gradient is asked for a block is called once."""
    network = own()
    assert isinstance(network, VisionTransformer)
    network.set_grad_checkpointing()
    calls: list[int] = []
    network.blocks[0].register_forward_pre_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        network(torch.zeros(2, 3, 32, 32))
    assert len(calls) == 1
    network(torch.zeros(2, 3, 32, 32)).sum().backward()
    assert len(calls) == 3


class Refuses(TimmLike):
    """As timm's models that have none."""

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        assert not enable, "gradient checkpointing not supported"


class WithNorms(TimmLike):
    """It has a switch, and statistics that would move twice."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(24)


@pytest.mark.parametrize(("make", "reason"), [(Refuses, "not supported"), (WithNorms, "norms")])
def test_what_cannot_is_refused(make: Callable[[], nn.Module], reason: str) -> None:
    """In one line that names the arch and the reason."""
    method = create_method("simclr", make(), TOY["simclr"])
    with pytest.raises(UsageError, match=f"got --arch mine, .*{reason}.*loop.accumulate"):
        recompute_blocks(method, "mine")


def test_a_resnet_is_refused_before_anything_is_written(shard_folder: Path) -> None:
    """By the run itself."""
    with pytest.raises(UsageError, match="is for ViTs, got --arch resnet10"):
        build_parts(tiny_config(shard_folder, loop={"checkpoint_activations": True}))


def test_a_run_is_the_same_with_it(shard_folder: Path, tmp_path: Path) -> None:
    """Weights bit by bit after steps of a whole run, continued without it."""

    def config(loop: dict[str, Any], epochs: float) -> Any:
        return tiny_config(
            shard_folder,
            "simclr",
            backbone={"arch": "vit_tiny8", "drop_path": 0.2, "width": 1.0, "stem": "auto"},
            optim={"name": "adamw", "base_lr": 1e-3},
            loop={"epochs": epochs, "batch_size": 8, **loop},
        )

    switched = {"checkpoint_activations": True}
    train(config({}, 0.5), tmp_path / "plain")
    train(config(switched, 0.25), tmp_path / "run")
    train(config({}, 0.5), tmp_path / "run", resume=True)
    plain, run = (load(tmp_path / name / "checkpoints" / "last.pt") for name in ("plain", "run"))
    assert plain["step"] == run["step"] == 2
    assert all(torch.equal(v, run["method"][k]) for k, v in plain["method"].items())
