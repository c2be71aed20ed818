"""Was it worth it? One sentence about a run's last kNN beside an untrained encoder's.

What is advised when it was not has been measured to help: docs/log.md has the experiments.
"""

import math

from trainer.config import TrainConfig
from trainer.methods.swav import Settings

SMALL_PX = 64  # largest view: up to here full colour strength was found to be too much
FULL_COLOUR = 0.8  # of brightness, contrast and saturation
LEAST_SCALE = 0.2  # of a global view of small images
NEAR_CONSTANT = 0.02  # of ln K: a loss as close to it has told no image from another


def describe_verdict(config: TrainConfig, knn: float, random_knn: float, loss: float) -> str:
    """Better or worse than the untrained encoder and by how much; when not better, what to try."""
    points = 100 * (knn - random_knn)
    if points >= 0.05:
        return f"better than the untrained encoder by {points:.1f} points"
    if random_knn == 1:
        return "the untrained encoder finds all: this score leaves nothing to learn"
    how = f"worse than the untrained encoder by {-points:.1f} points" if points <= -0.05 else ""
    return (
        f"{how or 'no better than the untrained encoder'}; try {', '.join(_advice(config, loss))}"
    )


def _advice(config: TrainConfig, loss: float) -> list[str]:
    """Keys to type, most telling first."""
    found = []
    if config.method.name == "swav":
        prototypes = config.method.settings.get("num_prototypes", Settings().num_prototypes)
        constant = math.log(prototypes)
        if abs(loss - constant) <= NEAR_CONSTANT * constant:
            fewer = max(2, prototypes // 10) if prototypes > 500 else max(2, prototypes // 2)
            found.append(
                f"method.num_prototypes={fewer} (the loss is at ln {prototypes}, what equal "
                "embeddings of all images have)"
            )
    found += _views_advice(config)
    epochs = config.loop.epochs
    return [*found, f"--epochs {math.ceil(2 * epochs)}"]


def _views_advice(config: TrainConfig) -> list[str]:
    groups = config.policy.load().groups
    group = groups[0]
    if group.size_px > SMALL_PX:
        return []
    view, found = group.views[0], []
    strengths = {name: getattr(view, name) for name in ("brightness", "contrast", "saturation")}
    if view.jitter > 0 and max(strengths.values()) >= FULL_COLOUR:
        halves = {**strengths, "hue": view.hue}
        keys = [f"policy.{name}={value / 2:g}" for name, value in halves.items()]
        found.append(f"{' '.join(keys)} (half the colour strength, for small images)")
    if view.scale[0] < LEAST_SCALE and len(groups) == 1:
        found.append(f"'policy.scale=[{LEAST_SCALE:g},1]' (larger crops)")
    return found
