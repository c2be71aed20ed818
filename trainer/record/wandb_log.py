"""A logger for Weights & Biases: `run.loggers=[wandb]`, with its own settings from its environment.

WANDB_MODE=offline keeps everything in RUN/wandb, for `wandb sync`. A run that goes on is the same
run there too: its id stays in RUN/wandb. WANDB_PROJECT and WANDB_NAME go before our names.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shards.atomic import write_whole
from shards.errors import UsageError
from shards.plugins.optional_library import optional_library
from trainer.record.loggers import Values

FOLDER_NAME = "wandb"
_ID_NAME = "augengine-run-id"


class WandbLog:
    """Records as rows of a wandb run."""

    def __init__(self, run: Path, config: Mapping[str, Any], from_step: int = 0) -> None:
        wandb = _library()
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "augengine"),
            name=os.environ.get("WANDB_NAME", run.resolve().name),
            dir=str(run),
            id=_id_of(run, is_new=not from_step),
            resume="allow",
            config=dict(config),
            settings=wandb.Settings(console="off"),  # the terminal stays ours
        )
        # Not wandb's own count: the steps after a checkpoint are written again by a run that goes
        # on, and wandb drops what is not past its last.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    @staticmethod
    def check() -> None:
        """UsageError without the library, or when wandb would ask for a key."""
        wandb = _library()
        if wandb.setup().settings.mode == "online" and not wandb.login(prompt=False):
            raise UsageError(
                "logger wandb needs a key for its server, got none; type wandb login, or set "
                "WANDB_MODE=offline"
            )

    def write(self, step: int, values: Values) -> None:
        """One row, with its step as a column."""
        self._run.log({"step": step, **values})

    def close(self) -> None:
        """Wait until all of it is sent, or on the disk."""
        self._run.finish()


def _library() -> Any:
    return optional_library("wandb", "logger wandb", "'wandb>=0.31'")


def _id_of(run: Path, *, is_new: bool) -> str:
    """The id of this run's former starts, or a new one."""
    path = run / FOLDER_NAME / _ID_NAME
    if not is_new and path.is_file():
        return path.read_text(encoding="utf-8").strip()
    path.parent.mkdir(parents=True, exist_ok=True)
    identity = secrets.token_hex(4)
    write_whole(path, identity + "\n")
    return identity
