"""Does the run move? The loss beside a constant output's, and one word early when it stays there.

Such a loss tells no image from another. Good runs may start above it and pass it on their way down:
it is staying there, and not falling, that counts. Beside terms that add to it the method's own loss
is judged; a term that changes something of the step makes it another one, of which nothing is said.
"""

import math
from collections import deque
from collections.abc import Iterable
from typing import cast

from shards.terminal.counted import counted
from trainer.build import Parts
from trainer.methods.protocol import Method
from trainer.terms.beside_step import OWN_LOSS
from trainer.terms.term import Term
from trainer.watch.verdict import cures

NEAR = 0.005  # of the constant's value: SwAV at ln K was within 0.0002 of it
FALL = 0.001  # of it, from the first half of the steps below to the second: it moves
STILL_STEPS = 200  # after the warm-up
STILL_EPOCHS = 5  # of methods with a class for every image, which they meet once an epoch


class Standstill:
    """Judges one run, of which it is told now and then; says a sentence once."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        steps_per_epoch = parts.timeline.steps_per_epoch
        self._warm_steps = math.ceil(parts.config.optim.warmup_epochs * steps_per_epoch)
        # `prepare` is what sizes something by the number of images.
        is_by_image = type(parts.method).prepare is not Method.prepare
        epochs = STILL_EPOCHS if is_by_image else 0
        self._num_steps = max(STILL_STEPS, math.ceil(epochs * steps_per_epoch))
        # Steps and their losses, of the last looks, as long as they are near the constant's.
        self._near: deque[tuple[int, float]] = deque()
        self._is_told = False

    @property
    def constant_loss(self) -> float | None:
        """The least loss of a constant output now; None where method or terms do not say."""
        # What terms add is not known beforehand.
        return self._own_constant if self._parts.method.terms is None else None

    @property
    def _own_constant(self) -> float | None:
        """Likewise of the method's own loss, without what its terms add to it."""
        parts = self._parts
        terms = cast("Iterable[Term]", parts.method.terms or ())
        if any(term.changes is not None for term in terms):  # another loss than the method's
            return None
        counts = [group.count for group in parts.policy.groups]
        images = parts.config.loop.images_per_forward
        return parts.method.constant_loss(images, (counts[0], sum(counts)))

    @property
    def is_near(self) -> bool:
        """Whether the last loss was about that of a constant output."""
        return bool(self._near)

    def look(self, step: int, loss: float) -> str | None:
        """A warning, when the method's own loss after `step` steps is long a constant output's."""
        # A loss that has its least value there says nothing by being near.
        is_silent = self._parts.method.constant_is_best
        constant = None if is_silent else self._own_constant
        if constant is None or not abs(loss - constant) <= NEAR * abs(constant):
            self._near.clear()
            return None
        self._near.append((step, loss))
        first = step - self._num_steps
        if self._near[0][0] > first or first < self._warm_steps:
            return None
        while self._near[1][0] <= first:  # one stays that is as old
            self._near.popleft()
        losses = [loss for _, loss in self._near]
        half = len(losses) // 2
        fall = sum(losses[:half]) / half - sum(losses[-half:]) / half
        if fall > FALL * abs(constant):
            return None
        name = "the loss" if self._parts.method.terms is None else OWN_LOSS
        return self._once(
            f"{name} has stood at {loss:.4f} for {counted(self._num_steps, 'step')}, where equal "
            f"embeddings of all images have it ({constant:.4f})"
        )

    def score(self, step: int, knn: float, random_knn: float, num_images: int) -> str | None:
        """A warning, when `num_images` held-out images are told apart worse than untrained."""
        # Twice the standard error of a share, so that chance is no reason to stop a run.
        error = math.sqrt(random_knn * (1 - random_knn) / num_images)
        is_due = self._warm_steps + self._num_steps <= step < self._parts.timeline.total_steps
        if not is_due or knn >= random_knn - 2 * error:
            return None
        return self._once(
            f"kNN {knn:.1%} is below the untrained encoder's {random_knn:.1%} after "
            f"{counted(step, 'step')}"
        )

    def _once(self, what: str) -> str | None:
        if self._is_told:
            return None
        self._is_told = True
        found = cures(self._parts.config, is_still=self.is_near)
        advice = f"; stop the run and try {', '.join(found)}" if found else ""
        return f"{what}{advice}"
