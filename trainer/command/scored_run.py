"""Scores the encoder of a run as the flags say: kNN and a linear probe, or fine-tuned.

The run's own config says which data, views and network; flags change the data and the numbers.
"""

import argparse
import copy
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

import trainer.checkpoint as checkpoint
from augengine.backends.create_backend import create_backend
from shards.errors import DataError, UsageError
from shards.terminal.output_file import check_output
from trainer.checks import require
from trainer.command.origins import OF_EVALUATION, origins
from trainer.command.scoreboard import (
    print_head,
    print_line,
    print_protocol,
    print_row,
    progress_bar,
    write_json,
)
from trainer.command.scoring_ranks import refuse_ranks, say_first, scoring_ranks
from trainer.config import TrainConfig
from trainer.eval.center_views import CenterViews
from trainer.eval.evaluation import Evaluation, Score
from trainer.eval.features import describe_raw_pixels, raw_pixels
from trainer.eval.finetune import finetune_run
from trainer.eval.labelled_pair import open_labelled
from trainer.record.rundir import CONFIG_NAME, read_config
from trainer.record.starts import weights_taken
from trainer.settings.weighted_sets import in_words
from trainer.setup.beginning import GIVEN, RANDOM, encoder_as_begun
from trainer.setup.decoding import open_decoder
from trainer.setup.device import choose_device
from trainer.setup.networks import build_encoder, encoder_weights, load_weights


def score_run(args: argparse.Namespace) -> int:
    """Print a row as soon as it is there, and write it to --json; returns the exit code."""
    run = Path(args.run)
    config = with_flags(read_config(run), args)
    path = checkpoint.find(run, args.checkpoint)
    say_first(origins(config, OF_EVALUATION))
    check_flags(args)
    with scoring_ranks(config, args) as device:
        return _score(run, config, path, args, device)


def _score(
    run: Path, config: TrainConfig, path: Path, args: argparse.Namespace, device: torch.device
) -> int:
    evaluation = open_evaluation(config, args.probe_seconds, device)
    state = checkpoint.load(path)

    def conditions() -> dict[str, Any]:
        # As they were named: where the demo set is cached says nothing to another reader.
        train = in_words(config.eval.train or config.data.train)
        names = {"train": train, "test": str(config.eval.data)}
        if args.baselines:
            names["raw_pixels"] = describe_raw_pixels(evaluation.views.size_px)
        return evaluation.conditions() | names | {"run": str(run), "checkpoint": str(path)}

    def keep(scores: list[Score], **others: Any) -> None:
        if args.json is not None:
            bad = evaluation.views.every_bad.items()
            samples = [{"data": data, **asdict(sample)} for (data, _), sample in bad]
            write_json(args.json, conditions(), scores, samples, **others)

    if args.finetune is not None:
        flags = (args.finetune, args.head_layers, args.finetune_epochs)
        tuned = finetune_run(run, config, state, evaluation, *flags)
        keep([], finetune=asdict(tuned))
        return 0
    print_head(str(run))
    scores = []
    for score in _scores(run, config, evaluation, state, baselines=args.baselines):
        print_row(score)
        scores.append(score)
        keep(scores)
    print_protocol(conditions(), evaluation.views.describe(evaluation.sets))
    return 0


def open_evaluation(
    config: TrainConfig,
    probe_seconds: float,
    device: torch.device | None = None,  # None: as the config says
) -> Evaluation:
    """The labelled sets of a config, and the engine that makes their views."""
    sets = open_labelled(config)
    device = choose_device(config.run.device) if device is None else device
    backend = create_backend(config.data.backend, device, num_threads=config.data.workers)
    decoder = open_decoder(config.data, device)
    views = CenterViews(config.eval, config.data, config.policy.load(), backend, decoder)
    return Evaluation(views, sets, device, probe_seconds)


def _scores(
    run: Path, config: TrainConfig, evaluation: Evaluation, state: dict, *, baselines: bool
) -> Iterator[Score]:
    """This run's encoder, then the one that it began with, then pixels."""

    def score(what: str, encode: Callable[[torch.Tensor], torch.Tensor]) -> Score:
        with progress_bar(what) as on_progress:
            return evaluation.score(what, encode, on_progress)

    weights = encoder_weights(config, state)
    policy = config.policy.load()
    encoder = build_encoder(config, policy, weights).to(evaluation.device)
    untrained = copy.deepcopy(encoder)
    load_weights(encoder, weights)
    yield score(f"step {state['step']}", encoder.eval())
    if config.backbone.weights is None:
        yield score(RANDOM, evaluation.calibrated(untrained))
    else:
        try:
            given = encoder_as_begun(config, policy, weights_taken(run / CONFIG_NAME))
        except (UsageError, DataError) as error:
            print_line(f"{GIVEN:<16}not scored: {error}")
        else:
            yield score(GIVEN, given.to(evaluation.device).eval())
    if baselines:
        yield score("raw pixels", raw_pixels)


def with_flags(config: TrainConfig, args: argparse.Namespace) -> TrainConfig:
    """The run's config with what the flags say; by default all images are used."""
    settings: dict[str, Any] = {
        "data": args.eval_data or config.eval.data,
        "max_train_images": args.max_train_images,
        "max_test_images": 0,
        "k": config.eval.k if args.k is None else args.k,
        "temperature": config.eval.temperature if args.temperature is None else args.temperature,
    }
    data: dict[str, Any] = {"backend": args.backend or config.data.backend}
    if args.data:  # another set than the one that the skip list is of
        data |= {"train": tuple(args.data), "former_weights": (), "skip_list": None}
        settings["train"] = None
    return replace(
        config,
        data=replace(config.data, **data),
        eval=replace(config.eval, **settings),
        run=replace(config.run, device=args.device or config.run.device),
    )


def check_flags(args: argparse.Namespace) -> None:
    """Found out now rather than after minutes of work."""
    check_output("--json", args.json)
    if args.finetune is not None:
        refuse_ranks("--finetune")
    require(
        args.probe_seconds > 0,
        "--probe-seconds is positive",
        args.probe_seconds,
        "try 300",
    )
