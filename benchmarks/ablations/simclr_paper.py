"""SimCLR's temperature, and what stands between its features and its loss.

Chen et al. 2020, 2002.05709.
"""

from benchmarks.ablations.ablation import MUON, Ablation, Cell, Claim, Scores, loses

TEMPERATURES = (0.05, 0.1, 0.2, 0.5, 1.0)
PROJECTORS = {"none": 0, "linear": 1, "MLP": 2}


def _cell(at: str, temperature: float, layers: int) -> Cell:
    keys = (f"method.temperature={temperature:g}", f"method.projector_layers={layers}")
    words = ("--method", "simclr", "--views", "2", "--batch-size", "64", MUON, *keys)
    return Cell(series="SimCLR", at=at, words=words)


def _has_a_peak(scores: Scores) -> float:
    """How far the best temperature between the ends is above the better end."""
    low, *between, high = (scores[f"SimCLR, {temperature:g}"] for temperature in TEMPERATURES)
    return max(between) - max(low, high)


def _mlp_wins(over: str, points: str) -> Claim:
    text = f"MLP is better than {over} ({points} in the paper)"
    return Claim(text, lambda scores: loses(scores, "SimCLR, MLP", f"SimCLR, {over}"))


TEMPERATURE = Ablation(
    name="simclr-temperature",
    question="Is there a best temperature, neither low nor high?",
    source="Chen et al. 2020, 2002.05709, table 5",
    finding=(
        "ImageNet, ResNet-50, batch 4,096, linear: 59.7 % at 0.05, 64.4 % at 0.1, 60.7 % at 0.5, "
        "58.0 % at 1."
    ),
    unlike="A query has 127 candidates, not 8,191; the best temperature may be another.",
    across="temperature",
    cells=tuple(_cell(f"{t:g}", t, PROJECTORS["MLP"]) for t in TEMPERATURES),
    claims=(Claim("a temperature between is better than both ends", _has_a_peak),),
)

PROJECTOR = Ablation(
    name="simclr-projector",
    question="Does a projector help the features before it, and does it have to be an MLP?",
    source="Chen et al. 2020, 2002.05709, figure 8 and section 4.2",
    finding=(
        "ImageNet, ResNet-50, linear: with an MLP of one hidden layer 3 points better than with a "
        "linear projector, and more than 10 better than with none, whatever the width."
    ),
    unlike="A projector gives 64 of the encoder's 128 features, the paper's 128 of 2,048.",
    across="projector",
    cells=tuple(_cell(at, 0.2, layers) for at, layers in PROJECTORS.items()),
    claims=(_mlp_wins("none", "more than 10 points"), _mlp_wins("linear", "3 points")),
)
