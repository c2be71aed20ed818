"""`python -m trainer.export RUN --out encoder.safetensors`: the encoder alone, for other programs.

A safetensors file of the backbone's parameters and buffers. A ResNet's have torchvision's names
(it lacks `fc`), a ViT's or a timm model's their own. What is needed to build the network again and
to feed it stands in the file's metadata, as texts.
"""

from trainer.command.begin import begin

if __name__ == "__main__":
    begin()  # before what takes seconds to import

import argparse
import sys
from pathlib import Path

from shards.atomic import atomic_file
from shards.errors import UsageError, run_command
from shards.terminal.commandline import CommandParser

SUFFIX = ".safetensors"
EXAMPLES = """\
examples:
  python -m trainer.export runs/mine --out encoder.safetensors
  python -m trainer.export runs/mine --checkpoint best --out encoder.safetensors

  weights = safetensors.torch.load_file("encoder.safetensors")
  torchvision.models.resnet50().load_state_dict(weights, strict=False)   only fc is missing"""


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(lambda: _export(_parser().parse_args(argv)))


def _parser() -> CommandParser:
    parser = CommandParser(
        "python -m trainer.export",
        "Write a trained encoder's weights as a safetensors file.",
        EXAMPLES,
    )
    parser.add_argument("run", metavar="RUN", help="folder that trainer.run has left")
    parser.add_argument("--out", required=True, metavar="FILE", help=f"ends with {SUFFIX}")
    parser.add_argument(
        "--checkpoint", default="last", metavar="WHICH", help="last (default), best, a step, a file"
    )
    return parser


def _export(args: argparse.Namespace) -> int:
    # Here, since they load torch: --help and a wrong flag need none.
    from safetensors.torch import save

    import trainer.checkpoint as checkpoint
    from trainer.command.encoder_file import encoder_of
    from trainer.command.origins import OF_EXPORT, origins
    from trainer.record.rundir import read_config

    run, out = Path(args.run), Path(args.out)
    config = read_config(run)
    path = checkpoint.find(run, args.checkpoint)
    if out.suffix != SUFFIX or not out.parent.is_dir():
        raise UsageError(
            f"--out is a file in an existing folder that ends with {SUFFIX}, got {out}; "
            f"try --out encoder{SUFFIX}"
        )
    sys.stderr.writelines(f"{text}\n" for text in origins(config, OF_EXPORT))
    state = checkpoint.load(path)
    weights, metadata = encoder_of(config, state)
    data = save(weights, metadata)
    with atomic_file(out) as file:
        file.write(data)
    features = metadata["feature_dim"]
    sys.stdout.write(f"wrote {out}: {metadata['arch']}, {features} features, {path.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
