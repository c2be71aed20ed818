"""The choice of a loss's form: the one table of where a fused form was measured to win.

"torch" is the equation in plain tensor operations, which autograd differentiates and keeps the
intermediate results of. "fused" keeps next to nothing and computes them again in backward: on a CPU
in chunks that stay in its cache, on CUDA in Triton kernels. "auto" takes it where it pays.
"""

from typing import Literal

import torch

from shards.errors import UsageError
from trainer.checks import choose

Impl = Literal["auto", "torch", "fused"]
DEVICES = ("cpu", "cuda")

# Elements of the largest input from which "fused" was measured to need less memory and no more time
# than "torch" (benchmarks/losses/forms.py). Nothing was measured on CUDA yet, where auto is torch.
FUSED_FROM: dict[str, dict[str, int]] = {
    "pair_cosine": {"cpu": 1 << 18},
    "batch_info_nce": {"cpu": 1 << 21},
    "hsic": {"cpu": 1 << 18},
    "nt_xent": {"cpu": 1 << 18},
    "queue_info_nce": {"cpu": 1 << 21},
    "sinkhorn": {"cpu": 1 << 18},
    "swapped_prediction": {"cpu": 1 << 18},
    "barlow": {"cpu": 1 << 18},
    "vicreg": {"cpu": 1 << 18},
}


def use_fused(
    name: str,  # of FUSED_FROM
    impl: Impl,
    x: torch.Tensor,  # the largest input
    *,
    is_possible: bool = True,  # "auto" is "torch" where it is not; what it takes: the loss's text
) -> bool:
    """Whether the fused form of a loss is to run."""
    choose("loss implementation", impl, ("auto", "torch", "fused"))
    if impl == "auto":
        least = FUSED_FROM[name].get(x.device.type)
        return is_possible and least is not None and x.numel() >= least
    if impl == "fused" and x.device.type not in DEVICES:
        raise UsageError(
            f"a fused loss runs on {' or '.join(DEVICES)}, got {x.device.type}; use impl='torch'"
        )
    return impl == "fused"
