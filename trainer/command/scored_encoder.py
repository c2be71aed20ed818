"""Scores an encoder that is no run: an exported file, a model of timm, anybody's module.

The sets are named by flags, views and colours are the encoder's own; the numbers are those by which
runs are judged. An exported file's network is scored untrained beside it.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import nn

from shards.errors import UsageError
from trainer.command.scoreboard import (
    print_head,
    print_protocol,
    print_row,
    progress_bar,
    write_json,
)
from trainer.command.scored_run import check_flags, open_evaluation, with_flags
from trainer.command.scoring_ranks import say_first, scoring_ranks
from trainer.config import EvalConfig, TrainConfig
from trainer.encoders.encoder import Encoder
from trainer.encoders.encoder_reader import untrained
from trainer.encoders.load_encoder import check_source, load_encoder
from trainer.eval.evaluation import Evaluation, Score
from trainer.eval.features import describe_raw_pixels, raw_pixels
from trainer.settings.weighted_sets import in_words


def score_encoder(args: argparse.Namespace) -> int:
    """Print a row as soon as it is there, and write it to --json; returns the exit code."""
    check_source(args.run)
    check_flags(args)
    if args.finetune is not None:
        raise UsageError(
            f"--finetune trains the encoder of a run further, got {args.run}, which is none; name "
            "a run's folder"
        )
    require_sets(args)
    encoder = load_encoder(args.run, args.checkpoint)
    if own := getattr(encoder.module, "plugin_origin", ""):
        say_first([own])
    say_first([f"{encoder.name}: views of {encoder.preprocessing}"])
    with scoring_ranks(with_flags(TrainConfig(), args), args) as device:
        return _score(encoder, args, device)


def _score(encoder: Encoder, args: argparse.Namespace, device: torch.device) -> int:
    evaluation = open_as_wanted(encoder, args, device=device)

    def conditions() -> dict[str, Any]:
        train = in_words(args.data)
        names = {"train": train, "test": args.eval_data, "encoder": encoder.name}
        if args.baselines:
            names["raw_pixels"] = describe_raw_pixels(evaluation.views.size_px)
        return evaluation.conditions() | names | {"weights_sha256": encoder.digest()}

    print_head(encoder.name)
    scores = []
    for score in _scores(encoder, evaluation, baselines=args.baselines):
        print_row(score)
        scores.append(score)
        if args.json is not None:
            bad = evaluation.views.every_bad.items()
            samples = [{"data": data, **asdict(sample)} for (data, _), sample in bad]
            write_json(args.json, conditions(), scores, samples)
    print_protocol(conditions(), evaluation.views.describe(evaluation.sets))
    return 0


def require_sets(args: argparse.Namespace) -> None:
    """UsageError where a set has no name: only a run has sets of its own."""
    for flag, value in (("--data", args.data), ("--eval-data", args.eval_data)):
        if value is None:
            raise UsageError(
                f"an encoder that is no run is scored on sets that are named, got no {flag}; add "
                f"{flag} SHARDS"
            )


def open_as_wanted(
    encoder: Encoder,
    args: argparse.Namespace,
    max_test_images: int = 0,
    device: torch.device | None = None,  # None: as the flags say
) -> Evaluation:
    """The sets of the flags, seen as the encoder wants them."""
    feeding = encoder.preprocessing
    views = EvalConfig(size_px=feeding.size_px, fraction=feeding.fraction)
    config = with_flags(TrainConfig(eval=views), args)
    config = replace(config, eval=replace(config.eval, max_test_images=max_test_images))
    evaluation = open_evaluation(config, args.probe_seconds, device)
    policy = replace(evaluation.views.policy, mean=feeding.mean, std=feeding.std)
    return replace(evaluation, views=replace(evaluation.views, policy=policy))


def _scores(encoder: Encoder, evaluation: Evaluation, *, baselines: bool) -> Iterator[Score]:
    """This encoder, the same one untrained where it can be built anew, then pixels."""

    def score(what: str, encode: Callable[[torch.Tensor], torch.Tensor]) -> Score:
        with progress_bar(what) as on_progress:
            return evaluation.score(what, encode, on_progress)

    yield score("encoder", encoder.module.to(evaluation.device))
    blank: nn.Module | None = untrained(encoder.metadata) if encoder.metadata else None
    if blank is not None:
        blank = blank.to(evaluation.device)
        yield score("random encoder", evaluation.calibrated(blank))
    if baselines:
        yield score("raw pixels", raw_pixels)
