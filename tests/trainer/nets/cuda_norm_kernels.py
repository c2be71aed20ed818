"""torch's kernels of shared batch statistics, which it has on CUDA only, in plain operations.

`on_the_cpu()` registers them for CPU tensors of this process, so that what calls them on a GPU can
be followed without one. Their meaning: aten/src/ATen/native/cuda/Normalization.cuh in pytorch.
"""

import torch


def on_the_cpu() -> torch.library.Library:
    """Make the five operators work on CPU tensors as long as the result is kept."""
    library = torch.library.Library("aten", "IMPL")
    library.impl("batch_norm_stats", stats, "CPU")
    library.impl("batch_norm_gather_stats_with_counts", gathered_stats, "CPU")
    library.impl("batch_norm_elemt.out", normalise_into, "CPU")
    library.impl("batch_norm_backward_reduce", reduced_slopes, "CPU")
    library.impl("batch_norm_backward_elemt", slope, "CPU")
    return library


def _wide(x: torch.Tensor) -> torch.Tensor:
    """[rows, C], in float32 at least."""
    return x.movedim(1, -1).flatten(0, -2).to(torch.promote_types(x.dtype, torch.float32))


def _like(rows: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    places = x.movedim(1, -1)
    return rows.view(places.shape).movedim(-1, 1).to(x.dtype)


def stats(x: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
    var, mean = torch.var_mean(_wide(x), 0, correction=0)
    return mean, (var + eps).rsqrt()


def gathered_stats(x, means, inverses, running_mean, running_var, momentum, eps, counts):
    share = (counts / counts.sum())[:, None]
    mean = (share * means).sum(0)
    var = (share * (inverses**-2 - eps + (means - mean).square())).sum(0)
    if running_mean is not None:
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(var * (counts.sum() / (counts.sum() - 1)), momentum)
    return mean, (var + eps).rsqrt()


def normalise_into(x, weight, bias, mean, inverse, eps, *, out):
    rows = (_wide(x) - mean) * inverse
    if weight is not None:
        rows = rows * weight + bias
    return out.copy_(_like(rows, x))


def reduced_slopes(slopes, x, mean, inverse, weight, needs_x, needs_weight, needs_bias):
    rows, off = _wide(slopes), _wide(x) - mean
    total, along = rows.sum(0), (rows * off).sum(0)
    return total, along, along * inverse, total


def slope(slopes, x, mean, inverse, weight, total, along, counts):
    num_rows = counts.sum()
    off = _wide(x) - mean
    rows = _wide(slopes) - total / num_rows - off * inverse.square() * (along / num_rows)
    return _like(rows * inverse * (1.0 if weight is None else weight), x)
