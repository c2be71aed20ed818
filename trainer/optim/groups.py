"""Parameter groups: rules say which are decayed, adapted, or kept at a constant rate.

One-dimensional parameters are biases and the scales and shifts of norms. The papers differ on
whether they are decayed (MoCo, SimSiam, SwAV: yes; BYOL, SimCLR, Barlow Twins: no) and whether
they are adapted (LARC of SwAV: yes; LARS of BYOL: no).
"""

from typing import Any

import torch
from torch import nn

from trainer.nets.depth import depths


def parameter_groups(
    module: nn.Module,
    *,
    lr: float,
    lr_1d: float | None = None,  # of one-dimensional parameters; None: the same
    weight_decay: float,
    decay_1d: bool,
    adapt_1d: bool,
    constant_lr: tuple[str, ...] = (),  # children whose rate does not follow the schedule
    layer_decay: float = 1.0,  # of the rate, a block of the backbone down
) -> list[dict[str, Any]]:
    """Optimizer groups over the trainable parameters, in a fixed order, the fastest first.

    At most four, or four a block with a layer decay: the rate of block i of n is then
    lr d^(n - i), counted from 0, of the stem and the positions lr d^(n + 1), of all else lr. Bao et
    al. 2021 (BEiT), 2106.08254; util/lr_decay.py in facebookresearch/mae. Besides torch's keys a
    group has `name`, `peak_lr`, `adapt` (LARS scales its steps), `decays` (its weight decay follows
    the schedule) and `constant_lr` (its rate does not).
    """
    rates = {True: lr if lr_1d is None else lr_1d, False: lr}
    below = _blocks_below(module) if layer_decay < 1 else {}
    members: dict[tuple[bool, bool, int], list[nn.Parameter]] = {}
    for name, parameter in trainable_parameters(module).items():
        # With the dot, so that "predictor" does not also name "predictor_like".
        constant = any(name.startswith(f"{child}.") for child in constant_lr)
        key = (constant, parameter.ndim <= 1, below.get(name, 0))
        members.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "name": ("constant_" if constant else "")
            + ("1d" if one_d else "weights")
            + (f"-{down}" if down else ""),
            "lr": rates[one_d] * layer_decay**down,
            "peak_lr": rates[one_d] * layer_decay**down,
            "weight_decay": weight_decay if decay_1d or not one_d else 0.0,
            "decays": decay_1d or not one_d,
            "adapt": adapt_1d or not one_d,
            "constant_lr": constant,
        }
        for (constant, one_d, down), parameters in sorted(members.items())
    ]


def _blocks_below(module: nn.Module) -> dict[str, int]:
    """By how many blocks a parameter of the child `backbone` lies under all that follows them."""
    found, num_blocks = depths(module.get_submodule("backbone"))
    return {f"backbone.{name}": num_blocks + 1 - depth for name, depth in found.items()}


def trainable_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters with requires_grad by name, each once."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def assert_covers(optimizer: torch.optim.Optimizer, module: nn.Module) -> None:
    """Raise ValueError unless the groups hold every trainable parameter exactly once."""
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    wanted = {id(p): name for name, p in trainable_parameters(module).items()}
    missing = [name for key, name in wanted.items() if key not in held]
    foreign = sum(key not in wanted for key in held)
    twice = len(held) - len(set(held))
    if missing or foreign or twice:
        raise ValueError(
            "the optimizer's groups cover the trainable parameters exactly once, got "
            f"{len(missing)} missing {missing[:3]}, {foreign} foreign or frozen, {twice} repeated"
        )
