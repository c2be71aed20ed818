"""The command line of `tools/make_shards.py`: what it takes, and the help that teaches it."""

from pathlib import Path

from shards.format import MAX_IMAGE_PIXELS
from shards.packing.pack import DEFAULT_SHARD_BYTES, ON_BAD
from shards.terminal.commandline import CommandParser

_DESCRIPTION = """\
Pack images into WebDataset shards with an index beside them.

SOURCE is one of
  FOLDER            images; the first folder level is the class, a flat folder has no labels;
                    --labels gives classes by a list
  FOLDER or FILE    MNIST-style idx files (*-images-idx3-ubyte[.gz] and the labels beside them)
  FOLDER or TAR.GZ  a CIFAR-10 or CIFAR-100 python archive
  FOLDER or FILE    Parquet files in the Hugging Face image layout (needs pyarrow)
  FOLDER or GLOB    WebDataset tars: without OUT they stay where they are and get an index
  FOLDER or FILE    tars (plain, .gz, .bz2, .xz) and zips at any depth: with OUT they are packed
  demo, demo:test   a rendered set: 12 classes, 64 px, 6,000 and 1,200 images, nothing to download

JPEG files are stored as they are, anything else as upright 8-bit RGB PNG. Every image is decoded in
full first; bad ones are left out and listed in OUT/quarantine.jsonl, those that lose something
(transparency, pages, values of over 8 bits) in OUT/converted.jsonl. The same source, options and
seed give the same bytes. An interrupted run is continued by the same command.

Several machines pack one set in parts: each runs the same command with --part I/N, I from 1 to N,
in any order, to an OUT that all see. --join OUT then makes it a set, with the bytes of one process.

OUT may lie in a bucket, s3://BUCKET/DIR or gs://BUCKET/DIR: a shard is uploaded when it is whole,
index and manifest last, and a pack that was killed goes on from any machine (docs/scale.md).
"""
_EXAMPLES = """\
examples:
  python tools/make_shards.py demo data/demo
  python tools/make_shards.py photos sets/train --resize 256 --hold-out 10% --held-out sets/val
  python tools/make_shards.py tiny-imagenet-200/val sets/val \\
      --labels tiny-imagenet-200/val/val_annotations.txt
  python tools/make_shards.py /usr/share/datasets/fashion-mnist data/fashion-test --split test
  python tools/make_shards.py photos.zip sets/photos --resize 256
  python tools/make_shards.py tars --image-key input.jpg       of s1.input.jpg, s1.target.jpg
  python tools/make_shards.py xrays sets/xrays --value-range 0:4095     12 bits in 16
  python tools/make_shards.py photos sets/photos --masks masks
  python tools/make_shards.py photos sets/photos --part 1/4    then 2/4, 3/4, 4/4, anywhere, and
  python tools/make_shards.py --join sets/photos
  python tools/make_shards.py photos sets/photos --executor ray:10.0.0.1:6379
  python tools/make_shards.py photos s3://bucket/sets/photos
"""


def pack_parser() -> CommandParser:
    """The parser of `tools/make_shards.py`."""
    parser = CommandParser(
        prog="python tools/make_shards.py",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    add = parser.add_argument
    add("source", metavar="SOURCE", nargs="?", help="what to pack, see above")
    add(
        "out",
        metavar="OUT",
        nargs="?",
        help="a new or empty folder for the shards, or address in a bucket",
    )
    add("--name", default="train", help="shards are called NAME-000000.tar ... (%(default)s)")
    add(
        "--shard-size",
        default=f"{DEFAULT_SHARD_BYTES >> 20}MiB",
        metavar="SIZE",
        help="upper bound of a shard (%(default)s)",
    )
    add(
        "--resize",
        type=int,
        metavar="SHORT",
        help="shrink images to this short side in pixels, never enlarge; JPEGs that shrink are "
        "encoded anew with quality 95 (default: keep the size)",
    )
    add("--workers", type=int, metavar="N", help="processes (default: one a core)")
    add("--seed", type=int, default=0, help="of the order of the samples (%(default)s)")
    add(
        "--on-bad",
        choices=ON_BAD,
        default=ON_BAD[0],
        help="leave bad images out and list them, or stop at the first (%(default)s)",
    )
    add(
        "--split",
        help="which part of SOURCE, for kinds that come in parts: train or test, or a folder's "
        "name (default: train)",
    )
    add(
        "--source",
        dest="own_source",
        metavar="NAME",
        help="who reads SOURCE, in place of ours: package.module:Class of the working folder or of "
        "an installed package, or an entry point of augengine.sources (docs/code.md)",
    )
    add("--limit", type=int, metavar="N", help="pack only N images, drawn at random by the seed")
    add(
        "--skip",
        type=int,
        default=0,
        metavar="N",
        help="leave out the N images that --limit N packs: --limit makes a held-out set, --skip "
        "the rest",
    )
    add(
        "--hold-out",
        metavar="N",
        help="pack two sets at once that share no image: so many images of SOURCE (1000), or so "
        "much (10%%), go into a second one. Each class gives its share, drawn by the seed; a "
        "class of one image stays in OUT",
    )
    add("--held-out", metavar="DIR", help="where --hold-out puts them (default: OUT-held-out)")
    add(
        "--labels",
        type=Path,
        metavar="FILE",
        help="classes from a list instead of folders: CSV, TSV or words with blanks, a line an "
        "image, by its name or path (with or without the ending) and its class, a name or number; "
        "titles of columns are understood. Images that are not in it have no class",
    )
    add(
        "--label-column",
        metavar="COLUMN",
        help="of --labels: the column with the classes, by its title or its number from 1 "
        "(default: the one called label, class and the like, else the one after the names)",
    )
    add(
        "--files",
        type=Path,
        metavar="FILE",
        help="pack only the files that a list names, written as for --labels",
    )
    add(
        "--skip-list",
        type=Path,
        metavar="FILE",
        help="leave out the images that a text names, a line each, by name or path; "
        "python -m tools.find_duplicates writes one. Of sources without files: by key",
    )
    add(
        "--masks",
        type=Path,
        metavar="DIR",
        help="a folder that mirrors SOURCE: of dog/1.jpg the mask is DIR/dog/1.png, gray, 255 "
        "where the foreground is. It is packed beside its image; policy.background needs it. "
        "python -m tools.make_masks makes some",
    )
    add(
        "--image-key",
        metavar="KEY",
        help="of tars and zips: which image of a sample counts, a sample being what shares a name "
        "up to the first dot. An extension such as jpg or input.jpg (or several, with commas); "
        "each: every image is a sample of its own, also photo.1.jpg beside photo.2.jpg; auto: the "
        "only image, else the one without another dot; the others are listed as left out "
        "(default: auto, in zips each)",
    )
    add(
        "--value-range",
        metavar="LOW:HIGH",
        help="values of black and white in images of over 8 bits a value, such as 0:4095 for 12 "
        "bits, or --value-range=-1024:3071 (default: the range of the file's format, 0:65535 for "
        "16 bits; 32-bit, signed and floating ones have none)",
    )
    add(
        "--max-pixels",
        type=int,
        default=MAX_IMAGE_PIXELS,
        metavar="N",
        help="with --resize: the largest image that is decoded at its full size, at three bytes a "
        "pixel and process or more; a JPEG that is not progressive is decoded at a half or less, "
        "and may have 2,000,000,000 (%(default)s)",
    )
    add(
        "--part",
        metavar="I/N",
        help="make only part I of N, I from 1 to N, and leave it in OUT/.parts to be joined; in an "
        "array of SLURM: sbatch --array=1-64, --part $SLURM_ARRAY_TASK_ID/64",
    )
    add(
        "--join",
        metavar="OUT",
        help="make the parts in OUT its set, once all are there; takes no SOURCE. Of parts that "
        "were made with --hold-out both sets are joined",
    )
    add(
        "--executor",
        metavar="ray[:HOST:PORT]",
        help="pack in parts on a Ray cluster that is running, or on a new one of this machine's "
        "cores, and join them; all its machines see SOURCE and OUT, which may lie in a bucket "
        "(needs ray; default: processes of this machine)",
    )
    add(
        "--overwrite",
        action="store_true",
        help="replace another set in OUT once this is whole; of tars that are indexed where they "
        "are: also where packed ones have changed",
    )
    return parser
