"""MoCo's queue, from one batch to four of ten images of the set.

He et al. 2019, 1911.05722.
"""

from benchmarks.ablations.ablation import MUON, Ablation, Cell, Claim, loses

LENGTHS = (64, 256, 1024, 4096)
_WORDS = ("--method", "mocov1", "--views", "2", "--batch-size", "64", MUON)

QUEUE = Ablation(
    name="moco-queue",
    question="Is a longer queue better?",
    source="He et al. 2019, 1911.05722, figure 3, and the momentum's table in section 4.1",
    finding=(
        "ImageNet, ResNet-50, 200 epochs, linear: more keys are better throughout; 59.0 % with "
        "4,096, 60.6 % with 65,536, which are one of twenty of its images."
    ),
    unlike="The longest queue here is 4 of 10 images; temperature 0.2, as the fitted recipe has.",
    across="keys in the queue",
    cells=tuple(
        Cell(
            series="MoCo v1",
            at=str(length),
            words=(*_WORDS, f"method.queue_length={length}"),
        )
        for length in LENGTHS
    ),
    claims=(
        Claim(
            f"{LENGTHS[-1]} keys are better than {LENGTHS[0]}",
            lambda scores: loses(scores, f"MoCo v1, {LENGTHS[-1]}", f"MoCo v1, {LENGTHS[0]}"),
        ),
    ),
)
