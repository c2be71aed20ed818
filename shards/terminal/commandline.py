"""The parser of every command: one line for what is wrong, --version, help as it is written.

argparse answers a slip with the whole usage. Here it is a UsageError like any other, with the
nearest flag, or the key of the config that says what was meant.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

from shards.errors import UsageError

INSTALLED = "augengine-"  # how the commands of pyproject.toml begin
Keys = Mapping[str, Sequence[str]]


class CommandParser(argparse.ArgumentParser):
    """Parse inside `run_command`: what is wrong is raised as UsageError."""

    def __init__(
        self,
        prog: str,  # the command as it is typed in a checkout
        description: str | None,
        epilog: str | None = None,
        keys: Callable[[], Keys] = dict,  # by a flag's likely name: keys that key=value may set
    ) -> None:
        typed = typed_name(prog)
        super().__init__(
            prog=typed,
            description=description,
            epilog=epilog and epilog.replace(prog, typed),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self._keys = keys
        self._given: Sequence[str] = ()
        self.add_argument("--version", action="version", version=f"augengine {version()}")

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, args: Any = None, namespace: Any = None
    ) -> Any:
        """As argparse's; a home folder by its name, and the arguments kept for messages."""
        given = [_at_home(word) for word in (sys.argv[1:] if args is None else args)]
        self._given = self._given or given
        return super().parse_known_args(given, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found as one line with a remedy."""
        message = re.sub("^argument (.+?): (?=is )", r"\1 ", message)  # what `count` refuses
        unknown = message.partition("unrecognized arguments: ")[2].split()
        if unknown:
            message = self._unknown(unknown[0])
        elif match := re.fullmatch(
            r"argument (\S+): invalid choice: (\S+) \(choose from (.*)\)", message
        ):
            flag, value, choices = match[1], match[2].strip("'\""), match[3].replace("'", "")
            near = get_close_matches(value, choices.split(", "), n=1)
            hint = f"did you mean {near[0]}" if near else f"try {flag} {choices.split(', ')[0]}"
            message = f"{flag} is one of {choices}, got {value!r}; {hint}"
        raise UsageError(message if ";" in message else f"{message}; {self.prog} --help shows all")

    def _unknown(self, argument: str) -> str:
        """A line about an argument that no flag and no key is."""
        flag, _, value = argument.partition("=")
        if not flag.startswith("-"):
            return f"{self.prog} takes no further argument, got {argument}; leave it out"
        flags = {_name(text): [text] for text in self._option_string_actions}
        meanings, name = {**self._keys(), **flags}, _name(flag)
        near = [name] if name in meanings else get_close_matches(name, meanings, 1, 0.7)
        meant = meanings[near[0]] if near else []
        shown = " or ".join(
            meaning if meaning.startswith("-") else f"{meaning}={value or self._after(flag)}"
            for meaning in meant
        )
        hint = f"did you mean {shown}?" if shown else f"{self.prog} --help shows all"
        return f"{self.prog} has no flag {flag}; {hint}"

    def _after(self, flag: str) -> str:
        """The argument that follows a flag, as its value."""
        given = list(self._given)
        following = given[given.index(flag) + 1 :] if flag in given else []
        return following[0] if following and not following[0].startswith("--") else "VALUE"


def count(text: str) -> int:
    """A whole number from 1 on: the type of a flag."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"is a whole number from 1 on, got {text}; try 1")
    return int(text)


def typed_name(prog: str) -> str:
    """The command as it was typed: the one that pip installed, where that was started."""
    started = Path(sys.argv[0]).stem
    return started if started.startswith(INSTALLED) else prog


def _name(flag: str) -> str:
    return flag.lstrip("-").replace("-", "_")


def _at_home(word: str) -> str:
    """`--out=~/runs/x` and `key=~/x` as the path they mean: a shell knows `~` only at the front.

    Else a folder of the name `~` would be made where the command is typed.
    """
    name, sign, value = word.rpartition("=") if re.match(r"[-\w.]+=~", word) else ("", "", word)
    return f"{name}{sign}{os.path.expanduser(value)}" if value[:1] == "~" else word


def version() -> str:
    """The version of this copy: of the tree that it is in, or of the installed package."""
    project = Path(__file__).parents[2] / "pyproject.toml"
    if project.is_file():
        match = re.search(r'^version = "(.+)"', project.read_text(encoding="utf-8"), re.MULTILINE)
        if match:
            return match[1]
    try:
        return metadata.version("augengine")
    except metadata.PackageNotFoundError:
        return "of an unknown version"
