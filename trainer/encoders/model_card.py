"""The README of an encoder that is handed on: data, recipe, scores, and what ran.

Made of what the run has written down; what is not known is said to be unknown.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from shards.errors import DataError, UsageError
from shards.format import MANIFEST_NAME, Manifest
from shards.mixture.mixed_index import joint_fingerprint
from shards.terminal.counted import counted
from trainer.config import TrainConfig
from trainer.recipes.recipe import as_mapping
from trainer.record.log import read_metrics
from trainer.record.rundir import CONFIG_NAME
from trainer.record.starts import read_starts
from trainer.settings.weighted_sets import WeightedSet, expand

# What a recipe says of one disk or machine, and nobody else needs.
_LOCAL = {"data": ("train", "remote_cache", "skip_list"), "eval": ("data",), "run": ()}
_SHOWN_CLASSES = 10


def model_card(
    title: str,
    run: Path,
    config: TrainConfig,
    state: Mapping[str, Any],  # of the checkpoint that is exported
    texts: Mapping[str, str],  # the encoder's
    use: Sequence[str],  # lines of Python that load it
    *,
    scores: Path | None = None,  # a JSON file of trainer.evaluate
    licence: str | None = None,
    library: str = "pytorch",
) -> str:
    """The whole README.md, with the head that Hugging Face reads."""
    head = {
        "library_name": library,
        "pipeline_tag": "image-feature-extraction",
        "tags": ["self-supervised", "image-encoder", config.method.name, "augengine"],
    }
    head |= {} if licence is None else {"license": licence}
    step, total = state["step"], _total_steps(run)
    of = f" of {total:,}" if total else ""
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n# {title}",
        f"An image encoder ({texts['arch']}, {texts['feature_dim']} features), trained without "
        f"labels by `{config.method.name}` for {step:,}{of} steps with AugEngine.",
        "## Use\n\n```python\n" + "\n".join(use) + "\n```",
        "## Data\n\n" + _data(config, state),
        "## Recipe\n\n```yaml\n" + _recipe(config) + "```",
        "## Scores\n\n" + _scores(run, config, step, scores),
        "## What ran\n\n" + _starts(run),
    ]
    return "\n\n".join(parts) + "\n"


def read_scores(path: Path, step: int) -> dict[str, Any]:
    """A JSON file of `trainer.evaluate --json`, of this step's encoder.

    Raises:
        UsageError: there is none, or it scores another encoder.
        DataError: it is no such file.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        rows = [
            (str(row["what"]), float(row["knn"]), float(row["linear"])) for row in found["scores"]
        ]
        conditions = dict(found["conditions"])
    except OSError as error:
        raise UsageError(
            f"--scores is a JSON file of trainer.evaluate --json, got {path} ({error.strerror}); "
            "make one, or leave it out"
        ) from None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(
            f"--scores is a JSON file of trainer.evaluate --json, got {path} ({error!r}); make it "
            "again"
        ) from None
    if not rows or rows[0][0] != f"step {step}":
        what = rows[0][0] if rows else "nothing"
        raise UsageError(
            f"--scores are those of the exported encoder (step {step}), got {what} in {path}; "
            "evaluate this checkpoint"
        )
    return {"rows": rows, "conditions": conditions}


def _data(config: TrainConfig, state: Mapping[str, Any]) -> str:
    """What the run was trained on: one set, or a line for each of several."""
    fingerprint = state["data_fingerprint"]
    sets = expand(config.data.train or "unknown")
    manifests = [_manifest(found) for found in sets]
    there = [manifest for manifest in manifests if manifest is not None]
    is_other = len(there) == len(sets) and fingerprint != joint_fingerprint(
        [manifest.fingerprint for manifest in there]
    )
    changed = "What lies there now is other than what the run was trained on." if is_other else ""
    if len(sets) == 1:
        told = f"{_name_of(sets[0])}, fingerprint `{fingerprint}`{_content(manifests[0])}"
        return f"{told} {changed}".rstrip()
    head = f"{len(sets)} sets, together of fingerprint `{fingerprint}`. {changed}".rstrip()
    lines = [
        f"- {_name_of(found)}, weight {found.weight:g}{_content(manifest)}"
        for found, manifest in zip(sets, manifests, strict=True)
    ]
    return "\n".join([f"{head}\n", *lines])


def _name_of(found: WeightedSet) -> str:
    return f"`{found.place.rstrip('/').rpartition('/')[2]}`"


def _manifest(found: WeightedSet) -> Manifest | None:
    path = Path(found.place) / MANIFEST_NAME
    return Manifest.from_json(path.read_text(encoding="utf-8")) if path.is_file() else None


def _content(manifest: Manifest | None) -> str:
    if manifest is None:
        return "; the set itself was not there any more when this was written."
    classes = ", ".join(manifest.classes[:_SHOWN_CLASSES])
    more = len(manifest.classes) - _SHOWN_CLASSES
    classes += f" and {more} more" if more > 0 else ""
    kind = f"packed from a {manifest.made.get('kind')}" if manifest.is_packed else "tars of others"
    labels = (
        f"{counted(len(manifest.classes), 'class')} ({classes}), which training does not look at"
    )
    return (
        f": {counted(manifest.num_samples, 'image')}, {kind}; "
        f"{labels if manifest.classes else 'no classes'}."
    )


def _recipe(config: TrainConfig) -> str:
    """Every key that another machine can use; `--config FILE` takes it."""
    values = as_mapping(config)
    for section, keys in _LOCAL.items():
        for key in keys:
            values[section].pop(key, None)
    values.pop("run")
    return yaml.safe_dump(values, sort_keys=False, default_flow_style=None)


def _scores(run: Path, config: TrainConfig, step: int, path: Path | None) -> str:
    if path is not None:
        found = read_scores(path, step)
        rows = [f"| {what} | {knn:.1%} | {linear:.1%} |" for what, knn, linear in found["rows"]]
        table = ["| encoder | kNN | linear probe |", "|---|---|---|", *rows]
        facts = found["conditions"]
        text = (
            f"Top-1 on {counted(facts.get('test_images', 0), 'held-out image')}, frozen features "
            f"of centre views of {facts.get('size_px')} px; kNN k={facts.get('k')}, "
            f"T={facts.get('temperature')}; linear probe: {facts.get('linear')}."
        )
        return "\n".join(table) + f"\n\n{text}"
    records = {r["step"]: r for r in read_metrics(run) if "knn" in r}
    if step not in records:
        return "None were made of this encoder."
    record = records[step]
    random = f"; the untrained encoder: {records[0]['knn']:.1%}" if 0 in records and step else ""
    return f"kNN {record['knn']:.1%}{random} ({record['knn_protocol']})."


def _starts(run: Path) -> str:
    lines = []
    for start in read_starts((run / CONFIG_NAME).read_text(encoding="utf-8")):
        facts = [str(start[key]) for key in ("date", "versions") if key in start]
        # Without the name of the machine, which comes first.
        facts += [str(start.get("machine", "")).partition(", ")[2]]
        facts += [f"{start['ranks']} processes"] if start.get("ranks", 1) != 1 else []
        lines.append(f"- `{start.get('command', 'unknown')}`\n  {'; '.join(filter(None, facts))}")
    return "\n".join(lines) or "It is not known."


def _total_steps(run: Path) -> int | None:
    starts = read_starts((run / CONFIG_NAME).read_text(encoding="utf-8"))
    total = starts[-1].get("of_steps") if starts else None
    return total if isinstance(total, int) else None
