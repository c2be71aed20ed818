"""The list of backends, and the one place that makes them.

`auto` is `fused` where it is installed, else `dali` on CUDA, else `kornia`. On the CPU that is what
was fastest (benchmarks/augment/fused_cpu.py: SwAV 2+6 of an image takes `fused` 1.3 ms of CPU time,
`kornia` 24, `dali` 29). On CUDA nothing was measured yet; there `fused` makes a whole batch in
three launches or four, `dali` the views of a crop size together, and `kornia` starts kernels for
every crop. A backend of one's own is a class by `package.module:Class` or an entry point
(shards/plugins/find.py), made with those of device, dtype and num_threads that it names.
"""

from importlib.util import find_spec

import torch

from augengine.backends.backend import Backend
from augengine.devices.installed import has_dali, require_dali
from augengine.devices.streams import named_device, numbered
from shards.errors import UsageError
from shards.plugins.find import find
from shards.plugins.making import find_class, make, require_attributes

BACKENDS = {
    "fused": "augengine.backends.create_backend:make_fused",
    "dali": "augengine.backends.create_backend:make_dali",
    "kornia": "augengine.backends.create_backend:make_kornia",
}
AUTO = ("auto",)
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# What `fused` is made with: the module, and how to get it.
_FUSED_NEEDS = {
    "cpu": ("numba", "pip install numba"),
    "cuda": (
        "triton",
        "pip install triton (Linux only; a torch with CUDA brings the one it needs)",
    ),
}


def create_backend(
    name: str,
    device: torch.device | str,
    dtype: torch.dtype = torch.float32,
    num_threads: int = 1,
) -> Backend:
    """A backend by name, or `auto`: the fastest one available; `.name` says which it is.

    Args:
        name: one of BACKENDS, "auto", or one's own.
        device: where the images lie and the views are made.
        dtype: of the views: float32, float16 or bfloat16; the arithmetic is float32 always.
        num_threads: host threads; changes no view.

    Raises:
        UsageError: unknown name, device or dtype, a backend that is not installed or not built yet.
    """
    device = named_device(device)
    if dtype not in DTYPES:
        raise UsageError(f"views are float32, float16 or bfloat16, got {dtype}; cast them yourself")
    if num_threads < 1:
        raise UsageError(f"a backend needs at least one thread, got {num_threads}; pass 1 or more")
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"backends run on cpu or cuda, got {device}; make views on the cpu")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {device} is not available; use cpu or install torch with CUDA")
    device = numbered(device)
    if name == "auto":
        without = "dali" if device.type == "cuda" and has_dali() else "kornia"
        name = "fused" if has_fused(device) else without
    if name in BACKENDS:
        return find("backends", name, BACKENDS)(device, dtype, num_threads)
    cls = find_class("backends", name, BACKENDS, also=AUTO, has=("__call__",))
    offered = {"device": device, "dtype": dtype, "num_threads": num_threads}
    backend = make("backends", name, cls, offered)
    attributes = {"name": str, "device": torch.device, "dtype": torch.dtype}
    require_attributes("backends", name, backend, attributes)
    return backend


def backends_on(device: torch.device) -> tuple[str, ...]:
    """The backends that run on a device and are installed."""
    there = {"fused": has_fused(device), "dali": has_dali(), "kornia": True}
    return tuple(name for name in BACKENDS if there[name])


def has_fused(device: torch.device) -> bool:
    """Whether that is installed which `fused` needs on a device; imports nothing of it."""
    return find_spec(_FUSED_NEEDS[device.type][0]) is not None


def make_fused(device: torch.device, dtype: torch.dtype, num_threads: int) -> Backend:
    """Compiled loops on the CPU, or Triton's kernels on CUDA."""
    if not has_fused(device):
        library, install = _FUSED_NEEDS[device.type]
        raise UsageError(
            f"backend 'fused' on {device.type} needs {library}, which is not installed: {install}"
        )
    if device.type == "cuda":
        from augengine.backends.fused_cuda import FusedCudaBackend

        return FusedCudaBackend(device, dtype)
    from augengine.backends.fused import FusedBackend

    return FusedBackend(device, dtype, num_threads)


def make_dali(device: torch.device, dtype: torch.dtype, num_threads: int) -> Backend:
    """NVIDIA's pipelines."""
    require_dali("backend")
    from augengine.backends.dali import DaliBackend

    return DaliBackend(device, dtype, num_threads)


def make_kornia(device: torch.device, dtype: torch.dtype, num_threads: int) -> Backend:
    """Plain torch operations, with Kornia's colours and blurs."""
    from augengine.backends.kornia_ops import KorniaBackend

    return KorniaBackend(device, dtype, num_threads)
