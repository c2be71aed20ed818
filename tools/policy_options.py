"""The command-line options that say which data, under which policy: as `trainer.run` has them."""

import argparse
from typing import TYPE_CHECKING

from augengine.policies import policy_names
from augengine.policy import Policy
from shards.errors import DataError, UsageError
from shards.index import ShardIndex

# What loads torch is imported by the functions that need it: --help does not.
if TYPE_CHECKING:
    from trainer.config import TrainConfig

_FLAGS = ("data", "policy", "views", "sizes", "seed")


def add_policy_options(parser: argparse.ArgumentParser) -> None:
    """Add --data, --config, --policy, --views, --sizes, --seed and key=value."""
    parser.add_argument("--data", metavar="DIR", help="folder or address of shards, or demo")
    parser.add_argument(
        "--config", metavar="RECIPE", help="a recipe or a run: its data, policy and seed"
    )
    parser.add_argument(
        "--policy",
        metavar="NAME",
        help=f"{', '.join(policy_names())}, or a .yaml file (default: the recipe's, or swav)",
    )
    parser.add_argument(
        "--views", metavar="N+M", help="views of each crop group, such as 2+6 (default: policy's)"
    )
    parser.add_argument(
        "--sizes", metavar="S+T", help="crop sizes in pixels, such as 224+96 (default: policy's)"
    )
    parser.add_argument("--seed", type=int, help="default: the recipe's, or 0")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="policy.blur=0 ...")


def config_of(options: argparse.Namespace) -> "TrainConfig":
    """The config of a run with these options; UsageError where they contradict each other."""
    from trainer.command.command_config import command_of
    from trainer.recipes.overlay import overlay
    from trainer.recipes.recipe import read_recipe, resolve

    recipe = {} if options.config is None else read_recipe(options.config)
    return resolve(overlay(recipe, command_of(options, _FLAGS))[0])


def policy_of(options: argparse.Namespace) -> Policy:
    """The policy the options ask for."""
    return config_of(options).policy.load()


def index_of(options: argparse.Namespace) -> ShardIndex:
    """The index of the data, built when missing; UsageError without any, DataError when empty."""
    from trainer.build import open_training

    config = config_of(options)
    if config.data.train is None:
        raise UsageError(
            "--data needs a folder of shards, got none; --data demo is the demo set, and "
            "python -m tools.make_shards demo sets/demo makes a folder of it"
        )
    index = open_training(config)
    if not len(index):
        raise DataError(f"a data set has at least one sample, got none in {config.data.train}")
    return index


def seed_of(options: argparse.Namespace) -> int:
    """The seed of order and views."""
    return config_of(options).loop.seed


def describe_policy(policy: Policy) -> str:
    """`swav 2+6 views of 224+96 px`."""
    counts = "+".join(str(group.count) for group in policy.groups)
    sizes = "+".join(str(group.size_px) for group in policy.groups)
    return f"{policy.name}  {counts} views of {sizes} px"
