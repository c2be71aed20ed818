"""The flags of `--protocol`: what they are, how they are read, and which belong together.

Loads no torch: a help text and a wrong flag need none.
"""

import argparse
import math
import os
from collections.abc import Callable, Collection
from typing import TypeVar

from shards.errors import UsageError
from trainer.protocols.protocol_names import PROTOCOLS

T = TypeVar("T")
MAX_SEED = 2**32
# Flags of the usual evaluation that no protocol has.
_OF_OTHERS = ("baselines", "finetune", "finetune_epochs", "head_layers", "probe_seconds")
# Flags that some protocols have; k and temperature are the usual evaluation's too.
_OF_PROTOCOLS = ("seeds", "epochs", "rates", "decays", "to", "max_test_images")


def add_protocol_flags(parser: argparse.ArgumentParser) -> None:
    """A group of its own, with what each protocol measures."""
    width = max(map(len, PROTOCOLS))
    lines = "\n".join(f"{name:<{width}}  {said.what}" for name, said in PROTOCOLS.items())
    group = parser.add_argument_group("protocols of the papers (docs/evaluation.md)", lines)
    group.add_argument("--protocol", metavar="NAME", choices=list(PROTOCOLS), help="one of these")
    numbers = "A,B,..."
    group.add_argument(
        "--seeds",
        default="0",
        help="a row each, their mean and standard deviation (0)",
        metavar=numbers,
    )
    group.add_argument("--epochs", metavar="N", help="of each fit that trains")
    group.add_argument("--rates", help="of batch 256, to choose from", metavar=numbers)
    group.add_argument("--decays", help="to choose from", metavar=numbers)
    several = "a set of transfer: a row; may be repeated"
    group.add_argument("--to", action="append", metavar="NAME=TRAIN,EVAL", help=several)
    part = "of corruptions: a fixed random part (500 on a CPU, else all; 0: all)"
    group.add_argument("--max-test-images", type=int, metavar="N", help=part)


def read_protocol_flags(args: argparse.Namespace) -> None:
    """Put values in the place of the texts of seeds, epochs, rates, decays and sets.

    Not argparse's `type`, which would lose the line that says what is wrong.
    """
    args.seeds = _list("--seeds", args.seeds, _seed)
    args.epochs = None if args.epochs is None else _positive("--epochs", args.epochs)
    args.rates = _list("--rates", args.rates, lambda text: _positive("--rates", text))
    args.decays = _list("--decays", args.decays, _decay)
    args.to = [_transfer_set(text) for text in args.to or ()]
    names = [name for name, *_ in args.to]
    if len(set(names)) < len(names):
        raise UsageError(f"--to names each set once, got {', '.join(names)}; give another NAME")
    most = args.max_test_images
    if most is not None and most < 0:
        raise UsageError(f"--max-test-images is 0 (all) or more, got {most}; try 500")


def check_given(given: Collection[str], protocol: str | None) -> None:
    """UsageError for a flag that says nothing to what is asked for."""
    for name in given:
        flag = f"--{name.replace('_', '-')}"
        if protocol is None:
            if name in _OF_PROTOCOLS:
                raise UsageError(f"{flag} is of --protocol, got none; add --protocol NAME")
            continue
        if name in _OF_OTHERS:
            raise UsageError(f"{flag} is not of --protocol, got both; leave one of them out")
        takes = PROTOCOLS[protocol].takes
        if name not in takes and name in (*_OF_PROTOCOLS, "k", "temperature") and name != "seeds":
            takers = ", ".join(key for key, said in PROTOCOLS.items() if name in said.takes)
            raise UsageError(
                f"{flag} says something to {takers}, got --protocol {protocol}; leave it out"
            )
    if protocol == "transfer":
        if "to" not in given:
            raise UsageError(
                "--protocol transfer is to sets that are named, got no --to; add --to "
                "NAME=TRAIN,EVAL"
            )
        if both := {"data", "eval_data"} & set(given):
            flag = f"--{min(both).replace('_', '-')}"
            raise UsageError(f"--to names the sets of transfer, got {flag} too; leave it out")


def _transfer_set(text: str) -> tuple[str, str, str]:
    """Name, training shards and held-out shards of NAME=TRAIN,EVAL."""
    name, _, places = text.partition("=")
    train, _, test = places.partition(",")
    if not (name and train and test):
        raise UsageError(
            f"--to is NAME=TRAIN,EVAL, got {text!r}; try --to cifar10=sets/c10,sets/c10_test"
        )
    # A shell, and the parser, know `~` only at the front of a value.
    return name, os.path.expanduser(train), os.path.expanduser(test)


def _list(flag: str, text: str | None, read: Callable[[str], T]) -> tuple[T, ...]:
    values = tuple(read(part) for part in text.split(",")) if text is not None else ()
    if len(set(values)) < len(values):
        raise UsageError(f"{flag} names each value once, got {text}; leave the second out")
    return values


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < MAX_SEED):
        raise UsageError(f"--seeds are whole numbers in [0, 2^32), got {text!r}; try --seeds 0,1,2")
    return int(text)


def _positive(flag: str, text: str) -> float:
    value = _number(text)
    if not value > 0:
        raise UsageError(f"{flag} is more than 0, got {text!r}; try {flag} 1")
    return value


def _decay(text: str) -> float:
    value = _number(text)
    if not value >= 0:
        raise UsageError(f"--decays are 0 or more, got {text!r}; try --decays 0,1e-4")
    return value


def _number(text: str) -> float:
    """NaN of what is no finite number."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
