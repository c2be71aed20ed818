"""loop.compile: whole graphs, one a size of crop, the same numbers and names."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import tiny_config
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch._dynamo.utils import counters
from toy_methods import TOY

from shards.errors import UsageError
from trainer.build import build_parts
from trainer.methods.method_table import create_method
from trainer.methods.protocol import Method
from trainer.nets.multicrop import forward_groups, forward_views
from trainer.nets.resnet import ResNet
from trainer.nets.vit import VisionTransformer
from trainer.setup import compiled
from trainer.setup.compiled import check_compiler, compile_networks, without_graphs


def vit() -> VisionTransformer:
    torch.manual_seed(0)
    network = VisionTransformer("tiny", 8, image_size_px=32, drop_path=0.1)
    network.blocks = network.blocks[-2:]  # two of twelve: the graph is as whole
    return network


def recomputed_vit() -> nn.Module:
    """As by loop.checkpoint_activations."""
    network = vit()
    network.set_grad_checkpointing(True)
    return network


def resnet() -> nn.Module:
    torch.manual_seed(0)
    return ResNet(18, width=0.125, stem="small")


def outputs(method: Method, per_view: bool) -> torch.Tensor:
    """Of backbone and projector for 2+6 crops, with the slope of the first weight behind them."""
    generator = torch.Generator().manual_seed(0)
    crops = [torch.randn(v, 2, 3, s, s, generator=generator) for v, s in ((2, 32), (6, 16))]
    torch.manual_seed(1)  # of the paths that are dropped
    features = forward_groups(method.backbone, crops, per_view=per_view)
    z = forward_views(method.get_submodule("projector"), features, per_view=per_view)
    slope = torch.autograd.grad(z.sin().sum(), next(method.backbone.parameters()))[0]
    return torch.cat([z.flatten().detach(), slope.flatten()])


@pytest.mark.parametrize(
    ("make", "name", "per_view"),
    [
        (resnet, "swav", False),
        (resnet, "byol", True),
        (vit, "dino", False),
        (recomputed_vit, "dino", False),
    ],
)
def test_one_graph_a_size_and_no_breaks(
    make: Any, name: str, per_view: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2+6 crops are two graphs of the backbone and one of the head, again in the next step none."""
    torch._dynamo.reset()
    counters.clear()
    # The eager backend is the quick one, and draws other paths when it computes again.
    counter = CompileCounterWithBackend("aot_eager" if make is recomputed_vit else "eager")
    method = create_method(name, make(), TOY[name]).train()
    expected, names = outputs(copy.deepcopy(method), per_view), list(method.state_dict())
    said = compile_networks(method, counter)
    assert said.startswith("loop.compile: backbone, projector")
    assert "as written" not in said
    assert list(method.state_dict()) == names
    for _ in range(2):
        found = outputs(method, per_view)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert counter.frame_count == 3
        assert not counters["graph_break"]
    with without_graphs(True), torch.no_grad():
        method.backbone(torch.zeros(5, 3, 24, 24))
    assert counter.frame_count == 3
    torch._dynamo.reset()


def test_networks_that_speak_to_ranks_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a ViT with two ranks the backbone is compiled, the head with shared statistics is not."""
    method = create_method("dino", vit(), TOY["dino"])
    for layer in method.get_submodule("projector").modules():
        if hasattr(layer, "synchronized"):
            layer.synchronized = True
    monkeypatch.setattr(compiled, "world_size", lambda: 2)
    said = compile_networks(method, "eager")
    assert said.startswith("loop.compile: backbone, prototypes, teacher_backbone, ")
    assert said.endswith("as written, since their batch norms speak to other ranks: projector")


def test_without_a_compiler_it_is_refused(
    shard_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line that says what is missing, on a CPU and on CUDA; without the key nobody asks."""
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="needs a C\\+\\+ compiler, got none of g\\+\\+"):
        build_parts(tiny_config(shard_folder, loop={"compile": True}))
    build_parts(tiny_config(shard_folder))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UsageError, match="needs triton, got none"):
        check_compiler(torch.device("cuda"))
