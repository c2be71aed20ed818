"""loop.checkpoint_activations: a ViT's blocks keep their inputs alone, and are computed again.

In the backward each block's forward is made once more, from its input and with its random numbers:
the same gradients for about a third more work, in the memory of twelve inputs and one block. Chen
et al. 2016, 1604.06174. Which blocks those are the network knows: `set_grad_checkpointing` is what
timm's models have, and ours. Batch norms would move their statistics twice, so networks that have
any are refused.
"""

from torch.nn.modules.batchnorm import _BatchNorm

from shards.errors import UsageError
from trainer.methods.protocol import Method


def recompute_blocks(method: Method, arch: str) -> str:
    """Switch it on in the network that is trained; returns a sentence to say.

    Raises:
        UsageError: the network has no such switch, or batch norms.
    """
    network = method.backbone
    switch = getattr(network, "set_grad_checkpointing", None)
    if switch is None or any(isinstance(layer, _BatchNorm) for layer in network.modules()):
        raise _refusal(arch, "which has no blocks to compute twice, or batch norms in them")
    try:
        switch(True)
    except Exception as error:  # timm's models that cannot refuse in their own ways
        said = str(error).partition("\n")[0] or type(error).__name__
        raise _refusal(arch, f"which refuses ({said})") from error
    return f"loop.checkpoint_activations: blocks of {arch} are computed again in the backward"


def _refusal(arch: str, reason: str) -> UsageError:
    return UsageError(
        f"loop.checkpoint_activations is for ViTs, got --arch {arch}, {reason}; leave it out, or "
        "take fewer images at once with loop.accumulate"
    )
