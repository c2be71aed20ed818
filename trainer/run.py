"""`python -m trainer.run`: from flags, a recipe and key=value to a run.

Flags are for what people change daily; every other key of the config is `section.key=value`.
Without --data the built-in demo set trains on a CPU in a few minutes.
"""

from trainer.command.begin import begin

if __name__ == "__main__":
    begin()  # before what takes seconds to import

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from shards.errors import DataError, UsageError, room_named
from shards.terminal.commandline import CommandParser
from shards.terminal.console import new_console
from trainer.command.on_ranks import run_on_ranks
from trainer.recipes.catalogue import RECIPES, catalogue

# What loads torch is imported by the functions that need it: --help and a wrong flag do not.
if TYPE_CHECKING:
    from trainer.config import TrainConfig
    from trainer.train import Outcome

EXAMPLES = f"""\
examples:
  python -m trainer.run                                   the demo set, a few CPU minutes
  python -m trainer.run --data sets/train --eval-data sets/val --minutes 20     all fitted
  python -m trainer.run --data sets/train --eval-data sets/val --method swav --views 2+6
  python -m trainer.run --data sets/a --data sets/b:0.3     an epoch: all of a, 30 % of b
  python -m trainer.run --data sets/train --config byol --epochs 100 optim.base_lr=0.45
  python -m trainer.run --data sets/web --eval-train sets/train --eval-data sets/val eval.probe=true
  python -m trainer.run --out runs/mine --resume          continue a run exactly
  torchrun --nproc-per-node 8 -m trainer.run --data sets/train --out runs/eight --resume auto

Shards are made by `python -m tools.make_shards SOURCE OUT`. Without --config every key that you do
not type is fitted to the images, the machine and the time, and told with its reason; --config NAME
is a paper's run, exactly. The shipped recipes (YAML) lie in
{RECIPES}
and --list names them. --print-config shows every key with its value and trains nothing; what a key
means stands in trainer/config.py. A class of yours has a name too, package.module:Class
(docs/code.md). Order: defaults < fitted or recipe < flags < key=value."""


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    return run_on_ranks(lambda: _main(arguments))


def _main(arguments: list[str]) -> int:
    args = _parse(arguments)
    stdout = new_console(soft_wrap=True)
    if args.list:
        stdout.print(catalogue(args.method))
        return 0
    with ExitStack() as ranks:
        return _run(args, arguments, ranks)


def _run(args: argparse.Namespace, arguments: list[str], ranks: ExitStack) -> int:
    from trainer.command.command_config import resolve_config
    from trainer.recipes.recipe import located, to_yaml
    from trainer.record.rundir import check_out, default_out

    stdout = new_console(soft_wrap=True)
    if args.out is not None and not args.print_config:  # before a pace is measured
        check_out(Path(args.out), resume=args.resume, overwrite=args.overwrite)
    config, notes = resolve_config(args, ranks)
    if args.print_config:
        stdout.print(to_yaml(config), end="")
        return 0
    if args.resume and args.out is None:
        raise UsageError("--resume needs the run to continue, got no --out; add --out RUN")
    from trainer.command.ending import describe_end

    config = located(config)
    out = Path(args.out) if args.out else default_out(config)
    command = f"python -m trainer.run {shlex.join(arguments)}".rstrip()
    try:
        with room_named():
            way = {"resume": args.resume, "overwrite": args.overwrite}
            outcome = _train(config, out, command, notes, **way)
    except (UsageError, DataError) as error:
        if "RANK" in os.environ:  # lines of several processes in one log
            raise type(error)(f"rank {os.environ['RANK']}: {error}") from error
        raise
    if os.environ.get("RANK", "0") == "0":
        stdout.print(describe_end(config, out, outcome))
    return outcome.exit_code


def _train(
    config: "TrainConfig", out: Path, command: str, notes: tuple[str, ...], **way: bool
) -> "Outcome":
    import torch

    from trainer.train import train

    try:
        return train(config, out, command=command, notes=notes, **way)
    except torch.OutOfMemoryError as error:
        raise UsageError(
            f"a step fits into the GPU's memory, got --batch-size {config.loop.batch_size}: "
            f"{str(error).partition('. GPU')[0]}; lower it, or set loop.accumulate=2 "
            "(trainer/config.py says for what losses)"
        ) from error


def _parse(arguments: list[str]) -> argparse.Namespace:
    """The arguments, with what `--resume auto` means for the folder as it is."""
    # Not by argparse's nargs="?": a plain --resume would take the key=value after it.
    args = _parser().parse_intermixed_args(arguments)
    if args.resume and "auto" in args.overrides:
        args.overrides.remove("auto")
        if args.out is not None:
            import trainer.checkpoint as checkpoint
            from trainer.record.rundir import CONFIG_NAME

            args.resume = bool(checkpoint.steps(Path(args.out)))
            # A run that was stopped before its first checkpoint begins again.
            args.overwrite |= not args.resume and (Path(args.out) / CONFIG_NAME).is_file()
    return args


def _key_names() -> Mapping[str, Sequence[str]]:
    from trainer.command.command_config import key_names

    return key_names()


def _parser() -> CommandParser:
    parser = CommandParser(
        "python -m trainer.run",
        "Train an image encoder without labels, from a folder of shards.",
        EXAMPLES,
        _key_names,
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        metavar="DIR[:W]",
        action="append",
        help="training shards, also s3://...; else: demo. Again for another set: an epoch takes "
        "W x its images, 1 if left out",
    )
    data.add_argument("--eval-data", metavar="DIR", help="labelled shards: kNN while training")
    data.add_argument(
        "--eval-train", metavar="DIR", help="labelled shards that vote on them (default: --data)"
    )
    data.add_argument("--backend", metavar="NAME", help="fused, dali, kornia or auto (default)")
    what = parser.add_argument_group("method, views and encoder")
    what.add_argument("--method", metavar="NAME", help="byol, ... (--list; default: fitted)")
    what.add_argument(
        "--terms",
        metavar="NAME,...",
        help="added to the method's loss, or changing its step: augself, mochi",
    )
    what.add_argument("--policy", metavar="NAME", help="of the views: simclr, ..., a YAML file")
    what.add_argument("--views", metavar="N+N", help="views of an image, global + local: 2+6")
    what.add_argument("--sizes", metavar="PX+PX", help="their sides in pixels: 224+96")
    what.add_argument("--arch", metavar="NAME", help="encoder: resnet50, vit_small16, timm:NAME")
    how = parser.add_argument_group("length")
    how.add_argument(
        "--epochs", type=float, metavar="N", help="passes over the data (default on a CPU: 12 min)"
    )
    how.add_argument(
        "--minutes", type=float, metavar="M", help="instead: as many epochs as fit into M minutes"
    )
    how.add_argument("--batch-size", type=int, metavar="N", help="images a step, all devices")
    how.add_argument("--seed", type=int, metavar="N", help="of weights, order and views (0)")
    run = parser.add_argument_group("run")
    run.add_argument("--out", metavar="RUN", help="folder (default runs/METHOD-DATA-TIME)")
    run.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in --out exactly; `--resume auto`: or start it, if there is none",
    )
    run.add_argument("--overwrite", action="store_true", help="replace a former run in --out")
    run.add_argument("--device", metavar="NAME", help="cpu, cuda or auto (default)")
    config = parser.add_argument_group("config")
    config.add_argument(
        "--config", metavar="RECIPE", help="a shipped recipe's name or a YAML file; default: fitted"
    )
    config.add_argument(
        "--list", action="store_true", help="list methods, terms, recipes, policies"
    )
    config.add_argument("--print-config", action="store_true", help="print every key, then exit")
    config.add_argument("overrides", nargs="*", metavar="key=value", help="optim.base_lr=0.3 ...")
    return parser


if __name__ == "__main__":
    sys.exit(main())
