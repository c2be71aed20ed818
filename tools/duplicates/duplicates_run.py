"""From a file of features to groups, and to the files that tell of them."""

import argparse
import shlex
from pathlib import Path

import numpy as np

from shards.atomic import write_whole
from shards.errors import DataError, UsageError
from shards.index import ShardIndex
from shards.samples.skip_list import skip_list_text
from shards.terminal.console import new_console
from shards.terminal.counted import agreed, counted
from shards.terminal.output_file import check_output
from tools.duplicates.groups_picture import draw_groups, picture_bytes
from tools.duplicates.groups_table import count_mixed, groups_csv
from tools.duplicates.near_groups import Nearest, find_nearest
from trainer.checks import require
from trainer.command.scoreboard import progress_bar
from trainer.config import TrainConfig
from trainer.embed.feature_table import FeatureTable, read_features
from trainer.setup.data_sets import open_index
from trainer.setup.device import choose_device

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
_OTHERS = (0.99, 0.98, 0.95, 0.9, 0.8)  # thresholds that are counted beside the one asked for


def find_duplicates(args: argparse.Namespace) -> int:
    """The command's body; returns its exit code."""
    _check(args)
    device = choose_device(args.device)
    table = read_features(args.features)
    picture_path: Path | None = args.picture
    index = None if picture_path is None else _index(args, table)
    with progress_bar(f"comparing {counted(len(table), 'image')}") as show:
        nearest = find_nearest(table.features, device, lambda share: show("all pairs", share))
    groups = nearest.groups(args.threshold)
    _tell(args, table, nearest, groups)
    write_whole(args.table, groups_csv(table, nearest, groups))
    written = [str(args.table)]
    if args.skip_list is not None:
        others = np.sort(np.concatenate([np.empty(0, np.int64), *(g[1:] for g in groups)]))
        _write_skip_list(args.skip_list, table, others)
        written.append(f"{args.skip_list} ({counted(len(others), 'image')})")
    if picture_path is not None and index is not None and groups:
        title = f"{args.features.name}: {counted(len(groups), 'group')} at {args.threshold:g}"
        picture = draw_groups(index, table, nearest, groups, title)
        write_whole(picture_path, picture_bytes(picture, picture_path.suffix))
        written.append(str(picture_path))
    _say(f"wrote {', '.join(written)}")
    if args.skip_list is not None and groups:
        data = table.facts.get("data", "SHARDS")
        words = ["--data", str(data), f"data.skip_list={args.skip_list}"]
        _say(f"next: python -m trainer.run {shlex.join(words)}")
    return 0


def _check(args: argparse.Namespace) -> None:
    rule = "--threshold is a cosine in (0, 1]"
    require(0 < args.threshold <= 1, rule, args.threshold, "try --threshold 0.98")
    check_output("--table", args.table)
    check_output("--picture", args.picture, PICTURES)
    check_output("--skip-list", args.skip_list)


def _index(args: argparse.Namespace, table: FeatureTable) -> ShardIndex:
    """The images that the features are of."""
    data = args.data or table.facts.get("data")
    if data is None:
        raise UsageError(
            f"--picture needs the images, and {args.features} does not say where they are; give "
            "--data SHARDS"
        )
    index = open_index(data, TrainConfig())
    if table.facts and index.fingerprint != table.facts.get("data_fingerprint"):
        raise DataError(
            f"a picture is of the images that the features are of, got others in {data} "
            f"(fingerprint {index.fingerprint[:12]}); give their --data"
        )
    if len(table) and int(table.ids.max()) >= len(index):
        raise DataError(
            f"features are of the images of --data, got sample {int(table.ids.max())} of "
            f"{len(index)} in {data}; give their --data"
        )
    return index


def _tell(
    args: argparse.Namespace, table: FeatureTable, nearest: Nearest, groups: list[np.ndarray]
) -> None:
    others = nearest.count(args.threshold)
    share = others / max(1, len(table))
    _say(
        f"{args.features}: {counted(len(table), 'image')}; {counted(len(groups), 'group')} at a "
        f"cosine of {args.threshold:g}, {counted(others, 'image')} ({share:.1%}) "
        f"{agreed(others, 'is', 'are')} like one before them"
    )
    counts = (f"{threshold:g}: {nearest.count(threshold):,}" for threshold in _OTHERS)
    _say(f"at other thresholds  {'   '.join(counts)}")
    if mixed := count_mixed(table, groups):
        _say(
            f"note: {counted(mixed, 'group')} {agreed(mixed, 'has', 'have')} more than one "
            "label; --picture shows groups"
        )


def _write_skip_list(path: Path, table: FeatureTable, rows: np.ndarray) -> None:
    chosen = rows.tolist()
    names, keys = ([texts[row] for row in chosen] for texts in (table.names, table.keys))
    fingerprint = str(table.facts.get("data_fingerprint", ""))
    write_whole(path, skip_list_text(names, keys, table.ids[rows].tolist(), fingerprint))


def _say(line: str) -> None:
    new_console(soft_wrap=True).print(line)
