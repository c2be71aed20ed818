"""The command of a count that is kept: made anew into its JSON, or compared with it."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.atomic import write_whole
from shards.errors import UsageError, run_command
from shards.terminal.commandline import CommandParser
from trainer.checks import choose
from trainer.methods.method_table import METHODS
from trainer.record.conditions import conditions


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCount:
    """What is counted of a step of each method, and where it is kept."""

    module: str  # as it is typed behind python -m
    description: str
    names: Sequence[str]  # of the methods, all that can be counted
    results: Path
    settings: Mapping[str, Any]  # under which it is counted
    count: Callable[[str], dict[str, Any]]  # of a method
    lines: Callable[[str, dict[str, Any]], Sequence[str]]  # of a method's count, for a reader
    refuse: Callable[[str, dict[str, Any], dict[str, Any]], None]  # DataError beside what is kept

    def main(self, argv: list[str] | None) -> int:
        """Count, and write or compare; returns the exit code."""
        parser = CommandParser(f"python -m {self.module}", self.description)
        parser.add_argument("--methods", default=",".join(self.names), metavar="NAMES")
        parser.add_argument("--check", action="store_true", help="compare, write nothing")
        return run_command(lambda: self._run(parser.parse_args(argv)))

    def _run(self, options: argparse.Namespace) -> int:
        names = [choose("method", name, METHODS) for name in options.methods.split(",")]
        check: bool = options.check
        results = self.results
        kept = json.loads(results.read_text(encoding="utf-8")) if results.is_file() else {}
        if check and not kept:
            raise UsageError(
                f"--check compares with {results.name}, got none; run it without first"
            )
        steps: dict[str, Any] = dict(kept.get("steps", {}))
        for name in names:
            found = self.count(name)
            print("\n".join(self.lines(name, found)), flush=True)
            if check:
                self.refuse(name, found, steps)
                continue
            steps[name] = found
            report = {"conditions": conditions(), "settings": self.settings, "steps": steps}
            write_whole(results, json.dumps(report, indent=1) + "\n")
        return 0
