"""The scale of a run, which a method's settings follow, and the form of a rule.

method_rules.py has a rule for every method, fit_rule.py asks for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PUBLISHED_FEATURES = 2048  # of the ResNet-50 that published heads stand on


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The facts that a method's own settings follow."""

    batch: int
    features: int  # of the encoder
    steps: int  # of the whole run
    images: int

    def head(self, published: int, least: int) -> int:
        """A width that keeps its published share of the features, but for a least one."""
        return min(published, max(least, published * self.features // PUBLISHED_FEATURES))

    def momentum(self, published: float) -> float:
        """Of a network that forgets within a tenth of a short run; in a long one as published."""
        return round(min(published, max(0.9, 1 - 10 / self.steps)), 4)

    def prototypes(self) -> int:
        """Three quarters of a batch, as SwAV's 3,000 of 4,096: a batch fills them evenly."""
        return max(2, min(3000, 3 * self.batch // 4))

    def queue(self, published: int, share: float) -> int:
        """Whole batches, at least four, unless that is more than half the images."""
        most = max(1, self.images // (2 * self.batch))
        wanted = min(published, int(share * self.images)) // self.batch
        return self.batch * min(most, max(4, wanted))


Settings = dict[str, tuple[Any, str]]  # a method's keys: (value, why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One method's rule."""

    lr: float  # SGD's, for a batch of 256
    muon: bool = False  # whether matrices learn more by Muon, as measured (docs/recipes.md)
    settings: Callable[[Scale], Settings] = lambda scale: {}
    policy: str = "swav"
    views: str = "2+6"  # for SimCLR worth 2.7 points over "2" in equal time
    warmup: float = 0.05  # share of the run
    weight_decay: float = 1e-4
    decay_1d: bool = False


# Why a setting is as it is.
HEAD = "its published share of the features"
SHORT = "forgets within a tenth of the run"
FEW = "few images"
