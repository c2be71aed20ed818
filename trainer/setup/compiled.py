"""loop.compile: a method's networks through torch's compiler, one graph for each size of crop.

The backbone, a teacher's and the heads are compiled where they are, so that names in checkpoints
stay, and DDP goes around them afterwards. What the method does between them is left to Python.
Networks whose batch norms speak to other ranks stay as they are: a graph ends at every exchange.
Scores are made without graphs, since each size of batch would be one more.
"""

import importlib.util
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from shards.errors import UsageError
from trainer.distributed import world_size
from trainer.methods.protocol import Method
from trainer.nets.batchnorm import ViewBatchNorm

_COMPILERS = ("g++", "c++", "clang++")  # any of which torch takes on a CPU


def check_compiler(device: torch.device) -> None:
    """UsageError before anything is written where torch's compiler cannot make code."""
    if device.type == "cuda":
        if importlib.util.find_spec("triton") is None:
            raise UsageError(
                "loop.compile on CUDA needs triton, got none; pip install triton, or leave "
                "loop.compile out"
            )
    elif not any(map(shutil.which, filter(None, (os.environ.get("CXX"), *_COMPILERS)))):
        raise UsageError(
            f"loop.compile on a CPU needs a C++ compiler, got none of {', '.join(_COMPILERS)}; "
            "install one, or leave loop.compile out"
        )


def compile_networks(method: Method, backend: str | Callable[..., Any] = "inductor") -> str:
    """Compile the method's networks in place; says which, and which stay as they are."""
    done: list[str] = []
    left: list[str] = []
    for name, network in _networks(method):
        if world_size() > 1 and any(
            isinstance(layer, ViewBatchNorm) and layer.synchronized for layer in network.modules()
        ):
            left.append(name)
            continue
        network.compile(dynamic=False, backend=backend)
        done.append(name)
    text = f"loop.compile: {', '.join(done) or 'nothing'}; the first steps wait for the compiler"
    if left:
        text += f"; as written, since their batch norms speak to other ranks: {', '.join(left)}"
    return text


def without_graphs(is_compiled: bool) -> AbstractContextManager[object]:
    """In the body compiled networks run as they are written."""
    # torch's compiler is not even imported by who does not use it.
    return torch.compiler.set_stance("force_eager") if is_compiled else nullcontext()


def _networks(method: nn.Module) -> list[tuple[str, nn.Module]]:
    """Children that are called with one tensor and have weights; those of a list one by one."""
    found = []
    for name, child in method.named_children():
        if isinstance(child, nn.ModuleList):
            found += [(f"{name}.{number}", part) for number, part in enumerate(child)]
        elif any(True for _ in child.parameters()):
            found.append((name, child))
    return found
