"""`python -m trainer.evaluate RUN`: what a trained, frozen encoder is worth.

Nearest neighbours and a linear probe on features of centre views, beside the same encoder untrained
and, with --baselines, raw pixels. A number without those beside it says little on a small set. Or,
with --finetune, what the encoder is worth as a start: trained further on a part of the labels.
"""

from trainer.commands import begin

if __name__ == "__main__":
    begin()  # before what takes seconds to import

import argparse
import copy
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

import trainer.checkpoint as checkpoint
from augengine.backends.create_backend import create_backend
from augengine.decoders.create_decoder import create_decoder
from shards.errors import UsageError, run_command
from shards.terminal.commandline import CommandParser
from trainer.build import open_index
from trainer.checks import require
from trainer.config import TrainConfig
from trainer.device import choose_device
from trainer.eval.center_views import CenterViews
from trainer.eval.evaluation import Evaluation, Score
from trainer.eval.features import calibrated, describe_raw_pixels, raw_pixels
from trainer.eval.finetune import finetune_run
from trainer.eval.labelled import label_sets
from trainer.eval.scoreboard import (
    print_head,
    print_protocol,
    print_row,
    progress_bar,
    write_json,
)
from trainer.methods.plugin import describe
from trainer.networks import build_encoder, encoder_weights, load_weights
from trainer.rundir import read_config

EXAMPLES = """\
examples:
  python -m trainer.evaluate runs/demo --baselines
  python -m trainer.evaluate runs/mine --finetune 0.1
  python -m trainer.evaluate runs/mine --data sets/train --eval-data sets/val --json score.json

The encoder is frozen and in eval mode; every image gives one centre view of the training size.
kNN: cosine similarity, votes exp(s / T) (--k, --temperature). Linear probe: standardised features,
logistic regression, its L2 strength chosen on a held-out tenth of the training features. A row is
printed, and written to --json, as soon as it is there."""

PROBE_SECONDS = 300


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(lambda: _main(_parser().parse_args(argv)))


def _main(args: argparse.Namespace) -> int:
    run = Path(args.run)
    config = _with_flags(read_config(run), args)
    path = checkpoint.find(run, args.checkpoint)
    sys.stderr.write(describe(config.method.name))
    _check_json(args.json)
    require(
        args.probe_seconds > 0,
        "--probe-seconds is positive",
        args.probe_seconds,
        f"try {PROBE_SECONDS}",
    )
    evaluation = _open(config, args.probe_seconds)
    state = checkpoint.load(path)

    def conditions() -> dict[str, Any]:
        # As they were named: where the demo set is cached says nothing to another reader.
        names = {"train": str(config.data.train), "test": str(config.eval.data)}
        if args.baselines:
            names["raw_pixels"] = describe_raw_pixels(evaluation.views.size_px)
        return evaluation.conditions() | names | {"run": str(run), "checkpoint": str(path)}

    def keep(scores: list[Score], **others: Any) -> None:
        if args.json is not None:
            bad = evaluation.views.bad.items()
            samples = [{"data": data, **asdict(sample)} for (data, _), sample in bad]
            write_json(args.json, conditions(), scores, samples, **others)

    if args.finetune is not None:
        data = (evaluation.views, evaluation.sets, evaluation.device)
        flags = (args.finetune, args.head_layers, args.finetune_epochs)
        tuned = finetune_run(run, config, state, *data, *flags)
        keep([], finetune=asdict(tuned))
        return 0
    print_head(str(run))
    scores = []
    for score in _scores(config, evaluation, state, baselines=args.baselines):
        print_row(score)
        scores.append(score)
        keep(scores)
    print_protocol(conditions(), evaluation.views.describe(evaluation.sets))
    return 0


def _open(config: TrainConfig, probe_seconds: float) -> Evaluation:
    if config.data.train is None or config.eval.data is None:
        raise UsageError(
            "kNN and a linear probe need labelled held-out images, got no --eval-data; "
            "pack some with tools/make_shards.py"
        )
    train, test = open_index(config.data.train, config), open_index(config.eval.data, config)
    sets = label_sets(train, test, config.eval.max_train_images, config.eval.max_test_images)
    device = choose_device(config.run.device)
    backend = create_backend(config.data.backend, device, num_threads=config.data.workers)
    decoder = create_decoder(config.data.decoder, device, num_threads=config.data.workers)
    views = CenterViews(config.eval, config.data, config.policy.load(), backend, decoder)
    return Evaluation(views, sets, device, probe_seconds)


def _scores(
    config: TrainConfig, evaluation: Evaluation, state: dict, *, baselines: bool
) -> Iterator[Score]:
    """This run's encoder, then the same one untrained, then pixels."""

    def score(what: str, encode: Callable[[torch.Tensor], torch.Tensor]) -> Score:
        with progress_bar(what) as on_progress:
            return evaluation.score(what, encode, on_progress)

    weights = encoder_weights(config, state)
    encoder = build_encoder(config, config.policy.load(), weights).to(evaluation.device)
    untrained = copy.deepcopy(encoder)
    load_weights(encoder, weights)
    yield score(f"step {state['step']}", encoder.eval())
    views = evaluation.views(evaluation.sets.train)
    yield score("random encoder", calibrated(untrained, views, evaluation.device))
    if baselines:
        yield score("raw pixels", raw_pixels)


def _with_flags(config: TrainConfig, args: argparse.Namespace) -> TrainConfig:
    """The run's config with what the flags say; by default all images are used."""
    settings = {
        "data": args.eval_data or config.eval.data,
        "max_train_images": args.max_train_images,
        "max_test_images": 0,
        "k": config.eval.k if args.k is None else args.k,
        "temperature": config.eval.temperature if args.temperature is None else args.temperature,
    }
    data = {"train": args.data or config.data.train, "backend": args.backend or config.data.backend}
    return replace(
        config,
        data=replace(config.data, **data),
        eval=replace(config.eval, **settings),
        run=replace(config.run, device=args.device or config.run.device),
    )


def _check_json(path: Path | None) -> None:
    """Found out now rather than after minutes of work."""
    if path is not None and not path.resolve().parent.is_dir():
        raise UsageError(f"--json is a file in an existing folder, got {path}; make the folder")


def _parser() -> CommandParser:
    parser = CommandParser("python -m trainer.evaluate", __doc__, EXAMPLES)
    parser.add_argument("run", metavar="RUN", help="the folder of a run")
    parser.add_argument("--data", metavar="DIR", help="training shards (default: the run's)")
    parser.add_argument("--eval-data", metavar="DIR", help="held-out shards (default: the run's)")
    parser.add_argument(
        "--checkpoint", default="last", metavar="WHICH", help="last (default), best, a step, a file"
    )
    parser.add_argument("--baselines", action="store_true", help="raw pixels too")
    parser.add_argument(
        "--finetune", type=float, metavar="SHARE", help="train it on 0.01, 0.1, ... of the labels"
    )
    epochs, layers = "passes over them (60 for 1 %%, else 30)", "projector's, kept (SimCLR v2: 1)"
    parser.add_argument("--finetune-epochs", type=float, metavar="N", help=epochs)
    parser.add_argument("--head-layers", type=int, default=0, metavar="N", help=layers)
    parser.add_argument("--k", type=int, metavar="N", help="neighbours (default: the run's, 20)")
    parser.add_argument("--temperature", type=float, metavar="T", help="of the votes (0.07)")
    parser.add_argument(
        "--max-train-images", type=int, default=0, metavar="N", help="a fixed random part (all)"
    )
    parser.add_argument(
        "--probe-seconds", type=float, default=PROBE_SECONDS, metavar="S",
        help=f"at most, of a row's linear probe ({PROBE_SECONDS})",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scores there too")
    parser.add_argument("--backend", metavar="NAME", help="fused, dali, kornia or auto")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda or auto")
    return parser


if __name__ == "__main__":
    sys.exit(main())
