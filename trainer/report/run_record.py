"""All that a run's folder says in words and numbers: config, starts, records, bad samples.

Nothing here is trusted: a file may be torn, of another release, or made to mislead. What cannot be
read leaves a sentence that says why, in place of a panel.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augengine.yaml_text import YamlError, parse_yaml
from shards.errors import DataError, UsageError
from trainer.config import TrainConfig
from trainer.record.jsonlines import read_lines
from trainer.record.log import METRICS_NAME
from trainer.record.rundir import CONFIG_NAME, read_config
from trainer.record.samplelog import BAD
from trainer.record.starts import read_starts
from trainer.settings.strict import flatten

_LARGEST = 1e100  # what is beyond is no measurement


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run as its folder has it."""

    folder: Path
    config: TrainConfig | None  # None: of another release, or damaged
    config_problem: str  # why
    keys: Mapping[str, str]  # every key of config.yaml and its value, in words
    starts: tuple[Mapping[str, Any], ...]  # oldest first
    records: tuple[Mapping[str, Any], ...]  # of metrics.jsonl, oldest first
    records_problem: str  # why there are none; empty where there are some
    bad: tuple[Mapping[str, Any], ...]  # samples that could not be used

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.resolve().name

    def series(self, name: str) -> list[tuple[float, float]]:
        """The finite values of one number, each with its epoch, in the order of the records."""
        return [
            (epoch, value)
            for record in self.records
            if (epoch := number(record, "epoch")) is not None
            and (value := number(record, name)) is not None
        ]

    def score_series(self, name: str, protocol: str) -> list[tuple[float, float]]:
        """Likewise of a score, of its last protocol alone, as scores of two cannot be compared."""
        protocols = [record[protocol] for record in self.records if protocol in record]
        return [
            (epoch, value)
            for record in self.records
            if protocols
            and record.get(protocol) == protocols[-1]
            and (epoch := number(record, "epoch")) is not None
            and (value := number(record, name)) is not None
        ]

    def last_text(self, name: str) -> str:
        """The last record's words under a name; empty: none has any."""
        found = [record[name] for record in self.records if isinstance(record.get(name), str)]
        return found[-1] if found else ""


def number(record: Mapping[str, Any], name: str) -> float | None:
    """A finite number of a record; None where there is none."""
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < _LARGEST and math.isfinite(value) else None


def read_run(folder: Path) -> RunRecord:
    """What the folder says.

    Raises:
        UsageError: it is not the folder of a run, or may not be read.
    """
    path = folder / CONFIG_NAME
    try:
        is_run = path.is_file()
        text = path.read_text(encoding="utf-8", errors="replace") if is_run else ""
    except OSError as error:
        raise UsageError(
            f"a run's {CONFIG_NAME} may be read, got {path}: {error.strerror}; look at its owner"
        ) from error
    if not is_run:
        raise UsageError(
            f"a run is a folder with {CONFIG_NAME}, got {folder}; give the folder that "
            "python -m trainer.run has left (--out)"
        )
    config, problem = None, ""
    try:
        config = read_config(folder)
    except (UsageError, DataError) as error:
        problem = str(error)
    records, records_problem = _lines(folder / METRICS_NAME)
    if not records and not records_problem:
        records_problem = (
            f"{METRICS_NAME} has no record yet; one comes every run.log_every steps of a run"
        )
    bad = [line for path in sorted(folder.glob(f"{BAD}*.jsonl")) for line in _lines(path)[0]]
    return RunRecord(
        folder, config, problem, _keys(text), _starts(text), records, records_problem, tuple(bad)
    )


def _lines(path: Path) -> tuple[tuple[Mapping[str, Any], ...], str]:
    """The records of a file, and why there are none."""
    if not path.is_file():
        return (), f"there is no {path.name}; a run writes it from its first record on"
    try:
        found = read_lines(path)
    except (OSError, RecursionError) as error:
        return (), f"{path.name} cannot be read ({type(error).__name__}); restore it"
    if not found and path.stat().st_size:
        return (), f"{path.name} cannot be read (it begins with no record); restore it"
    return tuple(found), ""


def _starts(text: str) -> tuple[Mapping[str, Any], ...]:
    try:
        return tuple(start for start in read_starts(text) if isinstance(start, Mapping))
    except (ValueError, RecursionError):
        return ()


def _keys(text: str) -> dict[str, str]:
    """As they stand in the file, whatever release wrote it."""
    try:
        values = parse_yaml(text)
    except (YamlError, ValueError, RecursionError):
        return {}
    if not isinstance(values, Mapping):
        return {}
    found = flatten({str(key): value for key, value in values.items()})
    return {key: _in_words(value) for key, value in found}


def _in_words(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, default=str)
    except TypeError:  # a date as a key
        return str(value)
