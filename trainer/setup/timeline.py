"""The timeline of a run: a step's epoch, its progress, its place in the stream, and "now?"."""

import math
from dataclasses import dataclass

from shards.cursor import Cursor
from trainer.methods.protocol import Progress


@dataclass(frozen=True, slots=True)
class Timeline:
    """The steps of one run, as pure functions of their numbers."""

    num_images: int  # of an epoch
    batch_size: int  # images a step, over all ranks
    epochs: float

    @property
    def steps_per_epoch(self) -> float:
        """Samples over the global batch; not whole, since batches cross epoch borders."""
        return self.num_images / self.batch_size

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return math.floor(self.epochs * self.steps_per_epoch)

    def progress(self, step: int) -> Progress:
        """Where the run is after `step` steps."""
        return Progress(step, self.total_steps, self.steps_per_epoch)

    def steps(self, epochs: float) -> float:
        """A number of epochs in steps, at least one; not whole in general."""
        return max(1.0, epochs * self.steps_per_epoch)

    def cursor(self, step: int) -> Cursor:
        """Where the stream of samples stands after `step` steps."""
        return Cursor(step * self.batch_size)


def due(step: int, every: float) -> bool:
    """Whether a whole multiple of `every` steps has been passed by the last of `step` steps.

    Epochs are no whole number of steps: every 2 epochs of 93.75 steps is after 188, 375, 563, ...
    """
    return math.floor(step / every) > math.floor((step - 1) / every)
