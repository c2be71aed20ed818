"""Everything that decides a run, as frozen dataclasses filled from YAML and `key=value`.

`run.py` resolves one: defaults below < recipe < flags < key=value. The result is written to the
run's config.yaml, which is itself a recipe. Every key, its default and its meaning are this file;
`python -m trainer.run --print-config` prints the resolved values. Settings of a method are its own
dataclass (trainer/methods/NAME.py) and stand beside `method.name`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from shards.errors import UsageError
from trainer.checks import choose, require
from trainer.optim.build import OptimSettings
from trainer.strict import build, flatten, to_mapping

RECIPES = Path(__file__).parent / "recipes"
# May differ when a run continues: none of them changes a loss. Everything else must stay as it was.
# Sections that may differ when a run continues: none of them decides what is learned. (The images
# themselves are compared by the fingerprint of their index.)
FREE_ON_RESUME = ("run.", "eval.", "data.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Which images, in which batches, through which engine."""

    train: str | None = None  # folder of shards; null: the demo set
    backend: str = "auto"  # fused, dali, kornia; auto: the fastest that is there
    decoder: str = "auto"  # dali, pillow; auto likewise
    workers: int = 2  # threads that read, decode and augment
    prefetch: int = 2  # batches made ahead
    verify: bool = False  # check every image's crc32 when it is read
    on_bad: str = "substitute"  # or fail: stop at the first sample that cannot be read
    bad_budget: float = 0.001  # share of bad samples that stops the run, after the first 1,000

    def __post_init__(self) -> None:
        for name in ("workers", "prefetch"):
            value = getattr(self, name)
            require(value >= 1, f"data.{name} is at least 1", value, f"try data.{name}=2")
        budget = self.bad_budget
        require(0 <= budget <= 1, "data.bad_budget is a share in [0, 1]", budget, "try 0.001")
        choose("data.on_bad", self.on_bad, ("substitute", "fail"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewsConfig:
    """What may happen to an image, and how many views are made of it."""

    policy: str = "swav"  # a name of augengine/policies or a path to a YAML file like those
    counts: str | None = None  # views a crop group: 2+6; null: the policy's own
    sizes: str | None = None  # their sides in pixels: 224+96; null: the policy's own


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneConfig:
    """The encoder."""

    arch: str = "resnet50"
    width: float = 1.0  # channels, times the published ones
    stem: str = "imagenet"  # or small: 3x3, no pooling, for images up to about 64 pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodConfig:
    """The method by name; its own settings are checked against the dataclass beside it."""

    name: str = "swav"
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopConfig:
    """How long, how much at once; with `optim` (trainer/optim/build.py) all that decides the steps."""

    epochs: float = 100
    batch_size: int = 256  # images a step, over all devices
    clip_norm: float | None = None  # gradient norm above which gradients are scaled down to it
    precision: str = "auto"  # bf16, fp32; auto: bf16 on cuda, fp32 on the CPU
    seed: int = 0  # of the weights, the order and the views

    def __post_init__(self) -> None:
        require(self.epochs > 0, "loop.epochs is positive", self.epochs, "try --epochs 100")
        require(
            self.batch_size >= 2,
            "loop.batch_size is at least 2 (BatchNorm needs two images)",
            self.batch_size,
            "try --batch-size 256",
        )
        clip = self.clip_norm
        require(clip is None or clip > 0, "loop.clip_norm is positive or null", clip, "try 1.0")
        choose("loop.precision", self.precision, ("auto", "bf16", "fp32"))
        require(0 <= self.seed < 2**32, "loop.seed lies in [0, 2^32)", self.seed, "try --seed 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalConfig:
    """kNN on frozen features while training; `trainer.evaluate` uses the same numbers."""

    data: str | None = None  # folder of labelled shards; null: no kNN (the demo set brings its own)
    every_epochs: float = 10  # and once before training (a random encoder) and once at the end
    k: int = 20
    temperature: float = 0.07
    max_train_images: int = 10_000  # an evenly spaced part of the training set; 0: all
    max_test_images: int = 10_000
    size_px: int | None = None  # null: the size of the first crop group
    fraction: float = 1.0  # side of the centre crop as a share of the shorter side
    batch_size: int = 256

    def __post_init__(self) -> None:
        for name in ("every_epochs", "temperature"):
            value = getattr(self, name)
            require(value > 0, f"eval.{name} is positive", value, f"change eval.{name}")
        for name, least in (
            ("k", 1),
            ("batch_size", 1),
            ("max_train_images", 0),
            ("max_test_images", 0),
        ):
            value = getattr(self, name)
            require(
                value >= least, f"eval.{name} is at least {least}", value, f"change eval.{name}"
            )
        require(0 < self.fraction <= 1, "eval.fraction lies in (0, 1]", self.fraction, "try 0.875")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Where, and what is kept: nothing that changes a loss."""

    device: str = "auto"  # cpu, cuda; auto: cuda where there is one
    log_every: int = 10  # steps
    save_every_epochs: float = 1.0  # and at the end, and at SIGTERM or Ctrl-C
    save_every_steps: int | None = None  # instead of epochs
    keep: int = 2  # checkpoints

    def __post_init__(self) -> None:
        choose("run.device", self.device, ("auto", "cpu", "cuda"))
        for name in ("log_every", "keep"):
            value = getattr(self, name)
            require(value >= 1, f"run.{name} is at least 1", value, f"try run.{name}=2")
        every = self.save_every_epochs
        require(every > 0, "run.save_every_epochs is positive", every, "try 1")
        steps = self.save_every_steps
        rule = "run.save_every_steps is at least 1 or null"
        require(steps is None or steps >= 1, rule, steps, "try 1000")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """A whole run."""

    data: DataConfig = field(default_factory=DataConfig)
    views: ViewsConfig = field(default_factory=ViewsConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    optim: OptimSettings = field(default_factory=OptimSettings)
    loop: LoopConfig = field(default_factory=LoopConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    run: RunConfig = field(default_factory=RunConfig)


def resolve(values: Mapping[str, Any]) -> TrainConfig:
    """The config that a merged mapping says; UsageError names the first thing that is wrong."""
    return build(TrainConfig, values)


def to_yaml(config: TrainConfig) -> str:
    """The config as YAML, in the order of this file; `resolve` reads it back equal."""
    return yaml.safe_dump(to_mapping(config), sort_keys=False, default_flow_style=False)


def recipe_names() -> list[str]:
    """The recipes that ship."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def read_recipe(name_or_path: str) -> dict[str, Any]:
    """A recipe's mapping, from a shipped name or a YAML file."""
    shipped = RECIPES / f"{name_or_path}.yaml"
    path = shipped if shipped.is_file() else Path(name_or_path)
    if not path.is_file():
        raise UsageError(
            f"--config takes a recipe's name or a YAML file, got {name_or_path!r}; "
            f"recipes: {', '.join(recipe_names())}"
        )
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"a recipe is valid YAML, got {path}: {error}; fix that line") from None
    if not isinstance(values or {}, dict):
        raise UsageError(f"a recipe is a mapping of keys, got {path}; see {RECIPES}/swav.yaml")
    return values or {}


def changed_on_resume(before: Mapping[str, Any], now: TrainConfig) -> list[str]:
    """The keys that differ and may not, as "key: old -> new"."""
    old, new = dict(flatten(before)), dict(flatten(to_mapping(now)))
    differing = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    return [
        f"{key}: {old.get(key)} -> {new.get(key)}"
        for key in differing
        if not key.startswith(FREE_ON_RESUME)
    ]
