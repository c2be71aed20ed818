"""BYOL's two figures: fewer images in a batch, and fewer changes to a view.

Grill et al. 2020, 2006.07733. As there, SimCLR sees BYOL's views too.
"""

from benchmarks.ablations.ablation import Ablation, Cell, Claim, Scores, loses

METHODS = {"BYOL": "byol", "SimCLR": "simclr"}
BATCHES = (256, 128, 64, 32, 16)
# As published, for the methods' fitted recipes: 32 px, and a batch of 64. By SGD, whose rate
# follows the batch, as LARS's does in the paper; Muon's does not.
_VIEWS = ("--policy", "byol", "--views", "2", "--sizes", "32", "optim.name=sgd")
_BUT_BLUR = ("policy.flip=0", "policy.jitter=0", "policy.gray=0", "policy.solarize=0")
_GONE = {
    "all": (),
    "no gray": ("policy.gray=0",),
    "no blur": ("policy.blur=0",),
    "no colour": ("policy.jitter=0", "policy.gray=0"),
    "crop + blur": _BUT_BLUR,
    "crop": (*_BUT_BLUR, "policy.blur=0"),
}


def _more_robust(whole: str, part: str, text: str) -> Claim:
    """BYOL loses less than SimCLR from one place of its line to another."""

    def margin(scores: Scores) -> float:
        simclr, byol = (
            loses(scores, f"{name}, {whole}", f"{name}, {part}") for name in ("SimCLR", "BYOL")
        )
        return simclr - byol

    return Claim(f"{text} BYOL loses less than SimCLR", margin)


BATCH = Ablation(
    name="byol-batch",
    question="Does BYOL need large batches less than SimCLR does?",
    source="Grill et al. 2020, 2006.07733, figure 3a and table 16",
    finding=(
        "ImageNet, ResNet-50, 300 epochs, linear: from batch 4,096 to 256 BYOL goes from 72.5 to "
        "71.8 %, SimCLR from 67.9 to 64.3 %; at 64 they have 59.7 and 59.2 %, BYOL for its "
        "encoder's batch norms."
    ),
    unlike=(
        "The paper accumulates gradients, so that every batch has the same steps and rate; here "
        "an epoch has more steps the smaller the batch is, with a rate in proportion to it, and "
        "BYOL's target forgets within a tenth of the run."
    ),
    across="images in a batch",
    cells=tuple(
        Cell(
            series=series,
            at=str(batch),
            words=("--method", method, *_VIEWS, "--batch-size", str(batch)),
        )
        for series, method in METHODS.items()
        for batch in BATCHES
    ),
    claims=(_more_robust("256", "16", "at a sixteenth of the largest batch"),),
)

VIEWS = Ablation(
    name="byol-views",
    question="Does BYOL need colour and other changes of a view less than SimCLR does?",
    source="Grill et al. 2020, 2006.07733, figure 3b and table 17",
    finding=(
        "ImageNet, ResNet-50, 300 epochs, linear, points lost: without gray BYOL 2.2, SimCLR 6.0; "
        "without blur 1.3 and 2.7; without any colour 9.1 and 22.2; with crop and blur alone 11.4 "
        "and 26.2; with crops alone 13.1 and 27.6."
    ),
    unlike="A blur has the published tenth of a side, 3 taps at 32 px, which changes little.",
    across="what is left of the changes",
    cells=tuple(
        Cell(
            series=series,
            at=at,
            words=("--method", method, *_VIEWS, "--batch-size", "64", *gone),
        )
        for series, method in METHODS.items()
        for at, gone in _GONE.items()
    ),
    claims=(
        _more_robust("all", "no colour", "without colour"),
        _more_robust("all", "crop", "with crops alone"),
    ),
)
