"""The asymmetry of MoCo's and BYOL's networks: sixteen runs that differ in four switches alone.

Huang, Kong and Zhang 2022, 2208.00275. MoCo v2+ is `+n +p +m +s`, BYOL `-n +p +m +s`, SimSiam's way
`-n +p -m +s`. Negatives: a queue, or none. Predictor: on queries, or none. Momentum: to 1 on a
cosine, or 0, so that both sides are one network. Symmetric: both directions, or one; their sum is
twice a single one, so one direction has twice the rate.
"""

from dataclasses import asdict, dataclass
from itertools import product

from benchmarks.ablations.ablation import Ablation, Cell, Claim, Scores, keeps_half, loses

RATE = 0.2  # of both directions, for a batch of 256: BYOL's in its demo and its fitted recipe


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Switches:
    """One of the sixteen."""

    negatives: bool
    predictor: bool
    momentum: bool
    symmetric: bool

    def __str__(self) -> str:
        return " ".join(f"{'+' if on else '-'}{name[0]}" for name, on in asdict(self).items())

    def words(self) -> tuple[str, ...]:
        """The keys of `trainer.run` that are this one's own."""
        settings: dict[str, object] = {
            "hidden_dim": 256,
            "out_dim": 64,
            "predictor": self.predictor,
            "symmetric": self.symmetric,
            "momentum": 0.98 if self.momentum else 0.0,
            "ramp": self.momentum,
        }
        if self.negatives:
            settings |= {"head": "mlp_norm", "groups": 1, "shuffle": False, "enqueue": "one"}
            settings |= {"queue_length": 256, "temperature": 0.2}
        method = "mocov2" if self.negatives else "byol"
        keys = (f"method.{key}={str(value).lower()}" for key, value in settings.items())
        rate = RATE if self.symmetric else 2 * RATE
        # The fitted warm-ups are not alike.
        optim = ("optim.name=sgd", f"optim.base_lr={rate:g}", "optim.warmup_epochs=1")
        return ("--method", method, "--views", "2", *keys, *optim)

    @property
    def cell(self) -> Cell:
        """A line with negatives and one without."""
        series, at = str(self)[:2], str(self)[3:]
        return Cell(series=series, at=at, words=self.words())


ALL = [
    Switches(negatives=n, predictor=p, momentum=m, symmetric=s)
    for n, p, m, s in product((True, False), repeat=4)
]
MOCO, BYOL, NO_PREDICTOR = "+n, +p +m +s", "-n, +p +m +s", "+n, -p +m +s"


def _alike(scores: Scores) -> float:
    return 4.0 - abs(loses(scores, MOCO, BYOL))


SWITCHES = Ablation(
    name="asymmetry",
    question="What of the asymmetry of MoCo's and BYOL's networks matters?",
    source="Huang et al. 2022, 2208.00275, the README of its code",
    finding=(
        "ImageNet, ResNet-50, 200 epochs, linear: MoCo v2+ 72.4 %, BYOL 72.1 %, MoCo v2+ with two "
        "like networks 71.2 %, MoCo v2 67.2 %."
    ),
    unlike="Like networks have no predictor here; in the paper both have its layers.",
    across="predictor, momentum, symmetric; +n with a queue of negatives, -n without",
    cells=tuple(switches.cell for switches in ALL),
    claims=(
        Claim("MoCo v2+ and BYOL differ by less than 4 points", _alike),
        Claim(
            "MoCo v2+ is better than the same without a predictor",
            lambda scores: loses(scores, MOCO, NO_PREDICTOR),
        ),
        Claim(
            "without predictor and negatives less than half of BYOL's gain is left",
            lambda scores: -keeps_half(scores, BYOL, "-n, -p +m +s"),
        ),
    ),
)
