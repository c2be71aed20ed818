"""`python -m trainer.evaluate RUN`: what a trained, frozen encoder is worth; also one of others.

Nearest neighbours and a linear probe on features of centre views, beside the same encoder untrained
and, with --baselines, raw pixels. A number without those beside it says little on a small set. Or,
with --finetune, what the encoder is worth as a start: trained further on a part of the labels. Or,
with --protocol, what the papers report of an encoder.
"""

from trainer.command.begin import begin

if __name__ == "__main__":
    begin()  # before what takes seconds to import

import argparse
import sys
from pathlib import Path

from shards.terminal.commandline import CommandParser
from trainer.command.on_ranks import run_on_ranks
from trainer.protocols.protocol_flags import add_protocol_flags, check_given, read_protocol_flags

EXAMPLES = """\
examples:
  python -m trainer.evaluate runs/demo --baselines
  python -m trainer.evaluate runs/mine --finetune 0.1
  python -m trainer.evaluate runs/mine --data sets/train --eval-data sets/val --json score.json
  python -m trainer.evaluate runs/mine --select
  torchrun --nproc-per-node 8 -m trainer.evaluate runs/mine
  python -m trainer.evaluate encoder.safetensors --data sets/train --eval-data sets/val
  python -m trainer.evaluate timm:resnet50 --data sets/train --eval-data sets/val
  python -m trainer.evaluate runs/mine --protocol linear-sgd --seeds 0,1,2
  python -m trainer.evaluate runs/mine --protocol semi-1 --rates 0.005,0.01,0.02,0.05,0.1
  python -m trainer.evaluate runs/mine --protocol transfer --to cifar10=sets/c10,sets/c10_test

The encoder is frozen and in eval mode; every image gives one centre view of the training size.
kNN: cosine similarity, votes exp(s / T) (--k, --temperature). Linear probe: standardised features,
logistic regression, its L2 strength chosen on a held-out tenth of the training features. A row is
printed, and written to --json, as soon as it is there.

--select scores nothing: it compares the kept checkpoints by what the run wrote down of them, kNN or
label-free measures (docs/evaluation.md), and names the one to keep.

--protocol prints another table, a row as soon as it is there, and writes it to --out, else into the
run's folder as protocol-NAME.json. Rates, decays, k, T and costs are chosen on a held-out part of
the training set; a test image is looked at when all is chosen. It says beforehand about how long it
takes: on a CPU epochs are as many as end in minutes (--epochs N for others), on a GPU the papers'.
"""

PROBE_SECONDS = 300


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_on_ranks(lambda: _main(_parser().parse_args(argv)))


def _main(args: argparse.Namespace) -> int:
    if args.select:
        from trainer.command.scoring_ranks import refuse_ranks
        from trainer.command.select_checkpoint import select_checkpoint

        refuse_ranks("--select")

        given = {name for name, value in vars(args).items() if value != _parser().get_default(name)}
        return select_checkpoint(Path(args.run), sorted(given - {"run", "select"}))
    given = [name for name, value in vars(args).items() if value != _parser().get_default(name)]
    check_given(given, args.protocol)
    read_protocol_flags(args)
    # Here, since it loads torch: --help and a wrong flag need none.
    if args.protocol is not None:
        from trainer.command.scored_protocol import score_protocol

        return score_protocol(args)
    from trainer.command.scored_encoder import score_encoder
    from trainer.command.scored_run import score_run
    from trainer.encoders.load_encoder import is_run

    return score_run(args) if is_run(args.run) else score_encoder(args)


def _parser() -> CommandParser:
    parser = CommandParser("python -m trainer.evaluate", __doc__, EXAMPLES)
    parser.add_argument(
        "run",
        metavar="RUN",
        help="the folder of a run; or an exported file or folder, timm:NAME with its pretrained "
        "weights, or module:attribute: these need --data and --eval-data",
    )
    parser.add_argument(
        "--data", metavar="DIR", action="append", help="training shards (default: the run's)"
    )
    parser.add_argument("--eval-data", metavar="DIR", help="held-out shards (default: the run's)")
    parser.add_argument(
        "--checkpoint", default="last", metavar="WHICH", help="last (default), best, a step, a file"
    )
    parser.add_argument(
        "--select", action="store_true", help="which kept checkpoint to keep, by the run's records"
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
    parser.add_argument(
        "--json", "--out", type=Path, metavar="FILE", help="write the scores there too"
    )
    parser.add_argument("--backend", metavar="NAME", help="fused, dali, kornia or auto")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda or auto")
    add_protocol_flags(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
