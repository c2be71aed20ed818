"""The interface of a method: views in, one loss out; its heads, teacher and queue are its own.

`train.py` knows nothing else about a method. A method owns the backbone it trains (`backbone`),
builds its heads, says which views it can use, and updates its teacher in `after_step`. It is an
nn.Module, so that its state dict is the checkpoint and DDP may wrap it: calling it is `step`.

    seen_sizes -> Method(backbone, settings) -> take_teachers -> check_views -> check_images
        -> check_classes
        -> prepare -> [step -> before_optimizer -> after_step]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from augengine.views import Origin, Views
from shards.errors import UsageError
from shards.terminal.counted import counted


@dataclass(frozen=True, slots=True)
class Progress:
    """The position of a run; every schedule is a pure function of it alone."""

    step: int  # optimizer steps done before this one
    total_steps: int  # of the whole run
    steps_per_epoch: float  # samples over the global batch; not whole: batches cross epoch borders
    part: int = 0  # forward inside this step, with loop.accumulate

    @property
    def fraction(self) -> float:
        """Share of the run that is done, in [0, 1]."""
        return self.step / max(1, self.total_steps)

    @property
    def epoch(self) -> float:
        """Epochs done, with their fraction."""
        return self.step / self.steps_per_epoch


@dataclass(frozen=True, slots=True)
class StepResult:
    """The result of a step, for the loop."""

    loss: torch.Tensor  # [] float32 - to call backward on
    embeddings: torch.Tensor  # [N, D] - detached projector outputs, for the collapse monitor
    metrics: Mapping[str, torch.Tensor | float] = field(default_factory=dict)  # scalars to log
    origins: tuple[Origin, ...] = ()  # of the step's batches; step.py fills it in, no method does


class Method(nn.Module):
    """The base of every method; only `step` must be written."""

    backbone: nn.Module  # images [N, C, S, S] -> features [N, D]; what is trained
    encoder_name: str = "backbone"  # the child that is evaluated and exported (DINO: the teacher's)
    min_global_views: int = 2  # views the first crop group must have
    # The global views before this one are a momentum network's alone (ReSSL's weak view).
    first_seen_view: int = 0
    given: tuple[str, ...] = ()  # children whose weights come from a file that the settings name
    # The setting that names encoders, which the run reads and hands over (`take_teachers`).
    teachers_setting: str | None = None
    notes: tuple[str, ...] = ()  # sentences for the start of a run
    constant_lr: tuple[str, ...] = ()  # children whose learning rate stays at its peak value
    sync_batch_norm: bool = True  # statistics over all ranks; False where that gives the pair away
    # What the loss compares over the images of a forward, in words: such a loss is another one on a
    # part of the batch, so loop.accumulate is refused. None: a mean over images.
    batch_loss: str | None = None
    # Whether an epoch has to hold every image: it fills a memory that is looked at as a whole.
    whole_epochs: bool = False
    # Children whose outputs are not the views' in their order, which no term may see (MoCo's keys).
    unaligned: tuple[str, ...] = ()
    # What its step states by name (nets/stated.py), so that a run may put others in their place.
    states: tuple[str, ...] = ()
    # Whether no output has a lower loss than a constant one: such a loss never tells a collapse.
    constant_is_best: bool = False
    takes_heavy: bool = False  # whether its step looks at heavy views (Views.heavy); none of ours

    def __init__(self) -> None:
        super().__init__()
        self.terms: nn.Module | None = None  # what a run adds to the loss (trainer/terms)

    @property
    def encoder(self) -> nn.Module:
        """The network whose features are evaluated and exported."""
        return self.get_submodule(self.encoder_name)

    def take_teachers(self, teachers: Sequence[nn.Module]) -> None:
        """Receive the encoders that `teachers_setting` names, in its order, with their weights."""
        raise NotImplementedError(f"{type(self).__name__} does not define take_teachers")

    def check_views(self, group_sizes: tuple[int, ...]) -> None:
        """Raise UsageError before the run if these views (counts per crop group) are unusable."""
        if not group_sizes or group_sizes[0] < self.min_global_views:
            enough = (self.min_global_views, *group_sizes[1:])
            raise UsageError(
                f"{type(self).__name__} needs at least "
                f"{counted(self.min_global_views, 'global view')} (the first crop group), got "
                f"--views {'+'.join(map(str, group_sizes)) or 'none'}; try --views "
                f"{'+'.join(map(str, enough))}"
            )

    def check_images(self, num_images: int) -> None:
        """Raise UsageError before the run if a forward of so many images, on all ranks, cannot be.

        A batch norm has no statistics of one image.
        """
        has_norm = any(isinstance(layer, _BatchNorm) for layer in self.modules())
        if has_norm and num_images < 2:
            raise UsageError(
                f"batch norm needs two images a forward, got {num_images}; lower loop.accumulate "
                "or raise --batch-size"
            )

    def check_classes(self, classes: tuple[str, ...]) -> None:
        """Raise UsageError before the run if the labels of a set with these classes are unusable.

        Most methods take no labels. Without names `classes` is empty.
        """

    def seen_global_views(self, num_global: int) -> int:
        """How many of the global views, from `first_seen_view` on, the trained network sees."""
        return num_global - self.first_seen_view

    @classmethod
    def seen_sizes(cls, sizes_px: tuple[int, ...]) -> tuple[int, ...]:
        """Sides of the images that the networks see, for crop groups of these sides.

        Raises:
            UsageError: before the run, for sides that the method cannot use.
        """
        return sizes_px

    def prepare(self, num_images: int) -> None:
        """Size what depends on the data set (a memory row an image); once, before the optimizer."""

    def looks_only(self, progress: Progress) -> bool:
        """Whether this step only looks: a memory is filled, without gradient or update."""
        return False

    def step(self, views: Views, progress: Progress) -> StepResult:
        """Forward every view, one backbone forward per crop group, and return the loss."""
        raise NotImplementedError(f"{type(self).__name__} does not define step")

    def constant_loss(self, num_images: int, views: tuple[int, int]) -> float | None:
        """The least loss of embeddings that are the same for all images and views.

        A run whose loss stays there tells no image from another.

        Args:
            num_images: of a forward, on all ranks.
            views: of an image, global ones and all.

        Returns:
            None where it is not known beforehand.
        """
        return None

    def before_optimizer(self, progress: Progress) -> None:
        """After backward, before the optimizer's step: e.g. drop a frozen layer's gradient."""

    def after_step(self, progress: Progress) -> None:
        """After the optimizer's step, with the same progress: e.g. move the teacher."""

    def forward(self, views: Views, progress: Progress) -> StepResult:
        """`step` and the run's terms, under the name that DDP calls."""
        if self.terms is None or self.looks_only(progress):
            return self.step(views, progress)
        return self.terms(self, views, progress)
