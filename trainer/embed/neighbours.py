"""The nearest images of each image, by the cosine of their features: part against part.

Exact: every image is compared with every other. What is in memory at once is two parts and their
products, however many images there are.

Legend: R rows of a part, S rows of another, D feature width, K neighbours.
"""

import numpy as np
import torch

from trainer.embed.feature_parts import FeatureParts

NOBODY = -1  # in place of a neighbour, where there are fewer than K other images


def nearest(parts: FeatureParts, part: int, k: int, device: torch.device) -> np.ndarray:
    """[R] records of `neighbours` [K] int64 ids and `similarities` [K] float32, the nearest first.

    An image is none of its own neighbours; of equally near ones any may come first.
    """
    rows = parts.read(part)
    ours = unit_features(rows, device)  # [R, D]
    own_ids = torch.from_numpy(np.array(rows["id"])).to(device)
    best = torch.full((len(ours), k), -torch.inf, device=device)
    ids = torch.full((len(ours), k), NOBODY, dtype=torch.int64, device=device)
    for other in range(parts.num_parts):
        theirs = parts.read(other)
        their_ids = torch.from_numpy(np.array(theirs["id"])).to(device)  # [S]
        similar = ours @ unit_features(theirs, device).T  # [R, S]
        if other == part:
            similar.masked_fill_(own_ids[:, None] == their_ids, -torch.inf)
        near, places = similar.topk(min(k, len(theirs)), dim=1)
        best, order = torch.cat([best, near], dim=1).topk(k, dim=1)
        ids = torch.cat([ids, their_ids[places]], dim=1).gather(1, order)
    ids = ids.masked_fill(best == -torch.inf, NOBODY)
    found = np.empty(len(rows), [("neighbours", "<i8", (k,)), ("similarities", "<f4", (k,))])
    found["neighbours"], found["similarities"] = ids.cpu().numpy(), best.cpu().numpy()
    return found


def unit_features(rows: np.ndarray, device: torch.device) -> torch.Tensor:
    """[R, D] float32 features of length 1; those of length 0 stay."""
    features = torch.from_numpy(np.array(rows["features"])).to(device).float()
    return torch.nn.functional.normalize(features, dim=1)
