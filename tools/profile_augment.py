"""Times decoding, augmentation and the loader: which stage is the bottleneck, on this machine?

Every backend is first held against the slow reference on a few images, and a wrong one is not
timed. Then decode alone, each backend's augmentation alone (images and plans ready in memory) and
the loader end to end (read + decode + draw + augment on worker threads) take turns, so that other
load on the machine touches all alike. With --peers-python also lightly's and torchvision's own
transforms, and ours from where theirs begin: `from pixels` and `from bytes`.
"""

from trainer.command.begin import begin

if __name__ == "__main__":
    begin()  # before what takes seconds to import

import argparse
import json
import sys
from pathlib import Path

from rich.progress import BarColumn, Progress, TimeElapsedColumn

from augengine.backends.create_backend import BACKENDS, DTYPES, backends_on
from shards.atomic import write_whole
from shards.errors import UsageError, run_command
from shards.plugins.find import check_name
from shards.plugins.optional_library import optional_library
from shards.processes.parallel import usable_cores
from shards.terminal.commandline import CommandParser, count
from shards.terminal.console import new_bar, new_console, table_console, words
from shards.terminal.output_file import check_output
from tools.policy_options import add_policy_options, index_of, policy_of, seed_of
from tools.profiling.augment_cases import Settings
from tools.profiling.profile_picture import draw_profile
from tools.profiling.profile_report import markdown_table, print_report, report_of
from tools.profiling.profile_run import profile
from tools.profiling.trace import record, write_trace
from trainer.config import RunConfig
from trainer.setup.device import choose_device

DTYPE_NAMES = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES}


def main(argv: list[str] | None = None) -> int:
    """Profile, print the table, write the JSON; returns the exit code."""
    return run_command(lambda: _profile_command(_parser().parse_intermixed_args(argv)))


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python tools/profile_augment.py",
        description=__doc__,
        epilog="""example:
  python tools/profile_augment.py --data sets/train --views 2+6 --json profile.json""",
    )
    add_policy_options(parser)
    add_measure_options(parser)
    add = parser.add_argument
    add("--json", metavar="FILE", help="also write the figures and their conditions here")
    add("--markdown", metavar="FILE", help="the table for a document")
    add("--png", metavar="FILE", help="a picture of the stage times and img/s")
    add("--trace", metavar="FILE", help="a Chrome trace of the loader's threads, for Perfetto")
    return parser


def add_measure_options(parser: argparse.ArgumentParser) -> None:
    """Add what `settings_of` reads, but --seed: what is timed, where, and for how long."""
    add = parser.add_argument
    add("--backends", metavar="A,B", help="default: all that run on the device")
    add("--device", default="auto", metavar="NAME", help="cpu, cuda or auto (default)")
    add("--dtype", default="float32", choices=DTYPE_NAMES, help="of views (default: %(default)s)")
    add("--batch-size", type=count, default=32, metavar="N", help="default: %(default)s")
    add("--seconds", type=float, default=10, metavar="S", help="per row (default: %(default)s)")
    add("--threads", type=count, metavar="N", help="decoder's and backends' (default: the cores)")
    add("--workers", type=count, default=2, metavar="N", help="loader's (default: %(default)s)")
    add("--peers-python", metavar="PATH", help="a Python with lightly, torchvision: time them too")


def _profile_command(options: argparse.Namespace) -> int:
    settings = settings_of(options, seed_of(options))
    outputs = {name: _output(options, name) for name in ("json", "png", "markdown", "trace")}
    policy, index = policy_of(options), index_of(options)
    with _progress() as progress:
        task = progress.add_task("load", total=None)

        def on_step(name: str, total: int) -> None:
            progress.update(task, advance=1, total=total, description=f"{name:28}")

        found = profile(index, policy, settings, peers_python=options.peers_python, on_step=on_step)
    report = report_of(index, settings, found)
    # A table cut to 80 columns is of no use in a file.
    print_report(report, table_console(150))
    if path := outputs["json"]:
        write_whole(path, json.dumps(report, indent=2) + "\n")
    if path := outputs["markdown"]:
        write_whole(path, markdown_table(report["results"]) + "\n")
    if path := outputs["png"]:
        draw_profile(report, path)
    if path := outputs["trace"]:
        runs = {name: record(found.workload.new_loader(name))[0] for name in settings.backends}
        write_trace(path, {f"loader, {name}": spans for name, spans in runs.items()})
    return 0


def _output(options: argparse.Namespace, name: str) -> Path | None:
    """The place for the report; UsageError before anything is timed when that cannot be."""
    value = getattr(options, name)
    if value is None:
        return None
    check_output(f"--{name}", Path(value), (".png",) if name == "png" else ())
    if name == "png":
        optional_library("matplotlib", "--png", "matplotlib")
    return Path(value)


def _progress() -> Progress:
    console = new_console(sys.stderr)
    columns = words(), BarColumn(), TimeElapsedColumn()
    return new_bar(console, *columns, hidden=not console.is_terminal)


def settings_of(options: argparse.Namespace, seed: int) -> Settings:
    """The options of `add_measure_options`, checked; UsageError says what is wrong."""
    device = choose_device(RunConfig(device=options.device).device)
    there = backends_on(device)
    backends = tuple(dict.fromkeys(options.backends.split(","))) if options.backends else there
    for name in backends:
        check_name("backends", name, BACKENDS)
    if not options.seconds > 0:
        raise UsageError(f"--seconds is positive, got {options.seconds}")
    return Settings(
        backends,
        device,
        options.batch_size,
        options.threads or usable_cores(),
        options.workers,
        options.seconds,
        seed,
        dtype=DTYPE_NAMES[options.dtype],
    )


if __name__ == "__main__":
    sys.exit(main())
