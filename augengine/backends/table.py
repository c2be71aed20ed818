"""Which backends there are, and the one place that makes them.

`auto` is what was fastest where it was measured: `kornia` on the CPU, `dali` on CUDA. SwAV 2+6
(224 + 96 px, float32) from 16 decoded 500x375 photographs took `kornia` 21 ms of CPU time an image
with one thread and 24 with two, `dali` 29 and 24 (least of 7 runs on a shared 2-core machine, torch
2.13, DALI 2.4, kornia 0.9). On CUDA nothing was measured yet; there `dali` makes the views of a
crop size together, where `kornia` starts kernels for every crop.
"""

from collections.abc import Callable
from importlib.util import find_spec

import torch

from augengine.backends.protocol import Backend
from shards.errors import UsageError

BACKENDS = ("fused", "dali", "kornia")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
INSTALL_DALI = "pip install nvidia-dali-cuda120 (Linux only)"


def create_backend(
    name: str,
    device: torch.device | str,
    dtype: torch.dtype = torch.float32,
    num_threads: int = 1,
) -> Backend:
    """A backend by name, or `auto`: the fastest one available; `.name` says which it is.

    Args:
        name: one of BACKENDS, or "auto".
        device: where the images lie and the views are made.
        dtype: of the views: float32, float16 or bfloat16; the arithmetic is float32 always.
        num_threads: host threads; changes no view.

    Raises:
        UsageError: unknown name or dtype, a backend that is not installed or not built yet.
    """
    device = torch.device(device)
    if dtype not in DTYPES:
        raise UsageError(f"views are float32, float16 or bfloat16, got {dtype}; cast them yourself")
    if num_threads < 1:
        raise UsageError(f"a backend needs at least one thread, got {num_threads}; pass 1 or more")
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"backends run on cpu or cuda, got {device}; make views on the cpu")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {device} is not available; use cpu or install torch with CUDA")
    if name == "auto":
        name = "dali" if device.type == "cuda" and has_dali() else "kornia"
    makers: dict[str, Callable[[], Backend]] = {
        "fused": _fused,
        "dali": lambda: _dali(device, dtype, num_threads),
        "kornia": lambda: _kornia(device, dtype, num_threads),
    }
    if name not in makers:
        raise UsageError(f"backend must be one of auto, {', '.join(BACKENDS)}; got {name!r}")
    return makers[name]()


def has_dali() -> bool:
    """Whether DALI is installed; imports nothing of it."""
    return find_spec("nvidia") is not None and find_spec("nvidia.dali") is not None


def require_dali(what: str) -> None:
    """Raise UsageError with the install line unless DALI is there."""
    if not has_dali():
        raise UsageError(f"{what} 'dali' needs NVIDIA DALI, which is not installed: {INSTALL_DALI}")


def _fused() -> Backend:
    raise UsageError("backend 'fused' is not built yet; use auto, dali or kornia")


def _dali(device: torch.device, dtype: torch.dtype, num_threads: int) -> Backend:
    require_dali("backend")
    from augengine.backends.dali import DaliBackend

    return DaliBackend(device, dtype, num_threads)


def _kornia(device: torch.device, dtype: torch.dtype, num_threads: int) -> Backend:
    from augengine.backends.kornia_ops import KorniaBackend

    return KorniaBackend(device, dtype, num_threads)
