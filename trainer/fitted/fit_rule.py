"""The recipe that fits: what a run without --config takes for every key that nobody typed, and why.

`fit` is a pure function of data, machine, length and what was typed; what is typed stays, and
what depends on it follows. docs/recipes.md has the experiment behind each number: they were
made on CPUs, with 1,000 to 50,000 small images. On a GPU with many images the method's published
recipe is the better guess (`Facts.takes_published`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from augengine.policies import is_policy_file, load_policy, parse_sizes, parse_views
from shards.errors import UsageError
from shards.terminal.counted import counted
from trainer.fitted.choices import Choices, Fitted, rounded
from trainer.fitted.fit_optimizer import fit_optimizer, go_on, is_resnet
from trainer.fitted.going_on import WHY_ENCODER, encoder_of_weights, patch_of
from trainer.fitted.method_rules import OTHER, RULES
from trainer.fitted.rule_scale import Rule, Scale
from trainer.nets.vit import SIZES
from trainer.settings.policy_config import has_groups
from trainer.settings.strict import flatten

METHOD = "simclr"
CPU_MINUTES = 12.0  # a run's length on a CPU when none is typed
GPU_IMAGES = 20e6  # images that a run on a GPU sees, likewise
LARGE_SET = 300_000  # images from which on published recipes are nearer than ours
SMALL_PX = 64  # views of at most so many pixels: colours at half strength, no blur
TINY_PX = 40  # likewise: a stem that keeps the resolution
# Shares of the image in a crop: without local views, beside local ones, and theirs.
ALONE, BESIDE_LOCAL, LOCAL = (0.2, 1.0), (0.3, 1.0), (0.1, 0.3)
HALF_COLOUR = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
EPOCH_STEPS, RUN_STEPS = 50, 1500  # or more, unless a batch would be smaller than
MUON_FEATURES = 256  # or fewer: what a step of a wider encoder costs was not measured
LEAST_BATCH = 32  # of a small set, of others twice as many
MOST_CPU_PX, MOST_GPU_PX = 64, 224
# Activations of a ResNet-50 at 224 px with their gradients in bf16; others follow their width.
RESNET50_BYTES = 120 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts that the rule follows."""

    images: int
    median_px: int  # of their shorter sides
    device: str  # cpu, cuda
    memory_bytes: int  # of one process
    cores: int  # likewise
    ranks: int = 1
    # Keys of the encoder that backbone.weights are of, as far as known; None: none are given.
    given: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.images < 2:
            raise UsageError(
                f"training needs at least 2 images, got {self.images}; pack more into --data"
            )

    @property
    def takes_published(self) -> bool:
        """Whether the method's own recipe is the base."""
        return self.device == "cuda" and self.images >= LARGE_SET


def default_epochs(facts: Facts) -> float | None:
    """Passes when no length is typed; None on a CPU, where it is a time, `CPU_MINUTES`."""
    if facts.device == "cpu":
        return None
    return float(min(400, max(100, round(GPU_IMAGES / facts.images))))


def fit(
    facts: Facts,
    epochs: float,  # typed, or found from a time
    typed: Mapping[str, Any],  # keys of the command, nested as in a recipe
    why_epochs: str = "",  # where they were not typed
) -> Fitted:
    """Every key that was not typed, with its reason."""
    choices = Choices(dict(flatten(typed)))
    method = choices.take(
        "method.name", METHOD, "learned most of thirteen methods from as many images"
    )
    choices.take("loop.epochs", epochs, why_epochs)
    rule = RULES.get(method, OTHER)
    size_px = _fit_views(choices, facts, rule)
    arch, features = _fit_encoder(choices, facts, size_px)
    batch = _fit_batch(choices, facts, features, size_px, epochs)
    fit_optimizer(
        choices,
        rule,
        epochs,
        arch,
        batch,
        goes_on=facts.given is not None,
        takes_muon=rule.muon and facts.device == "cpu" and features <= MUON_FEATURES,
    )
    steps = max(1, math.floor(epochs * facts.images / batch))
    scale = Scale(batch=batch, features=features, steps=steps, images=facts.images)
    for key, (value, why) in rule.settings(scale).items():
        choices.take(f"method.{key}", value, why)
    has_data = "eval.data" in choices.typed
    why = "a kNN score halfway and at the end" + (
        "" if has_data else ", where --eval-data is given"
    )
    choices.take("eval.every_epochs", rounded(epochs / 2), why)
    choices.take("run.save_every_epochs", rounded(max(1, epochs / 10)), "ten checkpoints or fewer")
    _take_workers(choices, facts)
    return choices.fitted()


def fit_published(
    facts: Facts,
    recipe: Mapping[str, Any],
    epochs: float,
    typed: Mapping[str, Any],
    why_epochs: str = "",
) -> Fitted:
    """Keys of a published recipe that give way: its length, and a batch the GPUs cannot hold.

    Rates follow the batch by the recipe's own rule.
    """
    choices = Choices(dict(flatten(typed)))
    choices.take("loop.epochs", epochs, why_epochs)
    loop = recipe.get("loop", {})
    published, parts = int(loop.get("batch_size", 256)), int(loop.get("accumulate", 1))
    if facts.given is not None:
        go_on(choices, recipe, facts.given, epochs)
    fitting = facts.ranks * max(2, int(0.6 * facts.memory_bytes / (2 * RESNET50_BYTES)))
    if fitting * parts < published:
        batch = 2 ** math.floor(math.log2(fitting)) * parts
        choices.take("loop.batch_size", batch, f"what the memory holds of {published:,}")
    _take_workers(choices, facts)
    return choices.fitted()


def _take_workers(choices: Choices, facts: Facts) -> None:
    cores = counted(facts.cores, "core")
    choices.take("data.workers", min(8, max(1, facts.cores // 2)), f"{cores} a process")


def _fit_views(choices: Choices, facts: Facts, rule: Rule) -> int:
    """The policy; returns the side of the largest view."""
    typed = choices.typed
    groups = typed.get("policy.groups") or ()
    if has_groups(groups):
        return max(int(group.get("size_px", MOST_GPU_PX)) for group in groups)
    weak = rule.policy != OTHER.policy
    why = (
        "its first view weak, for a teacher" if weak else "its crops, of one strength for all views"
    )
    policy = str(choices.take("policy.name", rule.policy, why))
    own = load_policy(policy).groups
    if is_policy_file(policy) and "policy.sizes" not in typed:
        return max(group.size_px for group in own)  # its author said so
    counts = _fit_counts(choices, rule, tuple(group.count for group in own))[: len(own)]
    size_px = _fit_sizes(choices, facts, len(counts))
    if "policy.name" in typed or size_px > SMALL_PX:
        return size_px
    for key, value in HALF_COLOUR.items():
        choices.take(f"policy.{key}", value, "half the usual strength, for small views")
    choices.take("policy.blur", 0.0, "small views are blurred enough")
    if "policy.scale" not in typed:
        num_local = sum(count > 0 for count in counts) - 1  # of 2+0 none
        scales = [BESIDE_LOCAL, *[LOCAL] * num_local] if num_local > 0 else [ALONE]
        crops = [{"scale": list(scale)} for scale in scales]
        choices.take("policy.groups", crops, "large crops, or small images show nothing in them")
    return size_px


def _fit_counts(choices: Choices, rule: Rule, own: tuple[int, ...]) -> tuple[int, ...]:
    """The views of each crop group; `own` are the policy's."""
    typed, views = choices.typed, rule.views
    if "policy.name" in typed:
        return parse_views(str(typed["policy.views"])) if "policy.views" in typed else own
    why = "small local views teach more per second than global ones"
    if "+" not in views:
        why = "the method takes a pair" if views == "2" else "the method takes like views"
    elif len(parse_sizes(str(typed.get("policy.sizes", "64+32")))) == 1:
        views, why = "2", "of one size, as was typed"
    return parse_views(str(choices.take("policy.views", views, why)))


def _fit_sizes(choices: Choices, facts: Facts, num_groups: int) -> int:
    """The sides of the views; returns the largest."""
    unit = patch_of(choices.typed.get("backbone.arch", (facts.given or {}).get("arch")))
    side = _side(facts, unit)
    local = max(8, 8 * round(3 * side / 7 / 8)) if side > SMALL_PX else side // 2
    sizes = "+".join([str(side), *[str(_whole(local, unit))] * (num_groups - 1)])
    why = f"images of {facts.median_px} px on {facts.device}"
    return max(parse_sizes(str(choices.take("policy.sizes", sizes, why))))


def _side(facts: Facts, unit: int) -> int:
    """Views as large as the images, rounded up to a multiple of 16, up to what can be paid for."""
    most = MOST_CPU_PX if facts.device == "cpu" else MOST_GPU_PX
    return _whole(min(most, max(16, 16 * math.ceil(0.9 * facts.median_px / 16))), unit)


def _whole(side_px: int, unit: int) -> int:
    """A side of whole patches, at least one."""
    return max(unit, side_px // unit * unit)


def _fit_encoder(choices: Choices, facts: Facts, size_px: int) -> tuple[str, int]:
    """The encoder; returns its name and how many features it gives, as far as that says it."""
    typed = choices.typed
    if facts.device == "cpu":
        own, width, why = "resnet10", 0.25 if size_px <= TINY_PX else 0.5, "what a CPU can train"
    else:
        own, width, why = "resnet18" if size_px < MOST_GPU_PX else "resnet50", 1.0, "by the views"
    if given := encoder_of_weights(facts.given, typed):
        own, width, why = given["arch"], given.get("width", 1.0), WHY_ENCODER
    arch = str(choices.take("backbone.arch", own, why))
    if not is_resnet(arch):
        if "heads" in given:
            choices.take("backbone.heads", given["heads"], WHY_ENCODER)
        size = arch.removeprefix("vit_").rstrip("0123456789")
        return arch, SIZES[size][0] if size in SIZES else 512
    if "backbone.arch" not in typed:
        width = float(choices.take("backbone.width", width, why))
    else:
        width = float(typed.get("backbone.width", 1.0))
    stem = "small" if size_px <= TINY_PX else "imagenet"
    why = WHY_ENCODER if "stem" in given else f"for views of {size_px} px"
    choices.take("backbone.stem", given.get("stem", stem), why)
    depth, _, times = arch.removeprefix("resnet").partition("x")
    unit = 2048 if int(depth.removesuffix("_sk") or 0) >= 50 else 512
    return arch, int(unit * width * int(times or 1))


def _fit_batch(choices: Choices, facts: Facts, features: int, size_px: int, epochs: float) -> int:
    """Images a step: fifty steps an epoch and enough in all, within the memory."""
    of_run = max(2 * LEAST_BATCH, epochs * facts.images / RUN_STEPS)
    seen = min(facts.images / EPOCH_STEPS, of_run)
    wanted = 2 ** math.floor(math.log2(max(LEAST_BATCH, seen)))
    batch = min(wanted, 128 if facts.device == "cpu" else 512, facts.images)
    steps = math.floor(epochs * facts.images / batch)
    why = f"{counted(steps, 'step')}, {facts.images // batch:,} an epoch"
    image_bytes = 2 * RESNET50_BYTES * (size_px / 224) ** 2 * features / 2048
    fitting = facts.ranks * max(2, int(0.6 * facts.memory_bytes / image_bytes))
    if fitting < batch:
        batch, why = 2 ** math.floor(math.log2(fitting)), "what the memory holds"
    parts = facts.ranks * int(choices.typed.get("loop.accumulate", 1))
    batch = max(2 * parts, batch // (2 * parts) * 2 * parts)
    return int(choices.take("loop.batch_size", batch, why))
