"""What benchmarks/losses/forms.py measures: each loss at the size where it matters, in every form.

A form is a function of the inputs that gives the loss: "eager" is the equation in plain torch,
"compiled" the same through torch.compile, "fused" ours, and the others are public forms that keep
no logits. Inputs come from a seed; the first has a gradient.

Legend: V views of which the first G are global, B images, D features, K prototypes, M queue rows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F

from trainer.losses.auto import Impl
from trainer.losses.barlow import barlow_loss
from trainer.losses.cosine import byol_loss, unit_rows
from trainer.losses.dino import teacher_codes
from trainer.losses.hsic import hsic_loss
from trainer.losses.info_nce import queue_info_nce
from trainer.losses.nt_xent import nt_xent_loss
from trainer.losses.sinkhorn import sinkhorn_codes
from trainer.losses.swapped import swapped_prediction
from trainer.losses.vicreg import vicreg_terms

Inputs = tuple[torch.Tensor, ...]
Form = Callable[..., torch.Tensor]
TEMPERATURE = 0.1


@dataclass(frozen=True, slots=True)
class Problem:
    """One loss at one size."""

    title: str
    shapes: tuple[tuple[int, ...], ...]  # of the inputs
    loss: Form  # (*inputs, impl=...)
    num_queues: int = 0  # the last so many inputs are queues: float32, unit rows
    spread: float = 1.0  # of the numbers
    # Public forms. They may differ from the loss in a way that their name says.
    others: dict[str, Form] = field(default_factory=dict)
    only_fused: bool = False  # the eager form needs more memory than there is
    most_memory: float | None = None  # wanted: the fused form's peak over the eager one's
    least_speed: float | None = None  # wanted on a GPU: times as fast as the compiled form

    def inputs(self, dtype: torch.dtype, device: torch.device) -> Inputs:
        """Normal numbers, always the same."""
        generator = torch.Generator().manual_seed(0)
        made = [self.spread * torch.randn(shape, generator=generator) for shape in self.shapes]
        first = len(made) - self.num_queues
        inputs = tuple(
            unit_rows(x).to(device) if i >= first else x.to(device, dtype)
            for i, x in enumerate(made)
        )
        inputs[0].requires_grad_()
        return inputs

    def forms(self) -> dict[str, Form]:
        """By name, in the order of the table."""
        fused = {"fused": partial(self.loss, impl="fused")}
        if self.only_fused:
            return fused
        eager = partial(self.loss, impl="torch")
        return {"eager": eager, "compiled": torch.compile(eager), **self.others, **fused}


def _byol(p: torch.Tensor, z: torch.Tensor, impl: Impl) -> torch.Tensor:
    return byol_loss(p, z, impl)


def _swav(scores: torch.Tensor, logits: torch.Tensor, impl: Impl) -> torch.Tensor:
    codes = sinkhorn_codes(logits, impl=impl)
    return swapped_prediction(scores, codes, TEMPERATURE, impl).loss


def _dino(
    scores: torch.Tensor, logits: torch.Tensor, center: torch.Tensor, impl: Impl
) -> torch.Tensor:
    codes = teacher_codes(logits, center.float(), 0.07, impl)
    return swapped_prediction(scores, codes, TEMPERATURE, impl).loss


def _moco(q: torch.Tensor, k: torch.Tensor, queue: torch.Tensor, impl: Impl) -> torch.Tensor:
    return queue_info_nce(q, k, queue, 0.07, impl=impl)


def _linear_cross_entropy(q: torch.Tensor, k: torch.Tensor, queue: torch.Tensor) -> torch.Tensor:
    """The other keys of the batch are candidates, too: this form has one table for all rows."""
    candidates = torch.cat([unit_rows(k[0]), queue]).to(q.dtype)
    own = torch.arange(q.shape[1], device=q.device)
    options = torch.nn.LinearCrossEntropyOptions()
    rows = (unit_rows(q[0]) / 0.07).to(q.dtype)
    return F.linear_cross_entropy(rows, candidates, own, options=options)


def _flex_moco(q: torch.Tensor, k: torch.Tensor, queue: torch.Tensor) -> torch.Tensor:
    u = unit_rows(q[0])
    lse = _flex_lse(u.to(q.dtype), queue.to(q.dtype), 0.07)
    return F.softplus(lse - (u * unit_rows(k[0])).sum(-1) / 0.07).mean()


def _flex_nt_xent(z: torch.Tensor) -> torch.Tensor:
    u = unit_rows(z).flatten(0, 1)
    rows = u.to(z.dtype)
    positives = (u * u.roll(z.shape[1], 0)).sum(-1) / TEMPERATURE
    return (_flex_lse(rows, rows, TEMPERATURE, _not_itself) - positives).mean()


def _not_itself(score: torch.Tensor, _b: Any, _h: Any, row: torch.Tensor, key: torch.Tensor) -> Any:
    return torch.where(row == key, -float("inf"), score)


def _flex_lse(
    q: torch.Tensor, k: torch.Tensor, temperature: float, score_mod: Any = None
) -> torch.Tensor:
    """Logsumexp of a row's scores by FlexAttention, which has no backward on a CPU."""
    from torch.nn.attention.flex_attention import flex_attention

    q, k = q[None, None], k[None, None]
    attend = torch.compile(flex_attention)
    # Of no use: the values must have some rows.
    _, lse = attend(q, k, k, score_mod=score_mod, scale=1 / temperature, return_lse=True)
    return lse[0, 0]


def _nt_xent(z: torch.Tensor, impl: Impl) -> torch.Tensor:
    return nt_xent_loss(z, VIEWS, TEMPERATURE, impl)


def _barlow(z: torch.Tensor, impl: Impl) -> torch.Tensor:
    return barlow_loss(z, VIEWS, impl=impl)


def _vicreg(z: torch.Tensor, impl: Impl) -> torch.Tensor:
    terms = vicreg_terms(z, VIEWS, impl)
    return 25 * terms.invariance + 25 * terms.variance + terms.covariance


def _hsic(z: torch.Tensor, impl: Impl) -> torch.Tensor:
    return hsic_loss(z, impl=impl)


VIEWS = 2
PROBLEMS = {
    "nt_xent": Problem(
        "NT-Xent, n = 8,192, D = 128",
        ((VIEWS, 4096, 128),),
        _nt_xent,
        others={"FlexAttention": _flex_nt_xent},
        most_memory=1 / 50,
        least_speed=1.7,
    ),
    "nt_xent large": Problem(
        "NT-Xent, n = 65,536, D = 128", ((VIEWS, 32768, 128),), _nt_xent, only_fused=True
    ),
    "moco": Problem(
        "MoCo, B = 256, M = 65,536, D = 128",
        ((1, 256, 128), (1, 256, 128), (65536, 128)),
        _moco,
        num_queues=1,
        others={
            "FlexAttention": _flex_moco,
            "linear_cross_entropy (B + M candidates)": _linear_cross_entropy,
        },
        most_memory=1 / 20,
        least_speed=2.0,
    ),
    "swav": Problem(
        "SwAV, B = 512, K = 3,000, 2+6 views",
        ((8, 512, 3000), (VIEWS, 512, 3000)),
        _swav,
        spread=1 / 8,  # as of cosines
        most_memory=1 / 5,
        least_speed=4.0,
    ),
    "dino": Problem(
        "DINO, B = 64, K = 65,536, 2+8 views",
        ((10, 64, 65536), (VIEWS, 64, 65536), (65536,)),
        _dino,
        spread=1 / 8,
        most_memory=1 / 6,
        least_speed=1.5,
    ),
    "barlow": Problem(
        "Barlow Twins, n = 2,048, D = 8,192",
        ((VIEWS, 2048, 8192),),
        _barlow,
        most_memory=1 / 8,
        least_speed=2.5,
    ),
    "vicreg": Problem(
        "VICReg, n = 2,048, D = 8,192",
        ((VIEWS, 2048, 8192),),
        _vicreg,
        most_memory=1 / 8,
        least_speed=4.0,
    ),
    "hsic": Problem("SSL-HSIC, n = 8,192, D = 256", ((VIEWS, 4096, 256),), _hsic),
    "byol": Problem(
        "BYOL, B = 4,096, D = 256",
        ((VIEWS, 4096, 256), (VIEWS, 4096, 256)),
        _byol,
        most_memory=1 / 6,
    ),
}
