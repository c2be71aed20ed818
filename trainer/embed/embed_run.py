"""From an encoder and a set to a file of features: what a command does, on every rank.

The images are cut into parts; each rank makes those that are missing, a stream of batches for all
of its parts. A batch never crosses a part's border, so a row is the same whoever made it.
"""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from shards.errors import DataError, UsageError
from shards.index import ShardIndex
from shards.processes.cluster import Cluster, check_executor, maybe_cluster
from shards.terminal.console import new_console
from shards.terminal.counted import counted
from shards.terminal.output_file import check_output
from trainer.checks import require
from trainer.command.origins import OF_EXPORT, origins
from trainer.command.scoreboard import progress_bar
from trainer.command.scoring_ranks import refuse_ranks, say_first
from trainer.config import TrainConfig
from trainer.distributed import all_reduce_, on_first, process_group, rank, world_size
from trainer.embed.cluster_features import FeatureWords, make_on_cluster
from trainer.embed.feature_parts import FeatureParts, differences
from trainer.embed.feature_stream import FeatureStream
from trainer.embed.feature_table import SUFFIXES, read_facts, require_pyarrow, write_table
from trainer.embed.neighbours import nearest
from trainer.encoders.encoder import Encoder
from trainer.encoders.load_encoder import check_source, is_run, load_encoder
from trainer.recipes.recipe import resolve
from trainer.record.rundir import read_config
from trainer.settings.strict import merge, parse_override
from trainer.setup.data_sets import open_index
from trainer.setup.device import choose_device

MAX_NEIGHBOURS = 1024
# Ranks wait for each other at the end of a stage, and a stage may be long.
WAIT_S = 6 * 3600.0
OnProgress = Callable[[str, float], None]


def embed_run(args: argparse.Namespace) -> int:
    """The command's body; returns its exit code."""
    out = Path(args.out)
    try:
        config = _config(args)
        _check(args, out)
        told = origins(config, ("backends", "decoders"))
        if is_run(args.encoder):
            told += origins(read_config(Path(args.encoder)), OF_EXPORT)
        encoder = load_encoder(args.encoder, args.checkpoint)
        told += (getattr(encoder.module, "plugin_origin", ""),)
        say_first(text for text in dict.fromkeys(told) if text)
        if args.executor is not None:
            with maybe_cluster(args.executor) as cluster:
                return _embed(args, config, encoder, out, torch.device("cpu"), cluster)
        with process_group(choose_device(config.run.device).type, WAIT_S) as local_rank:
            return _embed(args, config, encoder, out, choose_device(config.run.device, local_rank))
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on with the next part\n")
        raise
    except (UsageError, DataError) as error:
        if "RANK" in os.environ:  # lines of several processes in one log
            raise type(error)(f"rank {os.environ['RANK']}: {error}") from error
        raise


def _embed(
    args: argparse.Namespace,
    config: TrainConfig,
    encoder: Encoder,
    out: Path,
    device: torch.device,
    cluster: Cluster | None = None,
) -> int:
    index = open_index(args.data, config)
    facts = _facts(args, encoder, index)
    parts = FeatureParts(out.absolute().with_name(f"{out.name}.parts"), facts)
    if on_first(lambda: _is_complete(out, facts, overwrite=args.overwrite)):
        _say(f"{out} is complete already, nothing was written")
        return 0
    missing = on_first(lambda: _prepare(parts, overwrite=args.overwrite))
    if len(missing) < parts.num_parts:
        _say(f"going on: {parts.num_parts - len(missing)} of {parts.num_parts} parts are there")
    _say(f"{encoder.name}: views of {encoder.preprocessing}")
    with progress_bar(f"embedding {args.data}") as show:
        if cluster is not None:
            make_on_cluster(cluster, _words(args, config, cluster), parts, show)
        else:
            _make_on_ranks(FeatureStream(config, encoder, index, parts, device), missing, show)
        num_rows = on_first(lambda: _finish(parts, out, facts, show))
    left_out = len(index) - num_rows
    bad = f"; {left_out:,} left out, since they cannot be read" if left_out else ""
    kind = f"{encoder.feature_dim} features {args.dtype}"
    _say(f"wrote {out}: {counted(num_rows, 'image')}, {kind}{bad}")
    return 0


def _make_on_ranks(stream: FeatureStream, missing: list[int], show: OnProgress) -> None:
    parts, device = stream.parts, stream.device
    stream.make(missing[rank() :: world_size()], lambda share: show("features", share))
    _meet(device)
    if k := parts.facts["neighbours"]:
        ours = on_first(lambda: parts.missing(k))[rank() :: world_size()]
        for done, part in enumerate(ours, start=1):
            parts.write(part, nearest(parts, part, k, device), k)
            show("neighbours", done / len(ours))
        _meet(device)


def _words(args: argparse.Namespace, config: TrainConfig, cluster: Cluster) -> FeatureWords:
    """Paths in full, for machines that work elsewhere; a task has a core, or a GPU too."""
    device = config.run.device
    if device == "auto":
        device = "cuda" if cluster.gpus else "cpu"
    own_threads = any(text.startswith("data.workers=") for text in args.overrides)
    workers = config.data.workers if own_threads else 1
    config = replace(
        config,
        run=replace(config.run, device=device),
        data=replace(config.data, workers=workers),
    )
    return FeatureWords(_in_full(args.encoder), args.checkpoint, _in_full(args.data), config)


def _in_full(name: str) -> str:
    path = Path(name)
    return str(path.absolute()) if path.exists() else name


def _config(args: argparse.Namespace) -> TrainConfig:
    """Of the data alone: what is typed as data.KEY=VALUE, and the flags."""
    values: dict[str, Any] = {}
    for override in args.overrides:
        values = merge(values, parse_override(override))
    if others := sorted(set(values) - {"data"}):
        raise UsageError(
            f"python -m trainer.embed takes keys of data, got {others[0]}.*; leave it out"
        )
    values = merge({"data": {"train": args.data}}, values)
    if args.backend is not None:
        values["data"]["backend"] = args.backend
    config = resolve(values)
    return replace(config, run=replace(config.run, device=args.device or "auto"))


def _check(args: argparse.Namespace, out: Path) -> None:
    """Refuse what can be refused before anything is loaded."""
    check_source(args.encoder)
    if args.executor is not None:
        check_executor(args.executor)
        refuse_ranks("--executor")
    check_output("--out", out, SUFFIXES)
    if out.suffix.lower() == ".parquet":
        require_pyarrow()
    k, batch, part = args.neighbours, args.batch_size, args.part_images
    rule = f"--neighbours lies in [0, {MAX_NEIGHBOURS}]"
    require(0 <= k <= MAX_NEIGHBOURS, rule, k, "try --neighbours 10")
    require(batch >= 1, "--batch-size is at least 1", batch, "try --batch-size 256")
    require(part >= 1, "--part-images is at least 1", part, "try --part-images 4096")


def _facts(args: argparse.Namespace, encoder: Encoder, index: ShardIndex) -> dict[str, Any]:
    """The identity of features; equal for the same ones."""
    if not len(index):
        raise DataError(f"a data set has at least one sample, got none in {args.data}")
    feeding, batch = encoder.preprocessing, args.batch_size
    return {
        "version": 1,
        "encoder": encoder.name,
        "weights_sha256": encoder.digest(),
        "size_px": feeding.size_px,
        "fraction": feeding.fraction,
        "mean": list(feeding.mean),
        "std": list(feeding.std),
        "data": args.data,
        "data_fingerprint": index.fingerprint,
        "classes": list(index.classes),
        "images": len(index),
        "feature_dim": encoder.feature_dim,
        "dtype": args.dtype,
        "batch_size": batch,
        # Whole batches, so that none crosses a border.
        "part_images": -(-args.part_images // batch) * batch,
        "neighbours": args.neighbours,
    }


def _is_complete(out: Path, facts: dict[str, Any], *, overwrite: bool) -> bool:
    """Whether these features are there; UsageError when others are."""
    if overwrite or not out.exists():
        return False
    try:
        found = read_facts(out)
    except DataError as error:
        raise UsageError(
            f"--out is new, or these features already, got {out} ({error}); replace it with "
            "--overwrite, or name another"
        ) from error
    odd = differences(facts, found)
    if not odd and found.get("neighbours") == facts["neighbours"]:
        return True
    odd = odd or f"neighbours ({found.get('neighbours')}, not {facts['neighbours']})"
    raise UsageError(
        f"--out is new, or these features already, got {out} with another {odd}; replace it with "
        "--overwrite, or name another"
    )


def _prepare(parts: FeatureParts, *, overwrite: bool) -> list[int]:
    parts.prepare(overwrite=overwrite)
    return parts.missing()


def _finish(parts: FeatureParts, out: Path, facts: dict[str, Any], show: OnProgress) -> int:
    num_rows = write_table(
        parts, out, facts, lambda part: show("writing", (part + 1) / parts.num_parts)
    )
    parts.remove()
    return num_rows


def _meet(device: torch.device) -> None:
    """Wait until every rank is here."""
    all_reduce_(torch.zeros(1, device=device))


def _say(line: str) -> None:
    if rank() == 0:
        new_console(soft_wrap=True).print(line)
