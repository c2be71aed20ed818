"""What both sides of a pair share, written once: a row of PAIRS a method.

`our_recipe.py` makes a recipe of a row, `peer_methods.py` and `peer_views.py` make lightly's
modules of it. Both environments import this file, so it needs neither torch nor anything of ours.

Optimizer, rates and decay are those of lightly's CIFAR-10 benchmark (SGD, 0.06 x batch / 128, decay
5e-4; lightly-ai/lightly 0351a52, cifar10_benchmark.py), SimSiam's the paper's (2011.10566, appendix
D), VICReg's a quarter of the others': at half of them both sides diverge within ten steps with two
of three seeds. Heads are narrower than published, for a narrow encoder. Views are the papers'
without blur, as usual on 32 px; SwAV's and SimCLR's with colour of half strength. No value was
chosen by a score.
"""

from dataclasses import dataclass, field, replace

BATCH = 250  # divides 10,000 and 50,000: an epoch is whole steps on both sides
SGD_MOMENTUM = 0.9
DEPTH, WIDTH, STEM = 10, 0.25, "small"  # of the ResNet; 128 features
FEATURES = 128
SIZE_PX, LOCAL_PX = 32, 16
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
K, TEMPERATURE = 20, 0.07  # of the neighbours that both are scored by


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One view's chances and strengths; blurred never, flipped half of the time."""

    scale: tuple[float, float] = (0.2, 1.0)
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    jitter: float = 0.8
    gray: float = 0.2
    solarize: float = 0.0
    flip: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One method; a number that a method has no use for is None."""

    lr: float  # peak, at BATCH; a cosine leads to 0, without a warm-up
    weight_decay: float = 5e-4  # of every parameter
    views: tuple[View, View] = (View(), View())
    local: View | None = None  # of the small views
    num_local: int = 0
    hidden_dim: int = FEATURES  # of the projector
    out_dim: int = 128
    predictor_dim: int | None = None
    temperature: float | None = None
    teacher_temperature: float | None = None
    momentum: float | None = None  # of the slow network, at step 0
    ramp: bool = False  # a cosine takes it to 1
    queue_length: int | None = None
    num_prototypes: int | None = None
    freeze_epochs: float | None = None  # of the prototypes
    weights: tuple[tuple[str, float], ...] = field(default=())  # of a loss's terms


def _sgd(base: float) -> float:
    """The peak of a rate that is given for 256 images."""
    return base * BATCH / 256


_LIGHTLY = _sgd(0.12)
_CROPPED = View(scale=(0.08, 1.0))
_BYOL = View(scale=(0.08, 1.0), saturation=0.2)
_BYOL_VIEWS = (_BYOL, replace(_BYOL, solarize=0.2))
_VICREG = View(solarize=0.1)
_SWAV = View(scale=(0.14, 1.0))

PAIRS: dict[str, Pair] = {
    "simclr": Pair(lr=_LIGHTLY, views=(_CROPPED, _CROPPED), temperature=0.5),
    "byol": Pair(
        lr=_LIGHTLY, views=_BYOL_VIEWS, hidden_dim=1024, out_dim=256, predictor_dim=1024,
        momentum=0.99, ramp=True,
    ),
    "simsiam": Pair(lr=_sgd(0.03), hidden_dim=512, out_dim=512, predictor_dim=128),
    "swav": Pair(
        lr=_LIGHTLY, views=(_SWAV, _SWAV),
        local=View(scale=(0.05, 0.14)), num_local=6, hidden_dim=512, temperature=0.1,
        num_prototypes=256, freeze_epochs=1,
    ),
    "mocov2": Pair(lr=_LIGHTLY, temperature=0.2, momentum=0.99, queue_length=4000),
    "barlow": Pair(
        lr=_LIGHTLY, views=_BYOL_VIEWS, hidden_dim=1024, out_dim=1024,
        weights=(("off_diagonal", 0.005),),
    ),
    "vicreg": Pair(
        lr=_sgd(0.03), views=(_VICREG, _VICREG), hidden_dim=1024, out_dim=1024,
        weights=(("invariance", 25.0), ("variance", 25.0), ("covariance", 1.0)),
    ),
    "dino": Pair(
        lr=_LIGHTLY, views=_BYOL_VIEWS, hidden_dim=1024, out_dim=256, num_prototypes=1024,
        temperature=0.1, teacher_temperature=0.04, momentum=0.99, ramp=True, freeze_epochs=1,
    ),
    "nnclr": Pair(
        lr=_LIGHTLY, views=(_CROPPED, _CROPPED), hidden_dim=1024, out_dim=256, predictor_dim=1024,
        temperature=0.5, queue_length=4000,
    ),
}  # fmt: skip

# Where the sides cannot be made the same; docs/evaluation.md shows these sentences.
DIFFERENT: dict[str, str] = {
    "simclr": "ours normalises both views' batch together and starts the projector at std 0.01, as "
    "the official code does (from torch's start seed 1 ends at 39.8 kNN, 43.7 linear)",
    "byol": "ours has no bias after the last layers",
    "simsiam": "none is known",
    "swav": "ours normalises all views of a size together; their prototypes have a bias",
    "mocov2": "none is known",
    "barlow": "ours has no bias after the last layer",
    "vicreg": "ours has no bias after the last layer",
    "dino": "ours normalises all views of a size together",
    "nnclr": "another loss: theirs has neighbours and predictions as candidates, ours predictions",
}
