"""Does the run move? The loss beside a constant output's, and one word early when it stays there.

Such a loss tells no image from another. Good runs start above it, some of them, and pass it on
their way down: it is staying that counts.
"""

import math

from trainer.build import Parts
from trainer.verdict import cures

# Of the constant's value. On the demo set runs that learned took at most 50 steps from one side of
# this to the other; SwAV at ln K lay within a tenth of it for the rest of the run.
NEAR = 0.01
STILL_STEPS = 200  # that a loss stays as near, the warm-up left out, before a word is said


class Standstill:
    """Judges one run, of which it is told now and then; says a sentence once."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._warm_steps = parts.config.optim.warmup_epochs * parts.steps_per_epoch
        self._since: int | None = None  # the step of the first of the last looks that were near
        self._is_told = False

    @property
    def constant_loss(self) -> float | None:
        """The least loss of a constant output now; None where the method does not say."""
        parts = self._parts
        counts = [group.count for group in parts.policy.groups]
        return parts.method.constant_loss(parts.images_per_forward, (counts[0], sum(counts)))

    @property
    def is_still(self) -> bool:
        """Whether the last loss was one that a constant output has."""
        return self._since is not None

    def look(self, step: int, loss: float) -> str | None:
        """A warning, when the loss after `step` steps has long been a constant output's."""
        constant = self.constant_loss
        # A loss that a constant output has at its best says nothing by being there.
        is_silent = constant is None or self._parts.method.constant_is_best
        if is_silent or not abs(loss - constant) <= NEAR * abs(constant):
            self._since = None
            return None
        if self._since is None:
            self._since = step
        stood = step - max(self._since, math.ceil(self._warm_steps))
        if stood < STILL_STEPS:
            return None
        return self._once(
            f"the loss has stood at {loss:.4f} for {stood} steps, which equal embeddings of all "
            f"images have ({constant:.4f})"
        )

    def score(self, step: int, knn: float, random_knn: float, num_images: int) -> str | None:
        """A warning, when `num_images` held-out images are told apart worse than untrained."""
        # Twice the standard error of a share, so that chance is no reason to stop a run.
        error = math.sqrt(random_knn * (1 - random_knn) / num_images)
        is_early = self._warm_steps <= step < self._parts.total_steps
        if not is_early or knn >= random_knn - 2 * error:
            return None
        return self._once(
            f"kNN {knn:.1%} is below the untrained encoder's {random_knn:.1%} after {step} steps"
        )

    def _once(self, what: str) -> str | None:
        if self._is_told:
            return None
        self._is_told = True
        found = cures(self._parts.config, is_still=self.is_still)
        return f"{what}; stop the run and try {', '.join(found)}"
