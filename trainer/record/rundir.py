"""The folder a run leaves: its name, its config.yaml, and whether it may be written to.

    RUN/config.yaml      the resolved config, headed by its starts (starts.py); itself a recipe
    RUN/metrics.jsonl    one JSON line a record
    RUN/tensorboard/     the same numbers as event files; other loggers: run.loggers
    RUN/checkpoints/     step-N.pt, last.pt, best.pt with evaluation data
    RUN/ids-rankR.jsonl  the samples of every step, with run.record_ids
    RUN/bad-samples-rankR.jsonl  the samples that could not be used, when there were any
    RUN/nonfinite-step-N.npz  the plan of a step whose loss was not finite

`run.py` opens one; `train.py`, `log.py` and `checkpoint.py` write into it; `evaluate.py` reads it.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import trainer.checkpoint as checkpoint
from shards.atomic import write_whole
from shards.errors import DataError, UsageError
from shards.plugins.importing import never_from
from trainer.config import TrainConfig
from trainer.recipes.former import as_it_was
from trainer.recipes.recipe import read_recipe, resolve, to_yaml
from trainer.record.run_lock import alone_in
from trainer.record.samplelog import PATTERNS
from trainer.record.starts import head_of, read_starts

CONFIG_NAME = "config.yaml"
DEFAULT_FOLDER = Path("runs")


def default_out(config: TrainConfig) -> Path:
    """runs/METHOD-DATA-TIME."""
    names = [Path(place).resolve().name for place in config.data.train_places or ("demo",)]
    data = names[0] + (f"-and-{len(names) - 1}" if len(names) > 1 else "")
    now = datetime.now().strftime("%Y%m%d-%H%M%S")
    # Not every file system takes the colon of module:Class.
    return DEFAULT_FOLDER / f"{config.method.name.replace(':', '.')}-{data}-{now}"


def check_out(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that a run must not be written to; touches nothing."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out is a folder, got the file {out}; name another one")
    if resume:
        checkpoint.find(out)
    elif out.is_dir() and any(out.iterdir()):
        if not overwrite:
            raise UsageError(
                f"--out must be new or empty, got {out} with files in it; continue it with "
                "--resume, replace it with --overwrite, or name another one"
            )
        # Only a run may be replaced: --out ~ --overwrite must not empty a home.
        if not (out / CONFIG_NAME).is_file():
            raise UsageError(
                f"--overwrite replaces a former run, got {out} without {CONFIG_NAME}; "
                "name another folder"
            )


@contextmanager
def open_out(
    out: Path,
    config: TrainConfig,
    start: Mapping[str, Any],
    *,
    resume: bool,
    overwrite: bool = False,
) -> Iterator[None]:
    """Make the folder and write config.yaml (atomically), replacing a former run's files.

    The starts before this one stay in its head; on a full disk the former file does. No other
    process opens it meanwhile. Raises UsageError for files that are not to be replaced.
    """
    if not resume:  # a run that goes on has found its checkpoint
        check_out(out, resume=False, overwrite=overwrite)
    with ExitStack() as stack:
        _write_config(out, config, start, stack, resume=resume)
        yield


def _write_config(
    out: Path, config: TrainConfig, start: Mapping[str, Any], stack: ExitStack, *, resume: bool
) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        stack.enter_context(alone_in(out))
        if not resume:
            _remove_run(out)
        path = out / CONFIG_NAME
        former = path.read_text(encoding="utf-8") if resume and path.is_file() else ""
        write_whole(path, head_of([*read_starts(former), start]) + to_yaml(config))
    except OSError as error:
        raise DataError(
            f"--out must be a folder we may write to, got {out}: {error.strerror}; name another"
        ) from error


def read_config(run: Path) -> TrainConfig:
    """The config of a run, for those who use its encoder; UsageError when the folder is none.

    Terms are of training alone: they are left out, and nobody needs their code.
    """
    path = run / CONFIG_NAME
    if not path.is_file():
        raise UsageError(
            f"a run is a folder with {CONFIG_NAME}, got {run}; give the folder that "
            f"python -m trainer.run has left (--out)"
        )
    never_from(run)  # before any name in it is looked at
    values = as_it_was(read_recipe(str(path)))
    if isinstance(method := values.get("method"), dict):
        values["method"] = {key: value for key, value in method.items() if key != "terms"}
    return resolve(values)


def _remove_run(out: Path) -> None:
    for name in (checkpoint.FOLDER_NAME, "tensorboard", "wandb"):
        shutil.rmtree(out / name, ignore_errors=True)
    logs = ("metrics.jsonl", "mlflow-run-id", *PATTERNS)
    for pattern in (*logs, "nonfinite-step-*.npz"):
        for path in out.glob(pattern):
            path.unlink()
