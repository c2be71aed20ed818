"""A method's shapes without values are its shapes with them, and no value is computed for them."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_run import tiny_config
from torch import nn
from toy_methods import TOY

from trainer.losses.cosine import unit_rows
from trainer.methods.method_table import create_method
from trainer.nets.backbones import create_backbone
from trainer.nets.shapes import random_unit_rows, shapes_only
from trainer.setup.networks import build_method

ROOT = Path(__file__).parents[3]


def tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v for k, v in module.state_dict().items() if isinstance(v, torch.Tensor)}


@pytest.mark.parametrize("name", TOY)
def test_shapes_are_those_of_the_method(name: str, tmp_path: Path) -> None:
    """Every parameter and buffer, each on the meta device where the real one has values."""
    config = tiny_config(tmp_path, name)
    real = tensors(build_method(config, config.policy.load()))
    with shapes_only():
        backbone = create_backbone("resnet10", width=0.125, stem="small", image_size_px=16)
        shapes = tensors(create_method(name, backbone, config.method.settings))
    assert all(tensor.is_meta for tensor in shapes.values())
    assert {k: (t.shape, t.dtype) for k, t in shapes.items()} == {
        k: (t.shape, t.dtype) for k, t in real.items()
    }


def test_random_rows_have_length_one() -> None:
    """Those of torch.randn with the same random state; inside of `shapes_only` they are a shape."""
    torch.manual_seed(0)
    rows = random_unit_rows(3, 5, 40)
    torch.manual_seed(0)
    assert torch.equal(rows, unit_rows(torch.randn(3, 5, 40)))
    assert torch.allclose(rows.norm(dim=-1), torch.ones(3, 5))
    with shapes_only():
        assert random_unit_rows(3, 5, 4).is_meta


def test_no_method_imports_the_compiler() -> None:
    """All that ship, weighed, made and given an optimizer; a second and 146 MB else."""
    code = """
import sys
from trainer.methods.method_table import METHODS
from trainer.setup.networks import build_method
from trainer.optim.create_optimizer import build_optimizer
from trainer.recipes.recipe import resolve
for name in METHODS.keys() - {"distill"}:  # which needs a teacher's file
    values = {"method": {"name": name}, "backbone": {"arch": "resnet10", "width": 0.125}}
    config = resolve(values)
    method = build_method(config, config.policy.load())
    build_optimizer(method, config.optim, 256).zero_grad()
    found = {"torch._dynamo", "sympy"} & sys.modules.keys()
    if found:
        print(name, found)
        break
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == ""
