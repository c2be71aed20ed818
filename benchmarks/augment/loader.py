"""Images a second of the loader beside decode alone: SwAV 2+6 (224+96 px) on 500x375 JPEGs.

    python -m benchmarks.augment.loader [--seconds 20] [--out benchmarks/results/loader.json]

The JPEGs (photographs.py) are packed into shards in a temporary folder; they are in the page cache
when read. The figures are those of tools/profile_augment.py; results/loader.json has the last ones
with their conditions.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from augengine.policies import load_policy
from benchmarks.augment.photographs import pack_photographs
from shards.atomic import write_whole
from shards.errors import UsageError, run_command
from shards.index import ShardIndex
from shards.terminal.console import table_console
from tools.profile_augment import add_measure_options, settings_of
from tools.profiling.profile_report import print_report, report_of
from tools.profiling.profile_run import profile

DEFAULT_OUT = Path(__file__).parents[1] / "results" / "loader.json"


def main(argv: list[str] | None = None) -> int:
    """Make the data, measure, print and write the figures; returns the exit code."""
    options = _parser().parse_args(argv)
    return run_command(lambda: _benchmark(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.augment.loader",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--policy", default="swav", help="default: %(default)s")
    parser.add_argument("--num-images", type=int, default=256, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    add_measure_options(parser)
    parser.add_argument("--out", default=DEFAULT_OUT, help="default: %(default)s")
    return parser


def _benchmark(options: argparse.Namespace) -> int:
    if options.num_images < 1:
        raise UsageError(f"--num-images is at least 1, got {options.num_images}")
    out = Path(options.out)
    if not out.parent.is_dir():
        raise UsageError(f"--out lies in a folder that exists, got {out}; make it first")
    policy, settings = load_policy(options.policy), settings_of(options, options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        shards = Path(temporary) / "shards-of-photographs"
        pack_photographs(options.num_images, shards, options.seed)
        index = ShardIndex.open(shards)
        found = profile(index, policy, settings, peers_python=options.peers_python)
        report = report_of(index, settings, found)
    print_report(report, table_console(150))
    write_whole(out, json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
