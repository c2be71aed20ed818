"""SimSiam without its stop-gradient, and without its predictor.

Chen and He 2020, 2011.10566.
"""

from benchmarks.ablations.ablation import MUON, Ablation, Cell, Claim, Scores, keeps_half

_WORDS = ("--method", "simsiam", "--views", "2", "--batch-size", "64", MUON)
_WHOLE = "SimSiam, whole"


def _collapses(part: str) -> Claim:
    def margin(scores: Scores) -> float:
        return -keeps_half(scores, _WHOLE, f"SimSiam, no {part}")

    text = f"without its {part} less than half of the gain over an untrained encoder is left"
    return Claim(text, margin)


PARTS = Ablation(
    name="simsiam",
    question="Does SimSiam collapse without its stop-gradient, or without its predictor?",
    source="Chen and He 2020, 2011.10566, figure 2 and table 1",
    finding=(
        "ImageNet, ResNet-50, 100 epochs, linear: 67.7 %; without the stop-gradient 0.1 %, which "
        "is chance, with the loss at its least, -1, and all outputs alike; without the predictor "
        "0.1 %."
    ),
    unlike="The predictor's rate stays at its peak, as in the authors' code (68.1 % there).",
    across="what is missing",
    cells=(
        Cell(series="SimSiam", at="whole", words=_WORDS),
        Cell(
            series="SimSiam",
            at="no stop-gradient",
            words=(*_WORDS, "method.stop_gradient=false"),
        ),
        Cell(series="SimSiam", at="no predictor", words=(*_WORDS, "method.predictor=false")),
    ),
    claims=(_collapses("stop-gradient"), _collapses("predictor")),
)
