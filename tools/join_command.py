"""`make_shards.py --join OUT`: parts to a set, and to two where images were held out."""

import argparse
import shlex
from pathlib import Path

from shards.errors import UsageError
from shards.format import Manifest
from shards.index import ShardIndex
from shards.packing.bucket_home import open_home
from shards.packing.destination import same_set
from shards.packing.join_parts import check_join, held_out_recipe, join_parts
from shards.packing.part import Part, name_parts, parts_in, read_part
from shards.packing.whole_parts import WholeParts
from shards.processes.cluster import maybe_cluster
from shards.remote.address import RemoteFolder, located
from tools.pack_options import pack_parser
from tools.tell_packed import print_line, tell_absent, tell_packed

_OF_JOIN = ("join", "held_out", "workers", "executor")


def join(arguments: argparse.Namespace) -> int:
    """Join what `--join` names; returns the exit code.

    Raises:
        UsageError: another flag, a part that is missing, or parts that do not belong together.
        DataError: a part that has changed since it was made.
    """
    _check_alone(arguments)
    out = located(arguments.join)
    found = _found(out)
    folders, recipe = [out], held_out_recipe(found)
    if recipe is None and arguments.held_out is not None:
        raise UsageError(
            f"--held-out goes with parts that were made with --hold-out, got {arguments.held_out} "
            f"for {out}; leave it out"
        )
    if recipe is not None:  # both are asked before either is written
        typed = arguments.held_out or f"{arguments.join.rstrip('/')}-held-out"
        held_out = located(typed)
        if isinstance(held_out, Path) and not held_out.is_dir():
            raise UsageError(
                f"parts made with --hold-out are joined with those held out, got no folder "
                f"{held_out}; name it with --held-out DIR"
            )
        other = _found(held_out)
        if not same_set(other.made if isinstance(other, Manifest) else other.recipe, recipe):
            raise UsageError(
                f"--held-out names what {out} does not have, got {held_out} of another source or "
                f"other options; name the folder that was given with --part"
            )
        folders.append(held_out)
    workers = arguments.workers
    with maybe_cluster(arguments.executor, workers) as cluster:
        seen = [
            folder.resolve() if cluster and isinstance(folder, Path) else folder
            for folder in folders
        ]
        reports = [
            join_parts(folder, workers=workers, progress=True, cluster=cluster) for folder in seen
        ]
    for report in reports:
        tell_packed(report)
    if len(reports) > 1:
        tell_absent(reports[1], ShardIndex.open(out).records["label"])
    command = f"python -m trainer.run --data {shlex.quote(str(out))}"
    if len(folders) > 1:
        command += f" --eval-data {shlex.quote(str(folders[1]))}"
    print_line(f"next: {command}")
    return 0


def next_of_parts(out: str, part: Part, held_out: str | None) -> str:
    """What is to be typed when a part is whole: the command that joins, or what is missing."""
    needed = [Part(number, part.of) for number in range(1, part.of + 1)]
    with open_home(out, brief=True) as home:
        missing = [one for one in needed if read_part(one.folder(home.folder)) is None]
        are_joined = not parts_in(home.folder)
    command = f"python -m tools.make_shards --join {shlex.quote(out)}"
    if held_out is not None and held_out != f"{out.rstrip('/')}-held-out":
        command += f" --held-out {shlex.quote(held_out)}"
    if not missing or are_joined:
        return command
    return f"{command}, when these are whole too: {name_parts(missing)}"


def _found(out: Path | RemoteFolder) -> WholeParts | Manifest:
    with open_home(out) as home:
        return check_join(home)


def _check_alone(arguments: argparse.Namespace) -> None:
    """Refuse what only packing can do."""
    for name, value in vars(arguments).items():
        if name in _OF_JOIN or value == pack_parser().get_default(name):
            continue
        flag = {"source": "SOURCE", "out": "OUT", "own_source": "--source"}.get(name)
        raise UsageError(
            f"--join takes the folder of the parts and, of options, --held-out, --workers and "
            f"--executor, got {flag or '--' + name.replace('_', '-')}; leave it out, the parts say "
            f"how they were made"
        )
