"""Check a folder of shards: `python tools/check_shards.py DIR`.

Says in one line that all is well, or names every bad thing and exits with 1.
"""

from trainer.watch.interrupt import quiet_interrupt

if __name__ == "__main__":
    quiet_interrupt()  # before what takes seconds to import

import argparse
import sys
import time
from pathlib import Path

from shards.errors import DataError, one_line, run_command
from shards.index import ShardIndex
from shards.indexing.tar_folder import local_folder
from shards.processes.cluster import maybe_cluster
from shards.terminal.commandline import CommandParser, count
from shards.terminal.counted import counted
from shards.upkeep.folder_check import FolderReport, check_folder
from shards.upkeep.foreign_indexes import EXPORTS

_DESCRIPTION = """\
Check a folder of image shards against its index.

Compares file sizes and sha256 with the manifest, every image's bytes with its crc32, its decoded
height and width with the index, and its class with the label; reports tar members that are in no
index, links that lead nowhere, and records that point at no member. A folder of tars without an
index gets one first. Shards at an address are fetched whole, through the local cache.
"""
_EPILOG = """\
examples:
  python tools/check_shards.py data/demo
  python tools/check_shards.py data/photos --no-decode --export dali,wids
  python tools/check_shards.py s3://bucket/photos

exit code: 0 all is well, 1 something is wrong (every finding is a line on stderr), 2 wrong usage
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(lambda: _check(_parser().parse_args(argv)))


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python tools/check_shards.py",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument(
        "directory", metavar="DIR", help="folder or address that holds the .tar files"
    )
    parser.add_argument(
        "--workers",
        type=count,
        metavar="N",
        help="processes that check shards side by side (default: one a core)",
    )
    parser.add_argument(
        "--executor",
        metavar="ray[:HOST:PORT]",
        help="check on a Ray cluster that is running, whose machines see DIR, or on a new one of "
        "this machine's cores (needs ray; default: processes of this machine)",
    )
    parser.add_argument(
        "--no-decode",
        dest="decode",
        action="store_false",
        help="compare checksums only; several times faster (default: decode every image in full)",
    )
    parser.add_argument(
        "--export",
        type=_exports,
        default=(),
        metavar="KINDS",
        help="when all is well, also write indexes for other readers: dali (a .idx beside each "
        "tar), wids (wids.json), or both with a comma (default: none)",
    )
    return parser


def _check(options: argparse.Namespace) -> int:
    if options.export:
        local_folder(options.directory)  # refuses an address before it is read
    start = time.perf_counter()
    directory = options.directory
    if options.executor is not None and "://" not in directory:
        directory = str(Path(directory).resolve())  # for machines that work elsewhere
    with maybe_cluster(options.executor, options.workers) as cluster:
        report = check_folder(
            directory,
            decode=options.decode,
            workers=options.workers,
            progress=True,
            cluster=cluster,
        )
    for problem in report.problems:
        sys.stderr.write(f"bad: {problem}\n")
    if report.problems:
        raise DataError(
            f"shards must be what their index says, got {len(report.problems)} bad things in "
            f"{options.directory}; restore the files named above, or delete manifest.json there "
            f"to index the tars as they are"
        )
    for note in report.notes:
        print(f"note: {one_line(note)}")
    print(_summary(options.directory, report, options.decode, time.perf_counter() - start))
    for kind in options.export:
        paths = EXPORTS[kind](ShardIndex.open(options.directory))
        print(f"{kind}: wrote {counted(len(paths), 'file')}, {paths[0]} first")
    return 0


def _summary(directory: str, report: FolderReport, decode: bool, seconds: float) -> str:
    done = "decoded" if decode else "compared with their crc32"
    shards = counted(report.num_shards, "shard")
    well = "all is well with what is indexed" if report.notes else "all is well"
    return (
        f"{directory}: {well}: {counted(report.num_samples, 'image')} {done}, {shards} "
        f"({report.num_hashed} with a sha256), {report.size_bytes / 1e6:,.1f} MB in {seconds:.1f} s"
    )


def _exports(text: str) -> tuple[str, ...]:
    kinds = tuple(kind.strip() for kind in text.split(","))
    for kind in kinds:
        if kind not in EXPORTS:
            raise argparse.ArgumentTypeError(
                f"must be of {', '.join(EXPORTS)}, got {kind!r}; separate several with a comma"
            )
    return kinds


if __name__ == "__main__":
    sys.exit(main())
