"""Terms beside their bases: a method as it is fitted, and the same with one term more."""

from functools import partial

from benchmarks.ablations.ablation import MUON, Ablation, Cell, Claim, loses

WITHOUT = "without"


def _beside(
    name: str,
    series: str,
    base: tuple[str, ...],  # words of both cells
    term: tuple[str, ...],  # words of the one with the term
    *,
    question: str,
    source: str,
    finding: str,
    unlike: str,
) -> Ablation:
    cells = (
        Cell(series=series, at=WITHOUT, words=base),
        Cell(series=series, at=name.removeprefix("term-"), words=(*base, *term)),
    )
    claim = Claim(
        f"{series} is better with it than without",
        lambda scores: loses(scores, cells[1].label, cells[0].label),
    )
    return Ablation(
        name=name,
        question=question,
        source=source,
        finding=finding,
        unlike=unlike,
        across="the term",
        cells=cells,
        claims=(claim,),
    )


def _base(method: str) -> tuple[str, ...]:
    return ("--method", method, "--views", "2", "--batch-size", "64", MUON)


AUGSELF = _beside(
    "term-augself",
    "SimSiam",
    _base("simsiam"),
    ("--terms", "augself"),
    question="Does telling two views' changes apart help the features?",
    source="Lee et al. 2021, 2111.09613",
    finding=(
        "Features transfer better to labels of colour and place; STL-10 and ImageNet-100, crops "
        "and colours told with weights of 1.0 and 0.5."
    ),
    unlike="The score is of the set that was trained on; the paper's claim is of transfer.",
)

HSIC = _beside(
    "term-hsic",
    "SimCLR",
    _base("simclr"),
    ("method.terms=[{name: hsic, weight: 0.5}]",),
    question="Does a measure of dependence beside SimCLR help?",
    source="Li et al. 2021, 2106.08320",
    finding="A method of its own in the paper: about 74.8 % on ImageNet, linear.",
    unlike="Ours: the paper has no other loss beside it.",
)

COMPRESS = _beside(
    "term-compress",
    "SimCLR",
    _base("simclr"),
    ("method.terms=[{name: compress, weight: 0.5, kappa_e: 256, kappa_b: 5, warmup_epochs: 3}]",),
    question="Does compressing projections help SimCLR?",
    source="Lee et al. 2021, 2109.12909, the README of its code",
    finding="ImageNet, ResNet-50, 1,000 epochs, linear: SimCLR 70.8, C-SimCLR 71.7 %.",
    unlike="Weight and concentrations are the demo recipe's; at the paper's a small set collapses.",
)

COMPRESS_PREDICTOR = _beside(
    "term-compress-predictor",
    "BYOL",
    _base("byol"),
    (
        "method.terms=[{name: compress_predictor, weight: 0.2, kappa_e: 4096, kappa_b: 10, "
        "hidden_dim: 256}]",
    ),
    question="Does compressing predictions help BYOL?",
    source="Lee et al. 2021, 2109.12909, the README of its code",
    finding="ImageNet, ResNet-50, 1,000 epochs, linear: BYOL 74.3, C-BYOL 75.8 %.",
    unlike="Weight and concentrations are the demo recipe's, and were not searched.",
)

MOCHI = _beside(
    "term-mochi",
    "MoCo v2",
    _base("mocov2"),
    ("method.terms=[{name: mochi, hardest: 32, pairs: 32, with_query: 8, start_epoch: 1}]",),
    question="Do mixed hard negatives help MoCo v2?",
    source="Kalantidis et al. 2020, 2010.01028, as SynCo reports it (2410.02401, abstract)",
    finding="ImageNet, ResNet-50, 200 epochs, linear: MoCo v2 67.5, MoCHi 66.9 %.",
    unlike="40 mixtures beside a queue of 500 rows, from the second epoch on.",
)

DSSL = _beside(
    "term-dssl",
    "SimSiam",
    _base("simsiam"),
    (
        "method.terms=[{name: dssl, weight: 1.0, reverse: 0.1}]",
        "policy.heavy={randaugment: {num_ops: 2, magnitude: 9, prob: 1.0}}",
    ),
    question="Do heavily augmented views help that only follow their sources?",
    source="Bai et al. 2022, the README of its code",
    finding="CIFAR-10, ResNet-18, 800 epochs, linear: SimSiam 92.1, with DSSL 94.5 %.",
    unlike="A step with the term sees twice as many views.",
)

_of_msbreg = partial(
    _beside,
    series="BYOL",
    base=_base("byol"),
    source="Moon et al. 2022, 2207.03552",
    finding="One of a method's 3 terms; what it alone brings could not be read.",
)
MSBREG = (
    _of_msbreg(
        "term-centroid",
        term=("--terms", "centroid"),
        question="Does it help BYOL to bring the views' centroids together?",
        unlike="The form and the weight are ours. With two views a centroid is of two.",
    ),
    _of_msbreg(
        "term-singular",
        term=("method.terms=[{name: singular, weight: 0.1}]",),
        question="Does a flat spectrum of projections help BYOL?",
        unlike="The form and the weight are ours.",
    ),
    _of_msbreg(
        "term-brownian",
        term=("method.terms=[{name: brownian, weight: 0.1}]",),
        question="Do random steps of projections help BYOL?",
        unlike="The form is ours.",
    ),
)

ALL = (AUGSELF, HSIC, COMPRESS, COMPRESS_PREDICTOR, MOCHI, DSSL, *MSBREG)
