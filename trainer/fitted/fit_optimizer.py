"""The optimizer of a fitted recipe and its rates, from scratch or from given weights."""

import re
from collections.abc import Mapping
from typing import Any

from trainer.fitted.choices import Choices, rounded
from trainer.fitted.going_on import (
    LAYER_DECAY,
    RATE,
    WARMUP,
    WHY_ENCODER,
    WHY_RATE,
    encoder_of_weights,
)
from trainer.fitted.method_rules import OTHER
from trainer.fitted.rule_scale import Rule
from trainer.optim.schedule import REFERENCE_BATCH, peak_lr

MUON_STEP = 0.02  # of matrices, at the peak
_RESNET = re.compile(r"resnet\d+(x\d+|_sk)?")


def is_resnet(arch: str) -> bool:
    """Whether an encoder's name is a ResNet's of ours, or is meant to be one."""
    return _RESNET.fullmatch(arch) is not None


def fit_optimizer(
    choices: Choices,
    rule: Rule,
    epochs: float,
    arch: str,
    batch: int,
    *,
    goes_on: bool,  # from given weights
    takes_muon: bool = False,  # a network and a machine for which it was measured
    scaling: str = "linear",  # of the rates with the batch, unless it is typed
) -> None:
    """Muon or SGD for ResNets, AdamW for others; of an optimizer that was typed, what we know."""
    fitted, why = "adamw", "transformers and their kin want it"
    if is_resnet(arch):
        fitted, why = "sgd", "batches are small"
        if takes_muon and not goes_on:
            fitted, why = "muon", "learned more in equal time than SGD"
    name = choices.take("optim.name", fitted, why)
    scaling = str(choices.typed.get("optim.scaling", scaling))
    # Rates are known for a batch of 256: where they grow with its root, a base is a sixteenth.
    part = RATE if goes_on else 1.0
    share = part / peak_lr(1.0, REFERENCE_BATCH, scaling)
    if name == "adamw":
        why = WHY_RATE if goes_on else "DINO's and MoCo v3's order, for a batch of 256"
        choices.take("optim.base_lr", share * 5e-4, why)
        choices.take("optim.weight_decay", 0.05, "DINO's and MoCo v3's order")
    elif name == "sgd":
        why = WHY_RATE if goes_on else "this method's, for a batch of 256"
        choices.take("optim.base_lr", share * rule.lr, why)
        choices.take("optim.weight_decay", rule.weight_decay, "as published for small batches")
        choices.take("optim.decay_1d", rule.decay_1d, "as published for small batches")
    elif name == "muon":
        of_base = peak_lr(1.0, batch, scaling)
        why = WHY_RATE if goes_on else f"{MUON_STEP} a step, whatever the batch"
        choices.take("optim.base_lr", rounded(part * MUON_STEP / of_base), why)
        choices.take("optim.base_lr_1d", share * rule.lr, "SGD's: biases and norms take its steps")
        choices.take("optim.momentum", 0.95, "its authors'")
        choices.take("optim.weight_decay", rule.weight_decay, "SGD's")
    warmup = WARMUP if goes_on else rule.warmup
    choices.take("optim.warmup_epochs", rounded(warmup * epochs), f"{warmup:.0%} of the run")
    if goes_on and "vit" in arch:
        choices.take("optim.layer_decay", LAYER_DECAY, "less for what lies deeper")


def go_on(
    choices: Choices, recipe: Mapping[str, Any], given: Mapping[str, Any], epochs: float
) -> None:
    """The encoder of the given weights in a published recipe, and its rate for going on."""
    for key, value in encoder_of_weights(given, choices.typed).items():
        choices.take(f"backbone.{key}", value, WHY_ENCODER)
    optim = recipe.get("optim", {})
    arch = str(choices.typed.get("backbone.arch", given.get("arch", "resnet50")))
    if optim.get("name") != "adamw" and not is_resnet(arch):
        batch = int(recipe.get("loop", {}).get("batch_size", 256))
        scaling = str(optim.get("scaling", "linear"))
        fit_optimizer(choices, OTHER, epochs, arch, batch, goes_on=True, scaling=scaling)
        return
    if "base_lr" in optim:
        choices.take("optim.base_lr", RATE * float(optim["base_lr"]), WHY_RATE)
    choices.take("optim.warmup_epochs", rounded(WARMUP * epochs), "a third of the run")
