"""Places of images on a plane, near where their features are: principal components, and UMAP."""

import importlib
import warnings
from types import ModuleType

import numpy as np

NO_UMAP = (
    "There is no UMAP beside it, since umap-learn is not installed: pip install umap-learn, and "
    "make the report again."
)


def principal_plane(
    features: np.ndarray,  # [P, D] float32
) -> tuple[np.ndarray, float]:
    """[P, 2] on the two directions of most variance, and their share of it."""
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    # A sign is nobody's: the largest entry of each direction is positive.
    largest = np.abs(directions[:2]).argmax(axis=1)
    signs = np.sign(directions[np.arange(len(largest)), largest])
    places = centred @ (directions[:2] * signs[:, None]).T
    places = np.pad(places, ((0, 0), (0, 2 - places.shape[1])))
    total = float(np.square(lengths).sum())
    return places, float(np.square(lengths[:2]).sum()) / total if total else 0.0


def umap_plane(
    features: np.ndarray,  # [P, D] float32, of length 1
) -> np.ndarray | None:
    """[P, 2] by UMAP (arXiv 1802.03426) on cosines; None where it is not installed or too few."""
    umap = _umap()
    if umap is None or len(features) < 10:
        return None
    with warnings.catch_warnings():  # it says that a seed costs threads
        warnings.simplefilter("ignore")
        made = umap.UMAP(n_components=2, metric="cosine", random_state=0).fit_transform(features)
    return np.asarray(made, np.float64)


def in_unit_square(
    places: np.ndarray,  # [P, 2]
) -> np.ndarray:
    """The same, moved and scaled evenly into [0, 1]."""
    low, high = places.min(axis=0), places.max(axis=0)
    side = float((high - low).max()) or 1.0
    return (places - (low + high) / 2) / side + 0.5


def _umap() -> ModuleType | None:
    try:
        return importlib.import_module("umap")
    except ImportError:
        return None
