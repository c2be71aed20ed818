"""The device of a run, the precision it computes in, and how it chooses kernels."""

import torch

from shards.errors import UsageError
from trainer.config import TrainConfig


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """The device of this process; UsageError when cuda is asked for and absent."""
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise UsageError(
            f"--device cuda needs an NVIDIA GPU and a CUDA build of torch, got torch "
            f"{torch.__version__} without one; use --device cpu"
        )
    return torch.device("cuda", local_rank) if has_cuda and name != "cpu" else torch.device("cpu")


def use_bf16(config: TrainConfig, device: torch.device) -> bool:
    """Whether the forward runs under bf16 autocast."""
    return config.loop.precision == "bf16" or (
        config.loop.precision == "auto" and device.type == "cuda"
    )


def choose_kernels(device: torch.device, *, repeatable: bool) -> None:
    """On CUDA: convolutions by the fastest of cuDNN's ways, or by one that repeats its bits.

    Shapes are the same in every step, so that the search for the fastest is made once for each.
    """
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = not repeatable
        torch.backends.cudnn.deterministic = repeatable
