"""Was it worth it? One sentence about a run's last kNN beside an untrained encoder's.

What is advised when it was not has been measured to help: docs/log.md has the experiments.
"""

import math

from trainer.config import TrainConfig
from trainer.methods.method_table import method_settings

SMALL_PX = 64  # largest view: up to here full colour strength was found to be too much
FULL_COLOUR = 0.8  # of brightness, contrast and saturation
LEAST_SCALE = 0.2  # of a global view of small images
FREED = ("swav", "dino")  # from the loss of a constant output, by fixed prototypes


def describe_verdict(
    config: TrainConfig,
    knn: float,
    random_knn: float,
    *,
    is_still: bool,  # the loss is one that a constant output has
) -> str:
    """Better or worse than the untrained encoder and by how much; when not better, what to try."""
    before = "the untrained encoder" if config.backbone.weights is None else "the given weights"
    points = 100 * (knn - random_knn)
    if points >= 0.05:
        return f"better than {before} by {points:.1f} points"
    if random_knn == 1:
        verb = "find" if before.endswith("s") else "finds"
        return f"{before} {verb} all: this score leaves nothing to learn"
    how = f"worse than {before} by {-points:.1f} points" if points <= -0.05 else ""
    found = cures(config, is_still=is_still)
    if not is_still:
        found.append(f"--epochs {math.ceil(2 * config.loop.epochs)}")
    return f"{how or f'no better than {before}'}; try {', '.join(found)}"


def cures(config: TrainConfig, *, is_still: bool) -> list[str]:
    """Keys to type for a run that does not learn, most telling first."""
    found = _prototypes_advice(config) if is_still else []
    found += _views_advice(config)
    if is_still and not found:
        found.append(f"optim.base_lr={config.optim.base_lr / 2:g} (half the rate)")
    return found


def _prototypes_advice(config: TrainConfig) -> list[str]:
    """The cure that freed SwAV and DINO from ln K: more prototypes than dimensions, kept fixed."""
    name, settings = config.method.name, method_settings(config.method.name, config.method.settings)
    if name not in FREED:
        return []
    typed = {"num_prototypes": 96, "out_dim": 16, "temperature": 0.2, "freeze_epochs": 1000}
    if name == "dino":
        typed["center_momentum"] = 0.5
    keys = [
        f"method.{key}={value}" for key, value in typed.items() if getattr(settings, key) != value
    ]
    return [f"{' '.join(keys)} (few and fixed prototypes, of fewer features)"] if keys else []


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
