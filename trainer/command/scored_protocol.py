"""Scores any encoder by a protocol of the papers: rows printed and written as they are made.

A run's own sets, or those of --data and --eval-data; for transfer those of --to, one after the
other. Rows go into --out, else into the run's folder; the images of a part of the labels beside it.
"""

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from shards.atomic import atomic_file
from shards.index import ShardIndex
from trainer.command.origins import OF_EVALUATION, origins
from trainer.command.scoreboard import print_line, progress_bar, write_json
from trainer.command.scored_encoder import open_as_wanted, require_sets
from trainer.command.scored_run import check_flags, open_evaluation, with_flags
from trainer.command.scoring_ranks import refuse_ranks, say_first
from trainer.encoders.encoder import Encoder
from trainer.encoders.load_encoder import check_source, is_run, load_encoder
from trainer.eval.evaluation import Evaluation
from trainer.protocols.corruptions import CPU_TEST_IMAGES
from trainer.protocols.protocol_names import PROTOCOLS
from trainer.protocols.protocol_table import PROTOCOL_TABLE, seconds_of
from trainer.protocols.task import Row, Task
from trainer.record.rundir import read_config
from trainer.setup.device import choose_device


def score_protocol(args: argparse.Namespace) -> int:
    """Print a row as soon as it is there, and write it; returns the exit code."""
    _check(args)
    told = origins(read_config(Path(args.run)), OF_EVALUATION) if is_run(args.run) else ()
    encoder = load_encoder(args.run, args.checkpoint)
    told += (getattr(encoder.module, "plugin_origin", ""),)
    say_first(text for text in dict.fromkeys(told) if text)
    # All are opened before the first is scored: a wrong name is said at once.
    evaluations = dict(_open(encoder, args))
    tasks = {name: _task(encoder, found, args) for name, found in evaluations.items()}
    _say_cost(args.protocol, tasks)
    print_line(f"{encoder.name}: {args.protocol}")
    print_line(_head(args.protocol))
    rows: list[Row] = []
    path = args.json or (_default_path(args) if is_run(args.run) else None)
    for name, task in tasks.items():
        with progress_bar(name) as on_progress:
            watched = replace(task, on_progress=on_progress)
            for row in PROTOCOL_TABLE[args.protocol].rows(watched, name):
                print_line(_line(row))
                rows.append(row)
                if path is not None:
                    _write(path, args, encoder, evaluations, rows)
                    _list_images(path, row, task.sets.train.index)
    for name, found in evaluations.items():
        print_line(f"{name}: {found.views.describe(found.sets)}")
    print_line(f"{PROTOCOL_TABLE[args.protocol].rule}{f'; {path}' if path else ''}")
    return 0


def _check(args: argparse.Namespace) -> None:
    """All that can be said before anything is loaded."""
    check_source(args.run)
    check_flags(args)
    refuse_ranks("a protocol")
    if not args.to and not is_run(args.run):
        require_sets(args)


def _open(encoder: Encoder, args: argparse.Namespace) -> Iterator[tuple[str, Evaluation]]:
    """By the names that their rows have."""
    for name, train, test in args.to or ((args.protocol, None, None),):
        own = argparse.Namespace(**vars(args))
        if train is not None:
            own.data, own.eval_data = [train], test
        if is_run(args.run):
            config = with_flags(read_config(Path(args.run)), own)
            if args.protocol == "corruptions":
                most = _most_test_images(args, config.run.device)
                config = replace(config, eval=replace(config.eval, max_test_images=most))
            found = open_evaluation(config, args.probe_seconds)
        else:
            most = _most_test_images(args, args.device or "auto")
            found = open_as_wanted(encoder, own, most if args.protocol == "corruptions" else 0)
        yield name, found


def _most_test_images(args: argparse.Namespace, device: str) -> int:
    if args.max_test_images is not None:
        return args.max_test_images
    return CPU_TEST_IMAGES if choose_device(device).type == "cpu" else 0


def _task(encoder: Encoder, evaluation: Evaluation, args: argparse.Namespace) -> Task:
    return Task(
        encoder=encoder.module,
        feature_dim=encoder.feature_dim,
        views=evaluation.views,
        sets=evaluation.sets,
        device=evaluation.device,
        seeds=args.seeds,
        epochs=args.epochs,
        rates=args.rates,
        decays=args.decays,
        k=args.k,
        temperature=args.temperature,
    )


def _say_cost(name: str, tasks: dict[str, Task]) -> None:
    protocol = PROTOCOL_TABLE[name]
    others = sum(protocol.other_seconds(task) for task in tasks.values())
    forwards = sum(protocol.forwards(task) for task in tasks.values())
    seconds = others + sum(seconds_of(task, protocol.forwards(task)) for task in tasks.values())
    took = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    sys.stderr.write(
        f"about {took} as this machine goes just now: {forwards:,.0f} images through the encoder "
        "(a training step is three)\n"
    )


def _head(name: str) -> str:
    first, *others = PROTOCOLS[name].columns
    return f"{'':<20}{first:>8}{'spread':>8}" + "".join(f"{column:>8}" for column in others)


def _line(row: Row) -> str:
    first, *others = row.scores
    spread = "" if row.spread is None else f"±{100 * row.spread:.1f}"
    cells = "".join(f"{score:>8.1%}" for score in others)
    return f"{row.what:<20}{first:>8.1%}{spread:>8}{cells}  {row.note}".rstrip()


def _default_path(args: argparse.Namespace) -> Path:
    return Path(args.run) / f"protocol-{args.protocol}.json"


def _write(
    path: Path,
    args: argparse.Namespace,
    encoder: Encoder,
    evaluations: dict[str, Evaluation],
    rows: list[Row],
) -> None:
    own: dict[str, Any] = {"encoder": encoder.name, "weights_sha256": encoder.digest()}
    own |= {"seeds": args.seeds, "rule": PROTOCOL_TABLE[args.protocol].rule}
    for flag in PROTOCOLS[args.protocol].takes - {"to"}:
        own[flag] = getattr(args, flag)
    # What a protocol that chooses them has in its rows.
    others = () if args.protocol == "transfer" else ("k", "temperature", "linear")
    own["sets"] = {
        name: {key: value for key, value in found.conditions().items() if key not in others}
        for name, found in evaluations.items()
    }
    bad = [
        {"set": name, "data": data, **asdict(sample)}
        for name, found in evaluations.items()
        for (data, _), sample in found.views.bad.items()
    ]
    plain = [_plain(row) for row in rows]
    columns = PROTOCOLS[args.protocol].columns
    write_json(path, own, [], bad, protocol=args.protocol, columns=columns, rows=plain)


def _plain(row: Row) -> dict[str, Any]:
    """As JSON has it: no NaN, and the images in a list beside it."""
    sweep = {key: None if math.isnan(score) else score for key, score in row.sweep.items()}
    values = asdict(row) | {"sweep": sweep, "num_images_listed": len(row.image_ids)}
    del values["image_ids"]
    return values


def _list_images(path: Path, row: Row, index: ShardIndex) -> None:
    """Number and name of each image of a part of the labels, a line each."""
    if not row.image_ids:
        return
    names = index.names(row.image_ids)
    lines = [f"{id}\t{name}\n" for id, name in zip(row.image_ids, names, strict=True)]
    with atomic_file(path.with_name(f"{path.stem}-seed{row.seed}.txt")) as file:
        file.write("".join(lines).encode())
