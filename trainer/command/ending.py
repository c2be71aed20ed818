"""The last lines of a run: what it reached, what was bad, and what to type next."""

import math
import shlex
from pathlib import Path

from shards.terminal.counted import counted
from trainer.config import TrainConfig
from trainer.record.samplelog import describe_bad_samples
from trainer.setup.beginning import name_of_beginning
from trainer.train import Outcome
from trainer.watch.verdict import describe_verdict


def describe_end(config: TrainConfig, out: Path, outcome: Outcome) -> str:
    """The lines that a run ends with on the terminal."""
    bad = describe_bad_samples(out)
    if outcome.exit_code:
        # Nothing is left to train then, but the score that the run is judged by.
        is_trained = outcome.step == outcome.total_steps
        has_knn = config.eval.data is None or outcome.step in outcome.knn
        last = "label-free measures" if has_knn else "kNN"
        before = f", before its last {last}" if is_trained else ""
        stopped = f"stopped after step {outcome.step} of {outcome.total_steps}{before}"
        lines = [f"{stopped}; continue with"]
        lines += [f"  python -m trainer.run --out {shlex.quote(str(out))} --resume"]
        return "\n".join([bad, *lines] if bad else lines)
    # A run that is continued after its last step has no loss of its own.
    loss = "already" if math.isnan(outcome.loss) else f"loss {outcome.loss:.4f}"
    lines = [f"{counted(outcome.total_steps, 'step')} done, {loss}, in {out}"]
    knn = outcome.knn
    if knn:
        lines.append(f"kNN {knn[outcome.step]:.1%}, {name_of_beginning(config)} {knn[0]:.1%}")
        scores = (knn[outcome.step], knn[0])
        lines.append(describe_verdict(config, *scores, is_still=outcome.is_still))
    lines += [bad] if bad else []
    data = "" if config.eval.data else " --eval-data LABELLED_SHARDS"
    lines.append(f"next:\n  python -m trainer.evaluate {shlex.quote(str(out))}{data} --baselines")
    return "\n".join(lines)
