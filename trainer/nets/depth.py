"""The depth of parameters in an encoder: the stem, its blocks in turn, what comes after them.

Layer-wise rates (optim.layer_decay) and frozen first blocks (backbone.freeze_blocks) ask. Blocks
are known by names: those of our ResNets and ViTs, which are torchvision's and timm's, and of timm's
networks of stages.
"""

import re

from torch import nn

from shards.errors import UsageError
from trainer.checks import require
from trainer.nets.batchnorm import ViewBatchNorm
from trainer.nets.vit import DropPath

_BLOCK = re.compile(r"((?:blocks|layers)\.\d+|layer\d+\.\d+|stages\.\d+\.(?:blocks|layers)\.\d+)\.")


def depths(network: nn.Module) -> tuple[dict[str, int], int]:
    """Every parameter's depth by its name, and the number of blocks n.

    0 is the stem with the positions, i + 1 block i with what leads to it, n + 1 what follows.

    Raises:
        UsageError: the network has no blocks under names that we know.
    """
    found: dict[str, int] = {}
    blocks: list[str] = []
    for name, _ in network.named_parameters():
        match = _BLOCK.match(name)
        if match is None:
            # Between two stages: of the block it leads to.
            found[name] = len(blocks) + 1 if blocks else 0
            continue
        if match[1] not in blocks:
            blocks.append(match[1])
        found[name] = 1 + blocks.index(match[1])
    if not blocks:
        raise UsageError(
            "optim.layer_decay and backbone.freeze_blocks need an encoder of blocks, named as in "
            f"a ResNet or ViT, got a {type(network).__name__}; leave them out"
        )
    return found, len(blocks)


def freeze_first(network: nn.Module, num_blocks: int) -> None:
    """Keep the stem and the first blocks as they are: no gradient, no drop, norms in eval mode."""
    found, most = depths(network)
    rule = f"backbone.freeze_blocks lies in [0, {most}], the blocks of this encoder"
    require(0 <= num_blocks <= most, rule, num_blocks, "lower it")
    frozen = {name for name, depth in found.items() if depth <= num_blocks}
    for name, parameter in network.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)
    for name, module in network.named_modules():
        own = [f"{name}.{key}" for key, _ in module.named_parameters()]
        if not own or not frozen.issuperset(own):
            continue
        for layer in module.modules():
            if isinstance(layer, ViewBatchNorm):
                layer.keep_statistics()
            elif isinstance(layer, DropPath):
                layer.rate = 0.0
