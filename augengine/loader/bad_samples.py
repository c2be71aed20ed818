"""Bad samples at run time: each is named, counted, and too many of them stop the run.

The packer refuses bad images, so a bad one here means rot on the disk, a lying index or foreign
tars nobody checked. The pipeline replaces it by a deterministic substitute and reports it here; the
consumer's thread does the counting, in the order of delivery, so a run stops at the same batch on
any number of workers. Failure budgets follow SPDL's `_FailCounter`.
"""

import logging
from collections.abc import Callable, Iterable

from augengine.views import BadSample
from shards.errors import DataError, UsageError
from shards.format import MAX_IMAGE_PIXELS
from shards.terminal.counted import counted

DEFAULT_BUDGET = 0.001
PROBATION_SAMPLES = 1_000  # a share says nothing before
PROBATION_SHARE = 0.01
NAMES_IN_MESSAGE = 5
ON_BAD = ("substitute", "fail")


def log_bad_sample(bad: BadSample) -> None:
    """Warn through Python's logging (logger `augengine.loader.bad_samples`)."""
    logging.getLogger(__name__).warning("bad sample %s", bad)


class BadSamples:
    """The bad samples of one loader, and its budget.

    A sample that stays bad is one bad sample, however often it comes up. Allowed are: among the
    first 1,000 samples drawn 1 + 1 % of them (a folder of broken images stops within the first
    batches); from then on `budget` times the samples drawn, but at least 1. A budget of 0 allows
    none. Each process counts its own, from 0 after a resume.
    """

    def __init__(
        self,
        budget: float = DEFAULT_BUDGET,
        on_bad: str = "substitute",
        on_warning: Callable[[BadSample], None] = log_bad_sample,
        folder: str = "",  # that they are in, for messages
    ) -> None:
        if not 0 <= budget <= 1:
            raise UsageError(f"the budget of bad samples is a share in [0, 1], got {budget}")
        if on_bad not in ON_BAD:
            raise UsageError(f"on_bad is one of {', '.join(ON_BAD)}, got {on_bad!r}")
        self._budget = 0.0 if on_bad == "fail" else budget
        self._on_warning = on_warning
        self._where = f" of {folder}" if folder else ""
        self._found: dict[int, BadSample] = {}
        self._num_drawn = 0

    @property
    def found(self) -> tuple[BadSample, ...]:
        """The distinct bad samples so far, in the order they were met."""
        return tuple(self._found.values())

    @property
    def num_drawn(self) -> int:
        """Samples drawn so far, the good and the bad."""
        return self._num_drawn

    @property
    def num_allowed(self) -> int:
        """Distinct bad samples the budget allows after `num_drawn` samples."""
        if self._budget == 0:
            return 0
        allowed = int(self._budget * self._num_drawn)
        if self._num_drawn <= PROBATION_SAMPLES:
            allowed = max(allowed, int(PROBATION_SHARE * self._num_drawn) + 1)
        return max(1, allowed)

    def count(self, bad: Iterable[BadSample], num_drawn: int) -> None:
        """Count one batch; warns once for each new bad sample, raises DataError over the budget."""
        self._num_drawn += num_drawn
        for sample in bad:
            if sample.id not in self._found:
                self._found[sample.id] = sample
                self._on_warning(sample)
        if len(self._found) > self.num_allowed:
            raise DataError(self._over_budget())

    def _over_budget(self) -> str:
        return (
            f"at most {self.num_allowed} of {counted(self._num_drawn, 'sample')}{self._where} may "
            f"be bad (data.bad_budget {self._budget:g}), got {len(self._found)}: {self._names()}; "
            "check the data with python -m tools.check_shards, or raise data.bad_budget"
        )

    def no_substitute(self) -> str:
        """The message when the substitutes of a bad sample were bad too."""
        return (
            f"a bad sample is replaced by a good one, got only bad ones{self._where}: "
            f"{self._names()}; check the data with python -m tools.check_shards"
        )

    def _names(self) -> str:
        more = len(self._found) - NAMES_IN_MESSAGE
        names = "; ".join(str(sample) for sample in self.found[-NAMES_IN_MESSAGE:])
        return f"{names}{f'; and {more} earlier' if more > 0 else ''}"


def too_large(height: int, width: int) -> str | None:
    """Why an image of this size must never reach a decoder, or None when it may."""
    if height * width <= MAX_IMAGE_PIXELS:
        return None
    return f"an image has at most {MAX_IMAGE_PIXELS:,} pixels, got {height}x{width}"
