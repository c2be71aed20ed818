"""Five numbers about features that need no label: their spectrum, and their places on the sphere.

Pure functions. Each has its equation as plain code in its docstring, where `Z` are the features and
`u(z) = z / |z|`; all compute in float64 on the features' device, whatever they are given. None of
them is an accuracy: docs/evaluation.md has what each says and when it misleads.

Legend: N images, V views of an image, D feature width.
"""

import math

import torch
from torch.nn import functional as F

from shards.errors import DataError

EPS = 1e-7  # of RankMe for float32 features; LiDAR's paper leaves its own open
LIDAR_DELTA = 1e-4  # of the mean variance of a feature within an image
FIRST_RANK, LAST_RANK = 11, 100  # between which alpha is fitted
LEAST_RANKS = 10  # to fit to; with fewer of those, all ranks
NO_VARIANCE = 1e-12  # of the squared lengths: less is the rounding of float32 features
T = 2.0  # of uniformity
MEASURES = {  # title and form, by the name that a run's records have
    "rankme": ("RankMe", ".1f"),
    "alpha_req": ("alpha", ".2f"),
    "lidar": ("LiDAR", ".1f"),
    "alignment": ("alignment", ".3f"),
    "uniformity": ("uniformity", ".2f"),
}


def rankme(
    features: torch.Tensor,  # [N, D] float - as they are, neither centred nor of unit length
) -> float:
    """How many directions the features use: 1 (all on one line) to min(N, D).

    RankMe, arXiv 2210.02885, equations 1 and 2, eps = 1e-7:

        s = svd(Z).singular_values              # min(N, D) of them
        p = [x / sum(s) + eps for x in s]
        exp(-sum(x * log(x) for x in p))

    Features that are all zero have 1.
    """
    s = torch.linalg.svdvals(_checked(features, 2))
    return _perplexity(s)


def alpha_req(
    features: torch.Tensor,  # [N, D] float
) -> float | None:
    """How fast the variances of the principal directions fall: the a of variance ~ rank^-a.

    alpha-ReQ, Agrawal et al., NeurIPS 2022. As its authors' library fits it (arnab39/reptrix,
    alpha.py): least squares of log variance on log rank over ranks 11 to 100, weighted by 1 / rank.

        e = sorted(eigenvalues(cov(Z)), reverse=True)
        w, x, y = [1 / r ...], [log(r) ...], [log(e[r - 1]) ...]    # r = 11, ..., min(100, rank)
        mx, my = sum(w * x) / sum(w), sum(w * y) / sum(w)
        -sum(w * (x - mx) * (y - my)) / sum(w * (x - mx)**2)

    Variances under 1e-12 of the features' squared lengths together are none. With fewer than 20 it
    is fitted over all ranks from 1 on; with fewer than two there is no slope: None. White features
    have 0.
    """
    z = _checked(features, 2)
    variances = torch.linalg.svdvals(z - z.mean(dim=0)).square()
    # Nor is what rounding leaves of a mean that is taken away.
    variances = variances[variances > NO_VARIANCE * z.square().sum()].cpu()
    rank = len(variances)
    first = FIRST_RANK if rank >= FIRST_RANK + LEAST_RANKS - 1 else 1
    ranks = torch.arange(first, min(rank, LAST_RANK) + 1, dtype=torch.float64)
    if len(ranks) < 2:
        return None
    w, x, y = 1 / ranks, ranks.log(), variances[first - 1 : LAST_RANK].log()
    x, y = x - (w * x).sum() / w.sum(), y - (w * y).sum() / w.sum()
    return (-(w * x * y).sum() / (w * x * x).sum()).item() + 0.0  # no -0.0


def lidar(
    views: torch.Tensor,  # [N, V, D] float - features of V augmented views of each image
    delta: float | None = None,  # variance; None: 1e-4 of the mean one within an image
) -> float:
    """How many directions tell images apart better than views of one image: 1 to min(N - 1, D).

    LiDAR, arXiv 2312.04000, section 3: RankMe's entropy of the eigenvalues of the LDA matrix, whose
    classes are the images and whose samples are their views.

        m = [mean(Z[i]) for i in range(N)]
        B = mean(outer(m[i] - mean(m), m[i] - mean(m)) for i)
        W = mean(outer(Z[i][v] - m[i], Z[i][v] - m[i]) for i, v) + delta * eye(D)
        e = eigenvalues(W**-0.5 @ B @ W**-0.5)
        p = [x / sum(e) + eps for x in e]
        exp(-sum(x * log(x) for x in p))

    The paper calls delta a small constant. Ours goes with the features' scale, which differs by
    orders of magnitude between encoders; a fixed one would make the number depend on it. Where all
    views of an image are the same it is the perplexity of B's eigenvalues; where all images are the
    same it is 1.
    """
    z = _checked(views, 3)
    num_images, num_views, width = z.shape
    means = z.mean(dim=1, keepdim=True)  # [N, 1, D]
    around = (z - means).flatten(0, 1)  # [N V, D]
    within = around.T @ around / (num_images * num_views)
    if delta is None:
        mean = within.diagonal().mean().item()
        # Rounding is no difference between views.
        delta = LIDAR_DELTA * mean if mean > NO_VARIANCE * z.square().mean().item() else 1.0
    within.diagonal().add_(delta)
    between = (means - means.mean(dim=0)).squeeze(1)  # [N, D]
    if between.square().mean().item() <= NO_VARIANCE * z.square().mean().item():
        return 1.0
    # The squares of these are the eigenvalues that are not zero: W = L L^T, B = M^T M / N.
    whitened = torch.linalg.solve_triangular(
        torch.linalg.cholesky(within), between.T, upper=False
    )  # [D, N]
    eigenvalues = torch.linalg.svdvals(whitened).square()
    return _perplexity(F.pad(eigenvalues, (0, width - len(eigenvalues))))


def alignment(
    views: torch.Tensor,  # [N, V, D] float - features of V augmented views of each image
) -> float:
    """How far apart two views of an image lie on the sphere: 0 (one point) to 4 (squared distance).

    arXiv 2005.10242, section 4.1.1, with exponent 2:

        mean(|u(Z[i][a]) - u(Z[i][b])|**2 for i in range(N) for a, b in pairs(V))

    A feature that is zero stays in the centre.
    """
    unit = F.normalize(_checked(views, 3), dim=2)
    num_views = unit.shape[1]
    squares = num_views * unit.square().sum(dim=(1, 2)) - unit.sum(dim=1).square().sum(dim=1)
    return (2 * squares / (num_views * (num_views - 1))).mean().clamp(min=0).item()


def uniformity(
    features: torch.Tensor,  # [N, D] float
) -> float:
    """How evenly images cover the sphere: 0 (one point) down to about -2 t = -4, evenly.

    arXiv 2005.10242, section 4.1.2, with t = 2:

        log(mean(exp(-t * |u(Z[i]) - u(Z[j])|**2) for i, j in pairs(N)))

    Two opposite points have -8, the least of all. A feature that is zero stays in the centre.
    """
    unit = F.normalize(_checked(features, 2), dim=1)
    square = unit.square().sum(dim=1)
    distances = (square[:, None] + square - 2 * unit @ unit.T).clamp(min=0)
    rows, columns = torch.triu_indices(len(unit), len(unit), 1, device=unit.device)
    return (-T * distances[rows, columns]).exp().mean().log().item() + 0.0  # no -0.0


def _perplexity(values: torch.Tensor) -> float:
    """Exp of the entropy of values >= 0 as shares of their sum, plus eps; 1 where all are zero."""
    total = values.sum()
    if total == 0:
        return 1.0
    shares = values / total + EPS
    return math.exp(-(shares * shares.log()).sum().item())


def _checked(features: torch.Tensor, dimensions: int) -> torch.Tensor:
    """The features in float64.

    Raises:
        DataError: they are not finite, or fewer than two images or views.
    """
    assert features.ndim == dimensions, features.shape
    num_odd = int((~features.isfinite()).sum())
    if num_odd:
        raise DataError(
            f"label-free measures need finite features, got NaN or infinity in {num_odd:,} of "
            f"{features.numel():,} numbers; look at the loss and lower optim.base_lr"
        )
    if min(features.shape[:-1]) < 2 or not features.shape[-1]:
        raise DataError(
            "label-free measures need two images that can be read, and two views of each where "
            f"they are of views, got {' x '.join(map(str, features.shape))} numbers; give more "
            "images"
        )
    return features.detach().double()
