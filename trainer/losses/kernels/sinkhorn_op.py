"""Potentials of scores as operators: one read of the scores each, and no matrix written.

    S = scale logits
    sample_potentials: g[r] = -logsumexp_k(S[r, k] + f[k])
    sinkhorn_step:     f'[k] = -logsumexp_r(S[r, k] + g[r]) with that g, or with g = 0 for no f

Everything stays in the log domain: no score overflows, and a prototype without any sample gets a
finite potential. Nothing has a gradient.
"""

import torch

from trainer.losses.kernels.chunks import accumulator, chunks, require_triton


@torch.library.custom_op("augengine::sample_potentials", mutates_args=(), device_types="cpu")
def sample_potentials(
    logits: torch.Tensor,  # [A, R, K]
    prototypes: torch.Tensor,  # [A, K] accumulator
    scale: float,
) -> torch.Tensor:
    """[A, R] accumulator."""
    out = prototypes.new_empty(logits.shape[:-1])
    for rows in chunks(logits.shape[1], logits.shape[0] * logits.shape[2]):
        out[:, rows] = _samples(_scaled(logits[:, rows], scale).add_(prototypes[:, None]))
    return out


@torch.library.custom_op("augengine::sinkhorn_step", mutates_args=(), device_types="cpu")
def sinkhorn_step(
    logits: torch.Tensor,  # [A, R, K]
    prototypes: torch.Tensor | None,  # [A, K] accumulator
    scale: float,
) -> torch.Tensor:
    """[A, K] accumulator: the prototypes' next potentials, from these rows alone."""
    num_views, num_rows, dim = logits.shape
    shape, dtype = (num_views, dim), accumulator(logits)
    peak = logits.new_full(shape, -torch.inf, dtype=dtype)
    total = logits.new_zeros(shape, dtype=dtype)
    for rows in chunks(num_rows, num_views * dim):
        s = _scaled(logits[:, rows], scale)
        if prototypes is not None:
            s += _samples(s + prototypes[:, None])[..., None]
        higher = torch.maximum(peak, s.amax(dim=1))
        total *= (peak - higher).exp_()
        total += s.sub_(higher[:, None]).exp_().sum(dim=1)
        peak = higher
    return -(peak + total.log_())


@sample_potentials.register_fake
def _(logits: torch.Tensor, prototypes: torch.Tensor, scale: float) -> torch.Tensor:
    return prototypes.new_empty(logits.shape[:-1])


@sinkhorn_step.register_fake
def _(logits: torch.Tensor, prototypes: torch.Tensor | None, scale: float) -> torch.Tensor:
    return logits.new_empty((logits.shape[0], logits.shape[2]), dtype=accumulator(logits))


@sample_potentials.register_kernel("cuda")
def _(logits: torch.Tensor, prototypes: torch.Tensor, scale: float) -> torch.Tensor:
    require_triton()
    from trainer.losses.kernels import sinkhorn_gpu

    return sinkhorn_gpu.sample_potentials(logits, prototypes, scale)


@sinkhorn_step.register_kernel("cuda")
def _(logits: torch.Tensor, prototypes: torch.Tensor | None, scale: float) -> torch.Tensor:
    require_triton()
    from trainer.losses.kernels import sinkhorn_gpu

    return sinkhorn_gpu.sinkhorn_step(logits, prototypes, scale)


def _scaled(logits: torch.Tensor, scale: float) -> torch.Tensor:
    return logits.to(accumulator(logits)) * scale


def _samples(
    s: torch.Tensor,  # [A, C, K] - destroyed
) -> torch.Tensor:
    """[A, C]: -logsumexp over the last dimension, without another copy."""
    peak = s.amax(dim=-1, keepdim=True)
    return -(peak.squeeze(-1) + s.sub_(peak).exp_().sum(dim=-1).log_())
