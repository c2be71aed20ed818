"""`python -m trainer.embed RUN --data DIR --out FILE`: the features of every image, as a file.

A row an image that can be read: sample number, the source's file name, key, shard, label, features,
and with --neighbours its nearest images. Any size of set in bounded memory, on all ranks that
torchrun starts or on a Ray cluster; a command that was stopped goes on where it was.
"""

from trainer.command.begin import begin

if __name__ == "__main__":
    begin()  # before what takes seconds to import

import argparse
import sys

from shards.terminal.commandline import CommandParser
from trainer.command.on_ranks import run_on_ranks

EXAMPLES = """\
examples:
  python -m trainer.embed runs/mine --data sets/train --out features.parquet
  python -m trainer.embed encoder.safetensors --data sets/val --out val.npy --neighbours 10
  python -m trainer.embed runs/mine --data s3://bucket/train --out features.npy data.workers=8
  torchrun --nproc-per-node 8 -m trainer.embed runs/mine --data sets/train --out features.parquet
  python -m trainer.embed runs/mine --data sets/train --out f.npy --executor ray:10.0.0.1:6379

An .npy is an array of records, a .parquet a table; both have the columns id, name, key, shard,
label, features (and neighbours, similarities: ids of the K most similar other images, by cosine):
  rows = numpy.load("val.npy", mmap_mode="r"); rows["features"]     [N, D]
  pandas.read_parquet("features.parquet")
Views are the encoder's own: centre squares of its size, in its colours. What is done lies in
FEATURES.parts until all is; the same command goes on there, and the file is the same byte by byte.
Neighbours compare every image with every other: a million take hours on a CPU, minutes on a GPU."""


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_on_ranks(lambda: _main(_parser().parse_intermixed_args(argv)))


def _main(args: argparse.Namespace) -> int:
    # Here, since it loads torch: --help and a wrong flag need none.
    from trainer.embed.embed_run import embed_run

    return embed_run(args)


def _parser() -> CommandParser:
    description = "Write the features of every image of a set to a file."
    parser = CommandParser("python -m trainer.embed", description, EXAMPLES)
    parser.add_argument(
        "encoder",
        metavar="RUN",
        help="the folder of a run; or an exported file or folder, timm:NAME, module:attribute",
    )
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="shards, also s3://... or demo"
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="ends with .parquet or .npy")
    parser.add_argument(
        "--checkpoint", default="last", metavar="WHICH", help="last (default), best, a step, a file"
    )
    parser.add_argument(
        "--dtype", choices=("float16", "float32"), default="float16", help="of features (float16)"
    )
    parser.add_argument(
        "--neighbours", type=int, default=0, metavar="K", help="nearest images of each image (0)"
    )
    parser.add_argument(
        "--batch-size", type=int, default=256, metavar="N", help="a forward's (256)"
    )
    parser.add_argument(
        "--part-images", type=int, default=4096, metavar="N",
        help="images that are written at once, at least (4096): what a stop can cost",
    )  # fmt: skip
    parser.add_argument(
        "--executor", metavar="ray[:HOST:PORT]",
        help="make parts on a Ray cluster that is running, whose machines see RUN, DIR and FILE's "
        "folder, or on a new one of this machine's cores (needs ray; default: this process)",
    )  # fmt: skip
    parser.add_argument(
        "--overwrite", action="store_true", help="replace other features in --out, or its parts"
    )
    parser.add_argument("--backend", metavar="NAME", help="fused, dali, kornia or auto (default)")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda or auto (default)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="data.workers=8 ...")
    return parser


if __name__ == "__main__":
    sys.exit(main())
