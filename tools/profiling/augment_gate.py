"""The gate before any timing: a backend that is away from the reference is wrong, not fast."""

import numpy as np

from augengine.backends.backend import Backend
from augengine.draw import draw_plan
from augengine.policy import Policy
from augengine.reference import render
from shards.errors import DataError
from tools.profiling.augment_stock import Stock

NUM_IMAGES = 4
# Over whole policies, in steps of 8-bit pixels; tests/tolerances.py holds each op much tighter.
MAX_MEAN_ERROR_LEVELS = 1.0


def check_backend(backend: Backend, policy: Policy, stock: Stock, seed: int) -> dict[str, float]:
    """A backend's errors in 8-bit levels; DataError when their mean is out of bounds."""
    some = slice(0, min(NUM_IMAGES, len(stock.ids)))
    plan = draw_plan(policy, stock.ids[some], np.zeros(some.stop), stock.sizes[some], seed)
    images, std = stock.images[some], np.array(plan.std)[:, None, None]
    views = [view.float().cpu().numpy() for group in backend(images, plan) for view in group]
    errors = [
        255 * std * np.abs(views[v][b] - render(image.cpu().numpy(), plan, b, v))
        for b, image in enumerate(images)
        for v in range(plan.num_views)
    ]
    mean = float(np.mean([error.mean() for error in errors]))
    largest = float(max(error.max() for error in errors))
    if not mean <= MAX_MEAN_ERROR_LEVELS:  # NaN is wrong too
        raise DataError(
            f"a backend is within {MAX_MEAN_ERROR_LEVELS} levels of the reference on average, got "
            f"{mean:.2f} (at most {largest:.0f}) from {backend.name}; it is wrong and not timed"
        )
    return {"mean_levels": round(mean, 5), "max_levels": round(largest, 4)}
