"""A logger for MLflow: `run.loggers=[mlflow]`, where MLFLOW_TRACKING_URI says, or MLflow's default.

A run that goes on is the same run there too: its id stays in RUN. MLFLOW_EXPERIMENT_NAME goes
before our name for the experiment.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shards.atomic import write_whole
from shards.errors import UsageError
from shards.plugins.optional_library import optional_library
from trainer.record.loggers import Values
from trainer.settings.strict import flatten

ID_NAME = "mlflow-run-id"
_MOST_PARAMS = 100  # in one request, and characters of one: what MLflow's REST API takes
_MOST_CHARACTERS = 500


class MlflowLog:
    """Numbers of records as metrics of an MLflow run; the config as its parameters."""

    def __init__(self, run: Path, config: Mapping[str, Any], from_step: int = 0) -> None:
        self._mlflow = _library()
        self._client = self._mlflow.MlflowClient()
        path = run / ID_NAME
        is_known = from_step > 0 and path.is_file()
        if is_known:
            self._id = path.read_text(encoding="utf-8").strip()
            self._client.update_run(self._id, status="RUNNING")
            return
        made = self._client.create_run(self._experiment(), run_name=run.resolve().name)
        self._id = made.info.run_id
        write_whole(path, self._id + "\n")
        texts = [(key, str(value)[:_MOST_CHARACTERS]) for key, value in flatten(config)]
        params = [self._mlflow.entities.Param(key, text) for key, text in texts]
        for start in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(self._id, params=params[start : start + _MOST_PARAMS])

    @staticmethod
    def check() -> None:
        """UsageError without the library, or when it cannot use its store."""
        mlflow = _library()
        try:
            mlflow.MlflowClient()
        except Exception as error:  # MLflow's stores have errors of their own
            reason = " ".join(str(error).split())[:300]
            raise UsageError(
                f"logger mlflow needs a store that it can write to, got {mlflow.get_tracking_uri()}"
                f" ({reason}); set MLFLOW_TRACKING_URI, or pip install mlflow for a local database"
            ) from None

    def write(self, step: int, values: Values) -> None:
        """The numbers of one record."""
        now = int(1000 * time.time())
        numbers = {key: float(value) for key, value in values.items() if not isinstance(value, str)}
        metric = self._mlflow.entities.Metric
        metrics = [metric(key, value, now, step) for key, value in numbers.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def close(self) -> None:
        """Say that the run has ended, for now."""
        self._client.set_terminated(self._id)

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "augengine")
        found = self._client.get_experiment_by_name(name)
        return found.experiment_id if found else self._client.create_experiment(name)


def _library() -> Any:
    return optional_library("mlflow", "logger mlflow", "mlflow")
