"""Names the checkpoint of a run to keep, by the records that it has: nothing is scored anew.

The rule: the highest kNN where there are labels, without them the largest RankMe; the study of
docs/evaluation.md says what that costs, and why no other measure is asked. Records are compared
within one protocol, the last one's; of equal ones the earlier checkpoint is kept.
"""

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import trainer.checkpoint as checkpoint
from shards.errors import UsageError
from trainer.command.scoreboard import print_line
from trainer.record.log import read_metrics
from trainer.record.rundir import CONFIG_NAME

_Row = dict[str, float]  # the numbers of one checkpoint, by the names of the records
_COLUMNS = {  # title and form of each
    "knn": ("kNN", ".1%"),
    "rankme": ("RankMe", ".1f"),
    "alpha_req": ("alpha", ".2f"),
    "lidar": ("LiDAR", ".1f"),
    "alignment": ("alignment", ".3f"),
    "uniformity": ("uniformity", ".2f"),
}
_LABEL_FREE = tuple(_COLUMNS)[1:]


def select_checkpoint(run: Path, other_flags: Sequence[str] = ()) -> int:
    """Print the table and the sentence; returns the exit code.

    Raises:
        UsageError: no run, a flag that has no meaning here, no checkpoint or no record of one.
    """
    if other_flags:
        flags = ", ".join("--" + name.replace("_", "-") for name in other_flags)
        raise UsageError(f"--select goes with RUN alone, got {flags} too; leave {flags} out")
    if not (run / CONFIG_NAME).is_file():
        raise UsageError(
            f"--select compares the checkpoints of a run, got {run} without {CONFIG_NAME}; give "
            "the folder that python -m trainer.run has left (--out)"
        )
    checkpoint.find(run)
    kept = checkpoint.kept_steps(run)
    rows = read_rows(read_metrics(run), kept)
    if not any({"knn", "rankme"} & set(row) for row in rows.values()):
        more = f"python -m trainer.run --out {shlex.quote(str(run))} --resume eval.label_free=true"
        raise UsageError(
            "--select compares what a run wrote down of its kept checkpoints, got no kNN and no "
            f"label-free measures of step {', '.join(map(str, kept))} in {run}; measure the last "
            f"with {more}"
        )
    columns = [name for name in _COLUMNS if any(name in row for row in rows.values())]
    print_line(f"{'step':>10}" + "".join(f"{_COLUMNS[name][0]:>12}" for name in columns))
    for step, row in rows.items():
        cells = [format(row[n], _COLUMNS[n][1]) if n in row else "-" for n in columns]
        print_line(f"{step:>10}" + "".join(f"{cell:>12}" for cell in cells))
    step, why = choose(rows)
    print_line(f"keep step {step}: {why}")
    return 0


def read_rows(records: Sequence[Mapping[str, Any]], kept: Sequence[int]) -> dict[int, _Row]:
    """The numbers of each kept checkpoint, of the last protocols alone; empty: none."""
    rows: dict[int, _Row] = {step: {} for step in kept}
    for names, protocol in ((("knn",), "knn_protocol"), (_LABEL_FREE, "label_free_protocol")):
        of_kind = [r for r in records if isinstance(r, Mapping) and protocol in r]
        for record in of_kind:
            step = record.get("step")
            if record[protocol] == of_kind[-1][protocol] and step in rows:
                rows[step] |= {name: record[name] for name in names if _is_number(record, name)}
    return rows


def choose(rows: Mapping[int, _Row]) -> tuple[int, str]:
    """The step to keep and a sentence why; some row has a number."""
    name = "knn" if any("knn" in row for row in rows.values()) else "rankme"
    having = [step for step, row in rows.items() if name in row]
    step = max(having, key=lambda step: rows[step][name])
    num_others = len(having) - 1
    if num_others == 0:
        why = f"the only kept checkpoint with {'a kNN' if name == 'knn' else 'a RankMe'}"
    elif name == "knn":
        why = f"the highest kNN of {num_others + 1} kept checkpoints"
    else:
        why = f"the largest RankMe of {num_others + 1} kept checkpoints; there is no kNN"
    if name == "rankme" and num_others:
        why += ". It orders checkpoints of one run, and says not whether they learned"
    return step, why


def _is_number(record: Mapping[str, Any], name: str) -> bool:
    value = record.get(name)
    return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)
