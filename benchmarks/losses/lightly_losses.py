"""Do we and lightly compute the same loss from the same weights and the same batch?

    PYTHONPATH=. PEERS/bin/python -m benchmarks.losses.lightly_losses [--out FILE]

Runs in the peers' environment (make bench-peers builds it), where both can be imported. The
backbone is the identity on random features; projector and predictor of lightly get our weights, and
its loss is taken as its own examples take it. Where a paper's convention differs, `convention` says
how, and the error is taken after converting; without a formula between the two there is none.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import torch
from lightly import loss as theirs
from lightly.models.modules import NNMemoryBankModule, heads
from torch import nn

from augengine.views import Views
from shards.atomic import write_whole
from shards.errors import DataError, run_command
from shards.terminal.commandline import CommandParser
from trainer.methods.method_table import create_method
from trainer.methods.protocol import Method, Progress
from trainer.record.conditions import conditions

OUT = Path(__file__).parents[1] / "results" / "lightly_losses.json"
BATCH, DIM, HIDDEN, DIM_OUT, QUEUE, PROTOTYPES = 24, 16, 32, 12, 40, 9
TOLERANCE = 1e-5
SAME = "the same"


@dataclass(frozen=True, slots=True)
class Row:
    """One method: two losses, ours in lightly's convention, and their relative difference."""

    method: str
    ours: float
    lightly: float
    converted: float | None  # ours in their convention; None where there is no formula
    error: float | None
    convention: str


class Identity(nn.Module):
    """Features are the crops themselves."""

    feature_dim = DIM

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, D, 1, 1] -> [N, D]."""
        return x.flatten(1)


@dataclass(frozen=True, slots=True)
class Features:
    """What a method reads of Views here."""

    crops: tuple[torch.Tensor, ...]  # one group [2, B, D, 1, 1]


def main(argv: list[str] | None = None) -> int:
    """Compare all methods; returns the exit code: 1 when a loss differs unexplained."""
    parser = CommandParser("python -m benchmarks.losses.lightly_losses", __doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="default: %(default)s")
    return run_command(lambda: _compare(parser.parse_args(argv).out))


def _compare(out: Path) -> int:
    torch.set_default_dtype(torch.float64)
    rows = [case() for case in CASES]
    versions = {name: metadata.version(name) for name in ("lightly", "torch")}
    found = {
        "conditions": conditions(),
        "versions": versions,
        "batch_size": BATCH,
        "rows": [asdict(row) for row in rows],
    }
    for row in rows:
        error = "not comparable" if row.error is None else f"error {row.error:.1e}"
        print(f"{row.method:8} ours {row.ours:.8f}  lightly {row.lightly:.8f}  {error}")
    write_whole(out, json.dumps(found, indent=2) + "\n")
    bad = [row.method for row in rows if row.error is not None and not row.error < TOLERANCE]
    if bad:
        raise DataError(f"losses agree to {TOLERANCE:g} after converting, got more: {bad}")
    return 0


def byol() -> Row:
    """Two directions of negative cosine; ours is the paper's squared distance."""
    method, h, ours = _ours("byol", hidden_dim=HIDDEN, out_dim=DIM_OUT)
    projector = _copy(heads.BYOLProjectionHead(DIM, HIDDEN, DIM_OUT), method.projector)
    predictor = _copy(heads.BYOLPredictionHead(DIM_OUT, HIDDEN, DIM_OUT), method.predictor)
    z = [projector(x) for x in h]
    p = [predictor(x) for x in z]
    loss = _cosine(p, z)
    why = "ours = 4 + 4 x theirs: the paper's sum of two squared distances of unit vectors"
    return _row("byol", ours, loss, (ours - 4) / 4, why)


def simsiam() -> Row:
    """Mean of two directions of negative cosine."""
    method, h, ours = _ours("simsiam", out_dim=HIDDEN, predictor_dim=DIM_OUT)
    projector = _copy(heads.SimSiamProjectionHead(DIM, HIDDEN, HIDDEN), method.projector)
    predictor = _copy(heads.SimSiamPredictionHead(HIDDEN, DIM_OUT, HIDDEN), method.predictor)
    z = [projector(x) for x in h]
    return _row("simsiam", ours, _cosine([predictor(x) for x in z], z))


def barlow() -> Row:
    """Sums over the cross-correlation's entries."""
    settings = {"hidden_dim": HIDDEN, "out_dim": DIM_OUT, "off_diagonal": 0.0051}
    method, h, ours = _ours("barlow", **settings)
    projector = _copy(heads.BarlowTwinsProjectionHead(DIM, HIDDEN, DIM_OUT), method.projector)
    loss = theirs.BarlowTwinsLoss(lambda_param=0.0051)(*[projector(x) for x in h])
    return _row("barlow", ours, loss, why=f"{SAME}; their default lambda is 0.005, ours 0.0051")


def vicreg() -> Row:
    """Three terms weighted 25, 25, 1."""
    method, h, ours = _ours("vicreg", hidden_dim=HIDDEN, out_dim=DIM_OUT)
    expander = _copy(heads.VICRegProjectionHead(DIM, HIDDEN, DIM_OUT), method.expander)
    why = f"{SAME}: the code's half of the paper's variance term"
    return _row("vicreg", ours, theirs.VICRegLoss()(*[expander(x) for x in h]), why=why)


def simclr() -> Row:
    """NT-Xent of 2 B unit vectors."""
    method, h, ours = _ours("simclr", out_dim=DIM_OUT, temperature=0.1)
    projector = _copy(heads.SimCLRProjectionHead(DIM, DIM, DIM_OUT), method.projector)
    loss = theirs.NTXentLoss(temperature=0.1)(*projector(torch.cat(h)).chunk(2))
    why = f"{SAME}; their example normalises each view apart, ours both together as the TF2 code"
    return _row("simclr", ours, loss, why=why)


def mocov2() -> Row:
    """A query against its key and the queue."""
    settings = {"out_dim": DIM_OUT, "queue_length": QUEUE, "groups": 1, "shuffle": False}
    method, h, ours, queue = _ours_with_queue("mocov2", settings)
    projector = _copy(heads.MoCoProjectionHead(DIM, DIM, DIM_OUT), method.projector)
    loss = theirs.NTXentLoss(temperature=0.2, memory_bank_size=(QUEUE, DIM_OUT))
    loss.memory_bank.bank = queue
    why = f"{SAME}: one-sided; without shuffling, which lightly leaves to the user"
    return _row("mocov2", ours, loss(projector(h[0]), projector(h[1]).detach()), why=why)


def nnclr() -> Row:
    """Neighbours against predictions."""
    settings = {"hidden_dim": HIDDEN, "out_dim": DIM_OUT, "predictor_dim": HIDDEN}
    method, h, ours, queue = _ours_with_queue("nnclr", settings | {"queue_length": QUEUE})
    projector = _copy(heads.NNCLRProjectionHead(DIM, HIDDEN, DIM_OUT), method.projector)
    predictor = _copy(heads.NNCLRPredictionHead(DIM_OUT, HIDDEN, DIM_OUT), method.predictor)
    bank = NNMemoryBankModule(size=(QUEUE, DIM_OUT))
    bank.bank = queue
    z = [projector(x) for x in h]
    p = [predictor(x) for x in z]
    near = [bank(x.detach(), update=False) for x in z]
    criterion = theirs.NTXentLoss(temperature=0.1)
    loss = (criterion(near[0], p[1]) + criterion(near[1], p[0])) / 2
    why = (
        "differs: theirs is NT-Xent over neighbours and predictions together (2B - 1 candidates, "
        "both ways); ours is the paper's, a neighbour among the B predictions"
    )
    return Row("nnclr", ours, loss.item(), None, None, why)


def swav() -> Row:
    """Swapped prediction of Sinkhorn codes."""
    settings = {"num_prototypes": PROTOTYPES, "hidden_dim": HIDDEN, "out_dim": DIM_OUT}
    method, h, ours = _ours("swav", **settings)
    projector = _copy(heads.SwaVProjectionHead(DIM, HIDDEN, DIM_OUT), method.projector)
    prototypes = heads.SwaVPrototypes(DIM_OUT, PROTOTYPES)
    _copy(prototypes, method.prototypes)
    prototypes.normalize()
    z = nn.functional.normalize(projector(torch.cat(h)), dim=1)
    loss = theirs.SwaVLoss()(list(prototypes(z).chunk(2)), [])
    why = f"{SAME}; their prototypes have a bias, set to 0 here"
    return _row("swav", ours, loss, why=why)


def dino() -> Row:
    """Cross-entropy of a sharpened teacher."""
    settings = {"hidden_dim": HIDDEN, "out_dim": DIM_OUT, "num_prototypes": PROTOTYPES}
    temperatures = {"warmup_temperature": 0.04, "teacher_temperature": 0.04}
    method, h, ours = _ours("dino", **settings, **temperatures)
    head = heads.DINOProjectionHead(DIM, HIDDEN, DIM_OUT, PROTOTYPES)
    _copy(head.layers, method.projector)
    with torch.no_grad():
        head.last_layer.weight_v.copy_(method.prototypes.weight)
    scores = [head(x) for x in h]
    criterion = theirs.DINOLoss(output_dim=PROTOTYPES, teacher_temp=0.04)
    return _row("dino", ours, criterion([s.detach() for s in scores], scores, epoch=None))


CASES: tuple[Callable[[], Row], ...] = (
    barlow,
    byol,
    dino,
    mocov2,
    nnclr,
    simclr,
    simsiam,
    swav,
    vicreg,
)


def _ours(name: str, **settings: object) -> tuple[Method, list[torch.Tensor], float]:
    method, h, ours, _ = _ours_with_queue(name, settings)
    return method, h, ours


def _ours_with_queue(
    name: str, settings: dict[str, object]
) -> tuple[Method, list[torch.Tensor], float, torch.Tensor]:
    """A method in float64, the features of two views, its loss, and its queue before the step."""
    torch.manual_seed(0)
    method = create_method(name, Identity(), settings).double()
    h = list(torch.randn(2, BATCH, DIM))
    queue = method.queue.rows.clone() if name in ("mocov2", "nnclr") else torch.zeros(0)
    crops = torch.stack(h)[..., None, None]
    result = method.step(_as_views(Features((crops,))), Progress(0, 100, 10))
    return method, h, result.loss.item(), queue


def _as_views(features: Features) -> Views:
    """A method reads crops only; a plan for no images would say nothing."""
    return features  # type: ignore[return-value]


@torch.no_grad()
def _copy(head: nn.Module, ours: nn.Module) -> nn.Module:
    """Their head with our weights; a bias that only they have is 0."""
    kinds = (nn.Linear, nn.modules.batchnorm._BatchNorm)
    pairs = zip(
        [layer for layer in head.modules() if isinstance(layer, kinds)],
        [layer for layer in ours.modules() if isinstance(layer, kinds)],
        strict=True,
    )
    for to, from_ in pairs:
        for name in ("weight", "bias"):
            target, source = getattr(to, name), getattr(from_, name)
            if target is not None:
                neutral = torch.zeros_like(target) if name == "bias" else None
                target.copy_(source if source is not None else neutral)
    return head


def _cosine(p: list[torch.Tensor], z: list[torch.Tensor]) -> torch.Tensor:
    criterion = theirs.NegativeCosineSimilarity()
    return (criterion(p[0], z[1].detach()) + criterion(p[1], z[0].detach())) / 2


def _row(
    name: str,
    ours: float,
    loss: torch.Tensor,
    converted: float | None = None,
    why: str = SAME,
) -> Row:
    converted = ours if converted is None else converted
    value = loss.item()
    return Row(name, ours, value, converted, abs(converted - value) / abs(value), why)


if __name__ == "__main__":
    sys.exit(main())
