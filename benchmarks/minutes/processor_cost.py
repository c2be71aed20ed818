"""The processor time of a config's image beside the base's, measured in turns.

Not seconds of a clock, since other work may run beside, and not the processor time of one config
alone, since a busy neighbour makes every instruction slower: both configs take steps in turns in
one process, and the ratio of their least costs is what counts.
"""

import time
from collections.abc import Sequence

from augengine.loader.view_loader import ViewLoader
from trainer.build import Parts, build_parts, open_loader
from trainer.config import TrainConfig
from trainer.optim.create_optimizer import set_schedules
from trainer.step import optimizer_step

STEPS = 3  # of a turn
_SETTLED_S = 0.05  # a pause without work of the loader's threads


def costs(configs: Sequence[TrainConfig], rounds: int = 3) -> list[float]:
    """Least core-seconds an image of each config, over so many turns after a first one."""
    built = [build_parts(config) for config in configs]
    loaders = [open_loader(parts) for parts in built]
    try:
        least = [float("inf")] * len(built)
        for turn in range(rounds + 1):
            for number, (parts, loader) in enumerate(zip(built, loaders, strict=True)):
                spent = _turn(parts, loader, turn)
                if turn:  # the first compiles kernels and fills memory
                    least[number] = min(least[number], spent)
        return least
    finally:
        for loader in loaders:
            loader.close()


def _turn(parts: Parts, loader: ViewLoader, turn: int) -> float:
    """Core-seconds an image of a few steps and of the views made meanwhile, as many as taken."""
    _settle()
    began = time.process_time()
    for step in range(turn * STEPS, (turn + 1) * STEPS):
        progress = parts.timeline.progress(min(step, parts.timeline.total_steps - 1))
        set_schedules(parts.optimizer, parts.config.optim, progress)
        optimizer_step(parts.method, parts, loader, progress)
    _settle()
    return (time.process_time() - began) / (STEPS * parts.config.loop.batch_size)


def _settle() -> None:
    """Wait until the loaders' threads have made all that they make ahead."""
    last = -1.0
    while (now := time.process_time()) - last > 0.1 * _SETTLED_S:
        last = now
        time.sleep(_SETTLED_S)
