"""The command-line options that say which data, under which policy: one meaning in every tool."""

import argparse
import sys

from augengine.policies import load_policy, parse_sizes, parse_views, policy_names
from augengine.policy import Policy
from shards.errors import DataError, UsageError
from shards.index import ShardIndex


def add_policy_options(parser: argparse.ArgumentParser) -> None:
    """Add --data, --policy, --views, --sizes and --seed."""
    parser.add_argument("--data", metavar="DIR", help="folder or address of shards")
    parser.add_argument(
        "--policy",
        default="swav",
        metavar="NAME",
        help=f"{', '.join(policy_names())}, or a .yaml file (default: %(default)s)",
    )
    parser.add_argument(
        "--views", metavar="N+M", help="views of each crop group, such as 2+6 (default: policy's)"
    )
    parser.add_argument(
        "--sizes", metavar="S+T", help="crop sizes in pixels, such as 224+96 (default: policy's)"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")


def policy_of(options: argparse.Namespace) -> Policy:
    """The policy the options ask for; UsageError where they contradict it."""
    policy = load_policy(options.policy)
    sizes = None if options.sizes is None else parse_sizes(options.sizes)
    if options.views is not None:
        return policy.with_views(parse_views(options.views), sizes)
    return policy if sizes is None else policy.with_views(_counts(policy)[: len(sizes)], sizes)


def index_of(options: argparse.Namespace) -> ShardIndex:
    """The index of --data, built when missing; UsageError without --data, DataError when empty."""
    if options.data is None:
        raise UsageError(
            "--data needs a folder of shards, got none; "
            "python tools/make_shards.py demo shards/demo makes one"
        )
    index = ShardIndex.open(options.data, progress=sys.stderr.isatty())
    if not len(index):
        raise DataError(f"a data set has at least one sample, got none in {options.data}")
    return index


def describe_policy(policy: Policy) -> str:
    """`swav 2+6 views of 224+96 px`."""
    sizes = "+".join(str(group.size_px) for group in policy.groups)
    return f"{policy.name}  {'+'.join(map(str, _counts(policy)))} views of {sizes} px"


def _counts(policy: Policy) -> tuple[int, ...]:
    return tuple(group.count for group in policy.groups)
