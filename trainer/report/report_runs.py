"""From one or two runs to a page: what a command does.

What the folders say is read first, then their images are looked at; whatever is not there costs its
panel alone, and is said in it.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import trainer.checkpoint as checkpoint
from shards.atomic import write_whole
from shards.errors import DataError, UsageError
from shards.plugins.optional_library import optional_library
from shards.terminal.commandline import version
from shards.terminal.output_file import check_output
from trainer.checks import require
from trainer.command.origins import OF_EVALUATION, origins
from trainer.command.scoreboard import progress_bar
from trainer.config import TrainConfig
from trainer.encoders.load_encoder import run_encoder
from trainer.report.class_panels import classes_panel, problems_panel
from trainer.report.curve_panels import learning, measures, scores
from trainer.report.headline import describe, headline
from trainer.report.held_out import HeldOut, limited, look_at_held_out
from trainer.report.image_panels import neighbours_panel, views_panel
from trainer.report.map_panel import map_panel
from trainer.report.page import page
from trainer.report.run_record import RunRecord, read_run
from trainer.report.seen_views import SeenImage, views_seen
from trainer.report.time_panel import where_time_went
from trainer.report.what_was_run import what_was_run
from trainer.setup.device import choose_device

NAME = "report.html"
_ONLY_RECORDS = "--records-only was typed, so that no encoder and no image was loaded."
T = TypeVar("T")


def report_runs(args: argparse.Namespace) -> int:
    """Write the page; returns the exit code."""
    folders = [args.run] if args.other is None else [args.run, args.other]
    out = _check(args, folders)
    runs = [read_run(folder) for folder in folders]
    names = [run.name for run in runs]
    seen: list[tuple[SeenImage, ...] | str] = []
    found: list[HeldOut | str] = []
    for run in runs:
        seen.append(_or_why(lambda run=run: views_seen(_config(run, args))))
        found.append(_or_why(lambda run=run: _held_out(run, args)))
    panels = [
        what_was_run(runs),
        learning(runs),
        scores(runs),
        measures(runs),
        where_time_went(runs),
        views_panel(seen, names),
        neighbours_panel(found, names),
        map_panel(found, names),
        classes_panel(found, names),
        problems_panel(runs),
    ]
    made = f"Made by augengine {version()} on {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"
    title = " beside ".join(names)
    text = page(title, describe(runs), headline(runs), panels, made)
    write_whole(out, text)
    sys.stderr.write(f"wrote {out}: {len(text.encode()) / 2**20:.1f} MiB, open it in a browser\n")
    for panel in panels:
        sys.stderr.writelines(
            f"  {panel.title}: {text}\n" for text in dict.fromkeys(panel.left_out)
        )
    return 0


def _check(args: argparse.Namespace, folders: Sequence[Path]) -> Path:
    """Refuse what can be refused before anything is loaded; returns where the page goes."""
    optional_library("matplotlib", "a report", "'augengine[report]'")
    for folder in folders:
        read_run(folder)
    most = args.max_images
    require(most is None or most >= 1, "--max-images is at least 1", most, "try 1000")
    out: Path = args.out or folders[0] / NAME
    check_output("--out", out, (".html", ".htm"))
    # In a folder of somebody else's a link would lead to a file of ours.
    if args.out is None and out.exists() and not out.is_file():
        raise UsageError(f"--out is a file, got {out}; name another one")
    if args.out is None and out.is_symlink():
        raise UsageError(
            f"a report replaces no link that lies in a run, got {out}; remove it, or name a file "
            "with --out"
        )
    return out


def _config(run: RunRecord, args: argparse.Namespace) -> TrainConfig:
    """The run's, with the sets and the engine that flags name."""
    if args.records_only:
        raise UsageError(_ONLY_RECORDS)
    if run.config is None:
        raise UsageError(f"config.yaml cannot be read: {run.config_problem}")
    config, data = run.config, run.config.data
    if args.data:
        data = replace(data, train=tuple(args.data), former_weights=(), skip_list=None)
    data = replace(data, backend=args.backend or data.backend)
    held_out = replace(config.eval, data=args.eval_data or config.eval.data)
    if args.data:
        held_out = replace(held_out, train=None)
    device = args.device or config.run.device
    config = replace(config, data=data, eval=held_out, run=replace(config.run, device=device))
    return limited(config, args.max_images)


def _held_out(run: RunRecord, args: argparse.Namespace) -> HeldOut:
    config = _config(run, args)
    if config.eval.data is None:
        raise UsageError("there are no held-out images; add --eval-data SHARDS to this command.")
    path = checkpoint.find(run.folder, args.checkpoint)
    sys.stderr.writelines(f"{text}\n" for text in origins(config, OF_EVALUATION))
    encoder = run_encoder(run.folder, config, args.checkpoint)
    step = checkpoint.load(path)["step"]
    with progress_bar(f"looking at {run.name}") as show:
        return look_at_held_out(
            config, encoder, step, choose_device(config.run.device), lambda x: show("features", x)
        )


def _or_why(make: Callable[[], T]) -> T | str:
    """What is made, or the sentence that says why it cannot be."""
    try:
        return make()
    except (UsageError, DataError) as error:
        return str(error)
