"""Everything that decides a run, as frozen dataclasses.

This file is the list of keys: their defaults, what they mean, what they may be. `recipe.py` fills
them from YAML, flags and `key=value`; `python -m trainer.run --print-config` prints them resolved.
The data's keys are trainer/settings/data_config.py, the views' trainer/settings/policy_config.py,
the optimizer's trainer/optim/create_optimizer.py, a method's own trainer/methods/NAME.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from augengine.plan import MAX_SIZE_PX
from shards.plugins.find import check_name
from shards.remote.address import default_window, remote_folder
from trainer.checks import choose, require
from trainer.nets.backbones import check_options
from trainer.optim.create_optimizer import OptimSettings
from trainer.settings.data_config import DataConfig
from trainer.settings.policy_config import PolicyConfig
from trainer.settings.strict import PATH

LOGGERS = {
    "jsonl": "trainer.record.log:JsonLog",  # always there, named or not
    "tensorboard": "trainer.record.events:EventLog",
    "wandb": "trainer.record.wandb_log:WandbLog",
    "mlflow": "trainer.record.mlflow_log:MlflowLog",
}
_DEVICE_MEANINGS = {"gpu": "cuda", "GPU": "cuda", "nvidia": "cuda", "cuda:0": "cuda"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneConfig:
    """The encoder."""

    arch: str = "resnet50"
    stem: str = "auto"  # imagenet; small, half (up to about 64 px); auto: by the largest crop
    width: float = 1.0  # channels, times the published ones
    zero_init_residual: bool = False  # every block starts as its shortcut
    position: str = "learned"  # or sincos; ViTs only, as are the next four
    freeze_patch: bool = False  # the patch projection keeps its random weights (MoCo v3)
    drop_path: float = 0.0  # share of images that skip the last block; less before (DINO: 0.1)
    init: str = "trunc_normal"  # or xavier (MoCo v3): how weights start
    heads: int | None = None  # of attention; null: the size's own, of 64 features (MoCo v3: 12)
    # What it begins with (docs/weights.md): a file, a run, or timm:NAME; null: the seed's values.
    weights: str | None = field(default=None, metadata=PATH)
    weights_part: str | None = None  # what stands before the encoder's names; null: as is known
    freeze_blocks: int = 0  # so many first blocks stay as they are, and the stem before them

    def __post_init__(self) -> None:
        check_options(self.stem, self.width, self.position, self.init, self.drop_path)
        least = self.freeze_blocks
        require(
            least >= 0, "backbone.freeze_blocks is at least 0", least, "try 0 (all are trained)"
        )
        rule = "backbone.weights_part goes with backbone.weights"
        require(
            self.weights is not None or not self.weights_part, rule, self.weights_part, "add it"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodConfig:
    """The method by name; its own settings (trainer/methods/NAME.py) stand beside the name."""

    name: str = "swav"
    # What is added to the method's loss, or changes its step (trainer/terms): names, or a mapping
    # each of name, weight and the term's own keys; as text: names with commas.
    terms: str | tuple[str | Mapping[str, Any], ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopConfig:
    """Length, batch and seed."""

    epochs: float = 100
    batch_size: int = 256  # images a step, over all devices and all parts of the step
    # Forwards a step; each sees batch_size / (devices x accumulate) images, so batch norm takes its
    # statistics over a part of the batch and queues move once a forward. Refused for losses that
    # compare the images of a batch (SimCLR, Barlow Twins, VICReg, SSL-HSIC, MoCo v3, NNCLR, SwAV
    # without a queue): they would see fewer, and be other losses.
    accumulate: int = 1
    # Images of all ranks that share batch statistics: those of as many whole ranks as hold them
    # (SwAV at 4096: 512, which are 8 of 64 GPUs). null: all.
    norm_images: int | None = None
    clip_norm: float | None = None  # gradient norm above which gradients are scaled down to it
    clip_each: bool = False  # the norm of each parameter tensor (DINO), not of all together
    precision: str = "auto"  # bf16, fp32; auto: bf16 on cuda, fp32 on the CPU
    # Networks through torch's compiler: one graph for each size of crop (setup/compiled.py).
    compile: bool = False
    # ViTs keep their blocks' inputs alone and compute the rest again: less memory, a third more
    # work, the same gradients (setup/recompute.py).
    checkpoint_activations: bool = False
    repeatable: bool = False  # on CUDA: convolutions that repeat their bits, not the fastest ones
    seed: int = 0  # of the weights, the order and the views
    # Shards that are shuffled together, for data at an address: they are fetched before the first
    # batch, and as many again meanwhile. null: all; auto: 8 of data at an address, else all.
    window_shards: int | str | None = "auto"

    def __post_init__(self) -> None:
        require(self.epochs > 0, "loop.epochs is positive", self.epochs, "try --epochs 100")
        require(
            self.batch_size >= 2,
            "loop.batch_size is at least 2 (BatchNorm needs two images)",
            self.batch_size,
            "try --batch-size 256",
        )
        parts = self.accumulate
        require(parts >= 1, "loop.accumulate is at least 1", parts, "try loop.accumulate=1")
        shared = self.norm_images
        rule = "loop.norm_images is at least 2 or null"
        require(shared is None or shared >= 2, rule, shared, "try loop.norm_images=null")
        clip = self.clip_norm
        require(clip is None or clip > 0, "loop.clip_norm is positive or null", clip, "try 1.0")
        choose("loop.precision", self.precision, ("auto", "bf16", "fp32"))
        require(0 <= self.seed < 2**32, "loop.seed lies in [0, 2^32)", self.seed, "try --seed 0")
        window = self.window_shards
        is_window = window >= 1 if isinstance(window, int) else window in (None, "auto")
        require(is_window, "loop.window_shards is at least 1, null or auto", window, "try auto")

    @property
    def images_per_forward(self) -> int:
        """Of all ranks together; `accumulate` forwards are a batch."""
        return self.batch_size // self.accumulate

    @property
    def window(self) -> int | None:
        """Shards that are shuffled together, None: all; known in a whole config."""
        assert self.window_shards is None or isinstance(self.window_shards, int)
        return self.window_shards


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalConfig:
    """kNN on frozen features while training; `trainer.evaluate` uses the same numbers."""

    # Labelled shards; null: no kNN (the demo set brings its own).
    data: str | None = field(default=None, metadata=PATH)
    # Labelled shards whose images vote on those of `data`, and are fitted by a probe: another pair
    # while the training images have no labels. null: data.train.
    train: str | None = field(default=None, metadata=PATH)
    probe: bool = False  # beside every kNN a linear probe on the same features
    # RankMe, alpha-ReQ, LiDAR, alignment, uniformity when a score is due (docs/evaluation.md): of
    # images of `data`, or of data.train where there is none. null: where there is `data`.
    label_free: bool | None = None
    every_epochs: float = 10  # and once before training and once at the end
    k: int = 20
    temperature: float = 0.07
    max_train_images: int = 10_000  # of the labelled ones, a fixed random part; 0: all
    max_test_images: int = 10_000
    size_px: int | None = None  # of the views; null: the size of the first crop group
    fraction: float = 1.0  # side of the centre crop as a share of the shorter side
    batch_size: int = 256

    def __post_init__(self) -> None:
        for place in (self.data, self.train):
            remote_folder(place)
        for name, is_given in (("train", self.train is not None), ("probe", self.probe)):
            is_idle = is_given and self.data is None
            rule = f"eval.{name} is about the images of eval.data, which are scored"
            require(not is_idle, rule, "no eval.data", "give --eval-data LABELLED_SHARDS")
        for name in ("every_epochs", "temperature"):
            value = getattr(self, name)
            require(value > 0, f"eval.{name} is positive", value, f"change eval.{name}")
        at_least = {"k": 1, "batch_size": 1, "max_train_images": 0, "max_test_images": 0}
        for name, least in at_least.items():
            value = getattr(self, name)
            require(
                value >= least, f"eval.{name} is at least {least}", value, f"change eval.{name}"
            )
        require(0 < self.fraction <= 1, "eval.fraction lies in (0, 1]", self.fraction, "try 0.875")
        rule = f"eval.size_px lies in [1, {MAX_SIZE_PX}], or is null"
        size_px = self.size_px
        require(size_px is None or 1 <= size_px <= MAX_SIZE_PX, rule, size_px, "try null")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Where, and what is kept: nothing that changes a loss."""

    device: str = "auto"  # cpu, cuda; auto: cuda where there is one
    log_every: int = 10  # steps
    save_every_epochs: float = 1.0  # and at the end, at SIGTERM, SIGUSR1 or Ctrl-C, and a best kNN
    save_every_steps: int | None = None  # instead of epochs
    keep: int = 2  # newest checkpoints; the one with the best kNN score stays too
    # Who gets the records besides metrics.jsonl: tensorboard, wandb, mlflow, package.module:Class.
    loggers: tuple[str, ...] = ("tensorboard",)
    record_ids: bool = False  # write every step's samples to RUN/ids-rankR.jsonl, for an audit
    # Longest wait of a rank for the others, e.g. while the first one fits a probe; then all end.
    collective_seconds: float = 1800.0

    def __post_init__(self) -> None:
        choose("run.device", self.device, ("auto", "cpu", "cuda"), _DEVICE_MEANINGS)
        for name in ("log_every", "keep"):
            value = getattr(self, name)
            require(value >= 1, f"run.{name} is at least 1", value, f"try run.{name}=2")
        for name in self.loggers:
            check_name("loggers", name, LOGGERS)
        wait = self.collective_seconds
        require(wait > 0, "run.collective_seconds is positive", wait, "try 1800")
        every = self.save_every_epochs
        require(every > 0, "run.save_every_epochs is positive", every, "try 1")
        steps = self.save_every_steps
        rule = "run.save_every_steps is at least 1 or null"
        require(steps is None or steps >= 1, rule, steps, "try 1000")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """A whole run."""

    data: DataConfig = field(default_factory=DataConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    optim: OptimSettings = field(default_factory=OptimSettings)
    loop: LoopConfig = field(default_factory=LoopConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        # Written out, so that a run that goes on with its data elsewhere keeps its order.
        if self.loop.window_shards == "auto":
            windows = map(default_window, self.data.train_places)
            loop = replace(self.loop, window_shards=next(filter(None, windows), None))
            object.__setattr__(self, "loop", loop)
        # Or the others give up first, and do not know why.
        require(
            self.run.collective_seconds > self.data.stall_seconds,
            f"run.collective_seconds is more than data.stall_seconds={self.data.stall_seconds:g}",
            self.run.collective_seconds,
            "raise it",
        )
