"""`python -m trainer.export RUN --out encoder.safetensors`: the encoder alone, for other programs.

A safetensors file of the backbone's parameters and buffers, with what is needed to build the
network again and to feed it as texts in its metadata; or the same in the form that torchvision,
timm, Detectron2, ONNX or Hugging Face want, with the lines that load it there.
"""

from trainer.command.begin import begin

if __name__ == "__main__":
    begin()  # before what takes seconds to import

import argparse
import sys
from pathlib import Path

from shards.errors import run_command
from shards.terminal.commandline import CommandParser

FORMATS = ("safetensors", "torchvision", "timm", "detectron2", "onnx", "hub")
EXAMPLES = """\
examples:
  python -m trainer.export runs/mine --out encoder.safetensors
  python -m trainer.export runs/mine --checkpoint best --out encoder.safetensors
  python -m trainer.export runs/mine --format torchvision --out encoder.pth
  python -m trainer.export encoder.safetensors --format onnx --out encoder.onnx
  python -m trainer.export runs/mine --format hub --out my-encoder --scores scores.json

formats:
  safetensors  weights under torchvision's (ResNet) or timm's (ViT) names; trainer.load_encoder,
               trainer.evaluate and trainer.embed take it
  torchvision  a .pth for torchvision.models.resnet18 to resnet152
  timm         a .safetensors for timm.create_model: ResNets, ViTs, timm's own
  detectron2   a .pkl for MODEL.WEIGHTS, and the settings that fit it
  onnx         a graph from normalised views to features, any batch (needs onnx, onnxscript)
  hub          a folder as Hugging Face wants it: weights, config.json, a card with data, recipe,
               scores and what ran

The command prints the lines that load the file. A small stem is no other library's: they say so
and change its model by two lines."""


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(lambda: _export(_parser().parse_args(argv)))


def _parser() -> CommandParser:
    parser = CommandParser(
        "python -m trainer.export",
        "Write a trained encoder as a file or a folder for other programs.",
        EXAMPLES,
    )
    parser.add_argument(
        "encoder", metavar="RUN", help="folder that trainer.run has left, or an exported file"
    )
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="ends as the format does; hub: a new folder"
    )
    parser.add_argument(
        "--format", choices=FORMATS, default=FORMATS[0], help=f"see below ({FORMATS[0]})"
    )
    parser.add_argument(
        "--checkpoint", default="last", metavar="WHICH", help="last (default), best, a step, a file"
    )
    parser.add_argument(
        "--scores", type=Path, metavar="JSON", help="of trainer.evaluate --json, for hub's card"
    )
    parser.add_argument("--license", metavar="ID", help="for hub's card, such as apache-2.0")
    return parser


def _export(args: argparse.Namespace) -> int:
    # Here, since it loads torch: --help and a wrong flag need none.
    from trainer.command.write_export import write_export

    return write_export(args)


if __name__ == "__main__":
    sys.exit(main())
