"""Spherical k-means: centroids of length 1, each row to the centroid with the largest cosine.

A pure function of rows and first centroids, with products in place of scattered sums: ranks that
hold the same rows find the same clusters bit for bit, and a continued run the same as before.

Legend: N rows, K clusters, D features.
"""

import torch

from trainer.losses.cosine import unit_rows

MAX_SCORES = 1 << 24  # entries of the largest temporary matrix: 64 MiB of float32


@torch.no_grad()
def spherical_kmeans(
    rows: torch.Tensor,  # [N, D] float32 - of length 1
    initial: torch.Tensor,  # [K, D] float32 - first centroids, of length 1
    *,
    iterations: int = 10,
    max_scores: int = MAX_SCORES,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Centroids [K, D] and the cluster of every row, [N] int64.

    repeat: label[i] = argmax_k <rows[i], c[k]>
            c[k] = n(sum of the rows with label k); an empty cluster keeps its centroid
    and the labels once more, so that they belong to the centroids that are returned.

    Caron et al. 2020, 2006.09882, appendix D; main_deepclusterv2.py `cluster_memory`.
    """
    centroids = initial
    parts = rows.split(max(1, max_scores // len(initial)))
    # Autocast would take the products to bf16, where near centroids are the same.
    with torch.autocast(rows.device.type, enabled=False):
        for _ in range(iterations):
            sums = torch.stack([_sums(part, centroids) for part in parts]).sum(0)
            # Rows that cancel have no direction: as good as an empty cluster.
            found = torch.linalg.vector_norm(sums, dim=1, keepdim=True) > 1e-6
            centroids = torch.where(found, unit_rows(sums), centroids)
        return centroids, torch.cat([(part @ centroids.T).argmax(1) for part in parts])


def _sums(part: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """[K, D]: per cluster the sum of those rows of `part` that are nearest to its centroid."""
    scores = part @ centroids.T
    nearest = scores.argmax(1, keepdim=True)
    # index_add_ would add in an order of its own on a GPU, and the last bits with it.
    return scores.zero_().scatter_(1, nearest, 1.0).T @ part
