"""SwAV's prototypes, and its small crops.

Caron et al. 2020, 2006.09882; github.com/facebookresearch/swav.
"""

from benchmarks.ablations.ablation import CHANCE, MUON, Ablation, Cell, Claim, loses, spread

NUMBERS = (24, 48, 192, 768)
ENOUGH = NUMBERS[1:]  # three quarters of a batch, as 3,000 of 4,096, and more
VIEWS = ("2", "2+2", "2+4", "2+6")
_WORDS = ("--method", "swav", "--batch-size", "64", MUON)
# Of both groups, whether there are local crops or not: the fitted recipe's beside local ones.
_CROPS = "policy.groups=[{scale: [0.3, 1.0]}, {scale: [0.1, 0.3]}]"

PROTOTYPES = Ablation(
    name="swav-prototypes",
    question="Does the number of prototypes matter?",
    source="Caron et al. 2020, 2006.09882, table 12",
    finding=(
        "ImageNet, ResNet-50, 400 epochs, linear: from 3,000 to 100,000 prototypes at a batch of "
        "4,096 scores differ by at most 0.3 points: how many matters little, if there are enough."
    ),
    unlike="Prototypes are fixed, as the fitted recipe has them, and embeddings have 16 features.",
    across="prototypes",
    cells=tuple(
        Cell(
            series="SwAV",
            at=str(number),
            words=(*_WORDS, "--views", "2", f"method.num_prototypes={number}"),
        )
        for number in NUMBERS
    ),
    claims=(
        Claim(
            f"from {ENOUGH[0]} prototypes on scores differ by less than {2 * CHANCE:g} points",
            lambda scores: 2 * CHANCE - spread(scores, *(f"SwAV, {n}" for n in ENOUGH)),
        ),
    ),
)

CROPS = Ablation(
    name="swav-crops",
    question="Do small crops help, at the same number of epochs?",
    source="Caron et al. 2020, 2006.09882, figure 3 and section 5.2; the code's table of models",
    finding=(
        "ImageNet, ResNet-50, linear: small crops beside two large ones give every method "
        "without labels 2 to 4 points; SwAV after 400 epochs 70.1 % with 2x224, 74.6 % with "
        "2x224+6x96."
    ),
    unlike="Local crops have 16 px, half the global ones' side.",
    across="global + local crops",
    cells=tuple(
        Cell(series="SwAV", at=views, words=(*_WORDS, "--views", views, _CROPS)) for views in VIEWS
    ),
    claims=(
        Claim(
            f"{VIEWS[-1]} crops are better than {VIEWS[0]}",
            lambda scores: loses(scores, f"SwAV, {VIEWS[-1]}", f"SwAV, {VIEWS[0]}"),
        ),
    ),
)
