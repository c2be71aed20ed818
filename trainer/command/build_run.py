"""Runs without the command: `build_run` makes the parts of a run for a loop of one's own.

    run = build_run(data="sets/train", method="byol", epochs=20)
    with run.loader() as loader:
        for step in range(run.total_steps):
            progress = run.progress(step)
            set_schedules(run.optimizer, run.config.optim, progress)
            result = optimizer_step(run.method, run, loader, progress)

It takes the words of `python -m trainer.run` and makes the same config of them: a recipe, or else
what fits the data, and every given key on top. `optimizer_step` of trainer/step.py is a step of any
method; docs/python.md has one written out.
"""

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

import torch

from augengine.loader.view_loader import ViewLoader
from augengine.views import START
from shards.cursor import Cursor
from shards.errors import UsageError
from trainer.build import Parts, build_parts, open_loader
from trainer.command.command_config import FLAGS, key_names, resolve_config
from trainer.config import TrainConfig
from trainer.methods.protocol import Progress
from trainer.recipes.recipe import as_mapping

_FLAG = re.compile(rf"--({'|'.join((*FLAGS, 'config', 'minutes')).replace('_', '-')})\b")


@dataclass(frozen=True, slots=True)
class Run(Parts):
    """The parts of a run, with what a loop asks for at hand."""

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.timeline.total_steps

    def progress(self, step: int) -> Progress:
        """Where the run is after `step` steps."""
        return self.timeline.progress(step)

    def loader(self, cursor: Cursor = START) -> ViewLoader:
        """The views from a position of the stream on, one forward's at a time."""
        return open_loader(self, cursor)


def build_run(
    config: str | os.PathLike[str] | TrainConfig | Mapping[str, Any] | None = None,
    *overrides: str,
    minutes: float | None = None,
    **flags: Any,
) -> Run:
    """The method, its optimizer, its loader and where the run stands after each step.

    `notes` and `warnings` of what comes back tell how the config came to be, as the command does.

    Args:
        config: a recipe's name, a YAML file, a run's folder, a config or its mapping; None: what
            fits the data, or without data the demo.
        *overrides: "key=value", such as "optim.base_lr=0.3".
        minutes: train for so long; the pace is measured first.
        **flags: data (or a list of sets), eval_data, eval_train, method, policy, views, sizes,
            arch, epochs, batch_size, seed, backend, device: as the command's flags.

    Raises:
        UsageError: what cannot be, with what to write instead.
        DataError: shards that are missing or damaged.
    """
    try:
        words = _words(config, overrides, minutes, flags)
        with ExitStack() as stack:
            resolved, notes = resolve_config(words, stack)
        parts = build_parts(resolved)
    except UsageError as error:
        raise UsageError(_of_a_call(str(error))) from None
    parts.method.train()
    told, warnings = map(_of_a_call, (*notes, *parts.notes)), map(_of_a_call, parts.warnings)
    made: dict[str, Any] = {field.name: getattr(parts, field.name) for field in fields(parts)}
    made |= {"notes": tuple(told), "warnings": tuple(warnings)}
    return Run(**made)


def _words(
    config: object, overrides: Sequence[object], minutes: float | None, flags: Mapping[str, Any]
) -> argparse.Namespace:
    """As the command line would have given them."""
    if isinstance(config, TrainConfig):
        config = as_mapping(config)
    if not isinstance(config, str | os.PathLike | Mapping | None):
        raise UsageError(
            f"config is a recipe's name, a YAML file, a run's folder or a TrainConfig, got "
            f'{config!r}; write "swav_demo", or leave it out to have all fitted to the data'
        )
    for override in overrides:
        if not isinstance(override, str):
            raise UsageError(
                f'an override is a text key=value, got {override!r}; write "optim.base_lr=0.3"'
            )
    for flag in flags:
        if flag not in FLAGS:
            raise UsageError(f"build_run has no argument {flag}; {_meant(flag, flags[flag])}")
    if minutes is not None and not isinstance(minutes, int | float):
        raise UsageError(f"minutes is a number, got {minutes!r}; write minutes=10")
    given = {flag: _plain(flag, value) for flag, value in flags.items()}
    return argparse.Namespace(
        config=os.fspath(config) if isinstance(config, os.PathLike) else config,
        overrides=list(overrides),
        minutes=minutes,
        out=None,
        resume=False,
        **dict.fromkeys(FLAGS) | given,
    )


def _meant(name: str, value: object) -> str:
    """A guess at an unknown argument: another one, or a key of the config."""
    near = get_close_matches(name, FLAGS, n=1)
    if near:
        return f"did you mean {near[0]}?"
    keys = key_names().get(name)
    if keys:
        return f'keys are texts before the arguments: write "{keys[0]}={value}"'
    return f'it takes {", ".join(FLAGS)}; other keys are texts such as "optim.base_lr=0.3"'


def _plain(flag: str, value: Any) -> Any:
    """Paths and devices as text, counts such as (2, 6) as 2+6, numpy's numbers as Python's.

    UsageError for an object, whose text would be taken for a name.
    """
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, list | tuple):
        items = [_plain(flag, item) for item in value]
        return "+".join(map(str, items)) if flag in ("views", "sizes") else items
    if isinstance(value, Mapping):  # a term with its settings
        return {key: _plain(flag, item) for key, item in value.items()}
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return value.item()
    if value is None or isinstance(value, str | int | float):
        return value
    raise UsageError(
        f"{flag} is a text, a path or a number, got {_kind_of(value)}; write what stands behind "
        f"{flag.replace('_', '-')} on a command"
    )


def _kind_of(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"


def _of_a_call(text: str) -> str:
    """The same with arguments where the command has flags."""
    return _FLAG.sub(lambda found: found[1].replace("-", "_"), text)
