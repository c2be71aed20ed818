"""The optimizer of a run: settings in, torch.optim.Optimizer out, its rate set before every step.

`train.py` calls `build_optimizer` once and `set_schedules` before each `optimizer.step()`.
The defaults are BYOL's; the recipes say what other papers use. An optimizer of one's own is a
torch.optim.Optimizer by `package.module:Class` or an entry point (shards/plugins/find.py): it is
made from `params`, the groups, and those of lr, momentum, betas and trust that it names.
"""

from dataclasses import dataclass
from typing import Any

import torch

from shards.plugins.find import check_name, find
from shards.plugins.making import find_class, make
from trainer.checks import choose, require
from trainer.methods.protocol import Method, Progress
from trainer.optim.groups import assert_covers, parameter_groups
from trainer.optim.lars import LARS
from trainer.optim.muon import Muon
from trainer.optim.schedule import SCALINGS, SCHEDULES, cosine, lr_share, peak_lr
from trainer.optim.uncompiled import SGD, AdamW

OPTIMIZERS = {
    "lars": "trainer.optim.create_optimizer:make_lars",
    "lars_tf": "trainer.optim.create_optimizer:make_lars",
    "larc": "trainer.optim.create_optimizer:make_lars",
    "sgd": "trainer.optim.create_optimizer:make_sgd",
    "adamw": "trainer.optim.create_optimizer:make_adamw",
    "muon": "trainer.optim.create_optimizer:make_muon",
}
Groups = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimSettings:
    """The keys of a recipe's `optim`; the learning rate is given for a batch of 256."""

    name: str = "lars"  # which LARS: trainer/optim/lars.py
    base_lr: float = 0.2  # the peak is base_lr x batch / 256
    base_lr_1d: float | None = None  # of biases and norm parameters (Barlow Twins); null: base_lr
    scaling: str = "linear"  # or sqrt: the peak is base_lr x sqrt(batch) (SimCLR)
    weight_decay: float = 1e-6
    final_weight_decay: float | None = None  # a cosine leads to it (DINO); null: constant
    decay_1d: bool = False  # decay biases and norm parameters too (SwAV, SimSiam: true)
    adapt_1d: bool = False  # let LARS scale them too (LARC of SwAV: true)
    momentum: float = 0.9  # lars, larc, sgd, muon (there 0.95 is usual)
    trust: float = 1e-3  # lars, larc
    betas: tuple[float, float] = (0.9, 0.999)  # adamw
    schedule: str = "cosine"  # or steps: down by drop_factor at each of drop_epochs
    drop_epochs: tuple[float, ...] = ()  # InstDisc, MoCo: 120, 160 of 200
    drop_factor: float = 0.1
    warmup_epochs: float = 10.0
    warmup_start: float = 0.0  # share of the peak at step 0 (SwAV at 4096: 0.0625)
    final: float = 0.0  # share of the peak at the end (SwAV: 0.001)
    layer_decay: float = 1.0  # of the rate, a block of the encoder down (DINOv3 goes on with 0.98)

    def __post_init__(self) -> None:
        check_name("optimizers", self.name, OPTIMIZERS)
        choose("optim.scaling", self.scaling, SCALINGS)
        choose("optim.schedule", self.schedule, SCHEDULES)
        for name in ("base_lr", "base_lr_1d", "trust", "drop_factor"):
            value = getattr(self, name)
            rule = f"optim.{name} is positive"
            require(value is None or value > 0, rule, value, f"try optim.{name}=0.001")
        for name in ("weight_decay", "final_weight_decay", "warmup_epochs"):
            value = getattr(self, name)
            rule = f"optim.{name} is not negative"
            require(value is None or value >= 0, rule, value, f"try optim.{name}=0")
        drops = self.drop_epochs
        rule = "optim.drop_epochs rise, and go with optim.schedule=steps"
        rises = list(drops) == sorted(drops)
        require(rises and bool(drops) == (self.schedule == "steps"), rule, drops, "try [120, 160]")
        for name in ("warmup_start", "final"):
            value = getattr(self, name)
            require(
                0 <= value <= 1, f"optim.{name} is a share of the peak in [0, 1]", value, "try 0"
            )
        rule = "optim.layer_decay lies in (0, 1]"
        require(0 < self.layer_decay <= 1, rule, self.layer_decay, "try 0.9")
        for value in (self.momentum, *self.betas):
            require(0 <= value < 1, "momentum and betas lie in [0, 1)", value, "try 0.9")


def build_optimizer(
    method: Method, settings: OptimSettings, batch_size: int
) -> torch.optim.Optimizer:
    """The optimizer over exactly the method's trainable parameters.

    Args:
        method: the unwrapped method; its `constant_lr` names the children kept at the peak rate.
        settings: what the recipe says.
        batch_size: images of one step over all ranks.

    Returns:
        An optimizer whose groups carry name, peak_lr, decays and constant_lr.
    """
    lr = peak_lr(settings.base_lr, batch_size, settings.scaling)
    base_1d = settings.base_lr if settings.base_lr_1d is None else settings.base_lr_1d
    groups = parameter_groups(
        method,
        lr=lr,
        lr_1d=peak_lr(base_1d, batch_size, settings.scaling),
        weight_decay=settings.weight_decay,
        decay_1d=settings.decay_1d,
        adapt_1d=settings.adapt_1d,
        constant_lr=method.constant_lr,
        layer_decay=settings.layer_decay,
    )
    optimizer = _make(settings, groups, lr)
    # Once, here: a forgotten head would otherwise train nothing and say nothing.
    assert_covers(optimizer, method)
    return optimizer


def set_schedules(
    optimizer: torch.optim.Optimizer, settings: OptimSettings, progress: Progress
) -> float:
    """Set rates and weight decay for the step about to be taken; returns the rate, to log."""
    share = lr_share(
        progress,
        schedule=settings.schedule,
        warmup_epochs=settings.warmup_epochs,
        start=settings.warmup_start,
        final=settings.final,
        drop_epochs=settings.drop_epochs,
        drop_factor=settings.drop_factor,
    )
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * (1.0 if group["constant_lr"] else share)
        if settings.final_weight_decay is not None and group["decays"]:
            group["weight_decay"] = cosine(
                settings.weight_decay, settings.final_weight_decay, progress.fraction
            )
    return optimizer.param_groups[0]["peak_lr"] * share


def make_sgd(settings: OptimSettings, groups: Groups, lr: float) -> torch.optim.Optimizer:
    """torch's, with momentum."""
    return SGD(groups, lr=lr, momentum=settings.momentum)


def make_adamw(settings: OptimSettings, groups: Groups, lr: float) -> torch.optim.Optimizer:
    """Torch's; on CUDA the step is one kernel for many tensors, on a CPU as it always was."""
    on_cuda = all(p.is_cuda for group in groups for p in group["params"])
    return AdamW(groups, lr=lr, betas=settings.betas, fused=on_cuda or None)


def make_muon(settings: OptimSettings, groups: Groups, lr: float) -> torch.optim.Optimizer:
    """Muon for matrices, SGD for the rest, whose rate is base_lr_1d; decay is decoupled."""
    return Muon(groups, lr=lr, momentum=settings.momentum)


def make_lars(settings: OptimSettings, groups: Groups, lr: float) -> torch.optim.Optimizer:
    """The form of LARS that is named."""
    return LARS(groups, lr=lr, momentum=settings.momentum, trust=settings.trust, form=settings.name)


def _make(settings: OptimSettings, groups: Groups, lr: float) -> torch.optim.Optimizer:
    name = settings.name
    if name in OPTIMIZERS:
        return find("optimizers", name, OPTIMIZERS)(settings, groups, lr)
    cls = find_class("optimizers", name, OPTIMIZERS, base=torch.optim.Optimizer)
    own = {key: getattr(settings, key) for key in ("momentum", "betas", "trust")}
    return make("optimizers", name, cls, {"params": groups, "lr": lr, **own})
