"""The losses' Triton kernels in Triton's interpreter, as JSON: run with TRITON_INTERPRET=1.

A process of its own, since Triton looks at that variable when a kernel is defined. The operators'
CUDA kernels take the place of the CPU's, so that everything above them is tested as well.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from loss_cases import COSINE
from loss_checks import Case, assert_gradient, assert_operator, assert_same_bits_again, errors, rows

from trainer.losses.kernels import cosine_gpu, cosine_op

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def cosine() -> dict[str, Any]:
    """The template of the others."""
    cosine_op.cosine_sum.register_kernel("cpu", cosine_gpu.forward)
    cosine_op.cosine_sum_backward.register_kernel("cpu", cosine_gpu.backward)
    p, z = rows(3, 2, 9).requires_grad_(), rows(2, 2, 9, seed=1)
    assert_operator(cosine_op.cosine_sum, p, z, 1e-12)
    return check(COSINE, "2+3 views")


def check(cases: dict[str, Case], one: str) -> dict[str, Any]:
    """Errors of all cases in all types; of one case also its gradient and its bits."""
    assert_gradient(cases[one])
    assert_same_bits_again(cases[one], torch.float32)
    return {f"{name}, {t}": errors(case, t) for name, case in cases.items() for t in DTYPES}


CHECKS: tuple[Callable[[], dict[str, Any]], ...] = (cosine,)


def main(name: str) -> None:
    """Run the checks of one loss."""
    np.seterr(all="raise", under="ignore")
    json.dump(next(check for check in CHECKS if check.__name__ == name)(), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
