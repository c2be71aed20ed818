"""One run of the study: trained with a score of every epoch, then its checkpoints are probed.

A run is kept in its folder: what is trained is continued or left alone (`--resume auto`), so an
interrupted study goes on where it was.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import trainer.checkpoint as checkpoint
from benchmarks.methods.one_run import python
from shards.errors import DataError
from trainer.command.scored_run import open_evaluation
from trainer.command.select_checkpoint import read_rows
from trainer.eval.features import calibrated
from trainer.record.conditions import conditions
from trainer.record.log import read_metrics
from trainer.record.rundir import read_config
from trainer.setup.networks import build_encoder, encoder_weights, load_weights

PROBE_SECONDS = 300.0
LOSS_EPOCHS = 0.5  # before a checkpoint: their losses' mean is the checkpoint's
KEEP_ALL = 1_000_000


def train_and_score(words: Sequence[str], run: Path, *more: str) -> dict[str, Any]:
    """Train `python -m trainer.run WORDS`, if it is not done; its checkpoints' numbers.

    `words` are quoted in the result, `more` (where the sets lie) is not.
    """
    keys = ("eval.every_epochs=1", "run.save_every_epochs=1", f"run.keep={KEEP_ALL}")
    python("trainer.run", *words, *more, "--out", str(run), "--resume", "auto", *keys)
    points, counts = score_run(run)
    return {
        "command": " ".join(["python -m trainer.run", *words, *keys]),
        "points": points,
        "images": counts,
        "conditions": conditions(),
    }


def score_run(run: Path) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The untrained encoder (step 0), then each kept checkpoint; and numbers of images."""
    config, records = read_config(run), read_metrics(run)
    evaluation = open_evaluation(config, PROBE_SECONDS)
    steps = [0, *checkpoint.kept_steps(run)]
    recorded = read_rows(records, steps)
    points = []
    for step in steps:
        if not {"knn", "rankme"} <= set(recorded[step]):
            raise DataError(
                f"a point of the study has kNN and label-free measures, got a checkpoint of step "
                f"{step} in {run} without; train it anew in another folder"
            )
        which = checkpoint.find(run, str(step) if step else "last")
        weights = encoder_weights(config, checkpoint.load(which))
        encoder = build_encoder(config, config.policy.load(), weights).to(evaluation.device)
        if step:
            load_weights(encoder, weights)
        else:
            views = evaluation.views(evaluation.sets.train)
            encoder = calibrated(encoder, views, evaluation.device)
        score = evaluation.score(f"step {step}", encoder.eval())
        loss = mean_loss(records, step)
        points.append({"step": step, "linear": score.linear, "loss": loss, **recorded[step]})
    train, test = (len(part.ids) for part in (evaluation.sets.train, evaluation.sets.test))
    return points, {"train": train, "test": test}


def mean_loss(records: Sequence[Mapping[str, Any]], step: int) -> float:
    """Of the half epoch before a step; at step 0 the first that the run wrote down, of step 10."""
    losses = [record for record in records if "loss" in record]
    if step == 0:
        return losses[0]["loss"]
    before = [record for record in losses if record["step"] <= step]
    if not before:
        raise DataError(
            "a point of the study has a loss, which a run writes down every run.log_every=10 "
            f"steps, got none up to step {step} of the run; train on more images"
        )
    here = before[-1]["epoch"]
    return statistics.fmean(r["loss"] for r in before if r["epoch"] > here - LOSS_EPOCHS)
