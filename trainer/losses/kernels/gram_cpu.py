"""Moments of features on a CPU: blocks of columns or rows, in the accumulator's dtype."""

import torch

from trainer.losses.kernels.chunks import accumulator, chunks
from trainer.losses.kernels.gram import Place

# As many as fit a core's second-level cache; few rows or columns are more, up to gram.LEAST.
BLOCK_ELEMENTS = 1 << 18


def moments(
    z: torch.Tensor,  # [V, B, D]
    num_targets: int,
    within: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean [V, D] and second [1 + G, V, D] of gram_op.py."""
    num_views, num_images, dim = z.shape
    mean = z.new_empty((num_views, dim), dtype=accumulator(z))
    second = mean.new_empty((1 + num_targets, num_views, dim))
    for columns in chunks(dim, num_views * num_images):
        # From the first row on: a column without variance is then 0, not the rounding of its mean.
        first = z[:, :1, columns].to(mean.dtype)
        x = z[:, :, columns] - first
        shift = x.mean(dim=1, keepdim=True)
        mean[:, columns] = (first + shift).squeeze(1)
        x -= shift
        second[0, :, columns] = x.square().mean(dim=1)
        for g in range(num_targets):
            # The matrix of views is symmetric.
            others = x[g + 1 :]
            found = ((others - x[g]).square_() if within else others * x[g]).mean(dim=1)
            second[1 + g, g + 1 :, columns] = found
            second[2 + g :, g, columns] = found[: num_targets - g - 1]
            second[1 + g, g, columns] = 0 if within else second[0, g, columns]
    return mean, second


def standardised(
    z: torch.Tensor,  # [V, B, D]
    mean: torch.Tensor,  # [V, D]
    scale: torch.Tensor,  # [V, D]
    at: Place,
) -> torch.Tensor:
    """[V, C, E]: a block of x."""
    x = z[at].to(mean.dtype) - mean[:, None, at[2]]
    return x.mul_(scale[:, None, at[2]])


def multiply(out: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *, add: bool) -> None:
    """Write a @ b, or add it."""
    # Autocast leaves calls with `out` alone.
    torch.addmm(out, a, b, beta=int(add), out=out)


def meet(
    found: torch.Tensor,  # [S, B, B] - Gram matrices of the global views, sum of the local ones'
    num_targets: int,
    z: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """For each matrix the sum of those it meets, in its place; and the sum of their products."""
    total = found.new_zeros(())
    for rows in chunks(found.shape[1], found.shape[0] * found.shape[2]):
        k = found[:, rows].clone()
        everyone = k[:num_targets].sum(0)
        met = found[:, rows]
        torch.sub(everyone, k, out=met).mul_(2)
        for local in k[num_targets:]:
            met[:num_targets] += local
            met[num_targets:] = everyone
        total += k.mul_(met).sum()
    return found, total


def weigh(
    found: torch.Tensor,  # [S, M, M]
    num_twice: int,
    z: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The first matrices twice, in their place; and the sum of their products with what was."""
    total = found.new_zeros(())
    for rows in chunks(found.shape[1], found.shape[0] * found.shape[2]):
        squares = found[:, rows].square()
        total += squares.sum() + squares[:num_twice].sum()
    found[:num_twice] *= 2
    return found, total


def column_dots(
    product: torch.Tensor,  # [V, C, E]
    x: torch.Tensor,  # [V, C, E]
) -> torch.Tensor:
    """[V, E]: sum over rows of their product."""
    return (product * x).sum(dim=1)


def write_gradient(
    out: torch.Tensor,  # [V, B, D] - written
    z: torch.Tensor,
    mean: torch.Tensor,
    scale: torch.Tensor,
    x: torch.Tensor,  # [V, C, E]
    product: torch.Tensor,  # [V, C, E] - destroyed
    factor: torch.Tensor,  # [V, D]
    table: torch.Tensor,  # [V, V, D]
    constant: torch.Tensor,  # [V, D]
    at: Place,
) -> None:
    """One block of the gradient."""
    for v in range(len(x)):
        total = product[v].mul_(factor[v, at[2]]).add_(constant[v, at[2]])
        for w in range(len(x)):
            total.addcmul_(table[v, w, at[2]], x[w])
        out[v][at[1:]] = total
