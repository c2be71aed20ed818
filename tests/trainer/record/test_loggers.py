"""Who gets a run's records: metrics.jsonl always, others by name, and none of them ends the run."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import trainer.record.loggers as loggers
from shards.errors import UsageError
from trainer.config import LOGGERS, RunConfig
from trainer.record.log import RunLog, read_metrics
from trainer.record.loggers import check_loggers

ROOT = Path(__file__).parents[3]
# Two starts of a run, the second one from step 2 on.
TWO_STARTS = """
import sys
from pathlib import Path
from trainer.record.log import RunLog
from trainer.record.loggers import check_loggers
names, run = sys.argv[1:], Path("r")
run.mkdir()
check_loggers(names)
with RunLog(run, names, {"loop": {"epochs": 3}}) as log:
    log.write(1, {"loss": 2.5, "words": "none"})
    log.write(2, {"loss": float("nan"), "epoch": 0.5})
with RunLog(run, names, {"loop": {"epochs": 4}}, from_step=2) as log:
    log.write(3, {"loss": 1.5})
"""


class Listed:
    """Keeps what it gets; fails at `fails`."""

    fails = ""

    def __init__(self) -> None:
        self.got: list[object] = []

    def write(self, step: int, values: object) -> None:
        self.got.append((step, values))
        if self.fails == "write":
            raise ConnectionError("the server is gone")

    def close(self) -> None:
        if self.fails == "close":
            raise TimeoutError("no answer")


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> type[Listed]:
    """A logger that is not ours, under the name `listed`."""
    cls = type("Listed", (Listed,), {"write": Listed.write, "close": Listed.close})
    monkeypatch.setattr(loggers, "_class_of", lambda name: cls if name == "listed" else own(name))
    return cls


own = loggers._class_of


@pytest.mark.parametrize("names", [(), ("jsonl",), ("tensorboard",), ("tensorboard", "jsonl")])
def test_metrics_jsonl_cannot_be_switched_off(names: tuple[str, ...], tmp_path: Path) -> None:
    """Named or not it has every record, once; TensorBoard is there when it is named."""
    with RunLog(tmp_path, names) as log:
        log.write(1, {"loss": 2.0})
    assert [record["loss"] for record in read_metrics(tmp_path)] == [2.0]
    assert (tmp_path / "tensorboard").exists() == ("tensorboard" in names)
    assert RunConfig().loggers == ("tensorboard",)


@pytest.mark.parametrize("fails", ["write", "close"])
def test_a_logger_that_fails_costs_its_records_only(
    fails: str, listed: type[Listed], tmp_path: Path
) -> None:
    """One warning; the run and the other loggers go on."""
    listed.fails = fails
    warned: list[str] = []
    with RunLog(tmp_path, ("listed", "tensorboard"), warn=warned.append) as log:
        for step in (1, 2, 3):
            log.write(step, {"loss": 1.0})
    assert len(read_metrics(tmp_path)) == 3
    assert len(warned) == 1
    assert "logger listed gets no more records, since it failed: " in warned[0]
    assert "metrics.jsonl has all of them" in warned[0]


def test_a_logger_that_cannot_begin_is_one_line(listed: type[Listed], tmp_path: Path) -> None:
    """Those that had begun are closed."""

    def begin(self: Listed) -> None:
        raise ConnectionError("no\nserver")

    listed.__init__ = begin
    with pytest.raises(UsageError, match=r"logger listed starts with the run, got ConnectionErr"):
        RunLog(tmp_path, ("listed",))


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_library_that_is_not_there_is_asked_for(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the line that installs it, before anything is written."""
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        UsageError, match=f"logger {name} needs {name}, which is not installed; pip install"
    ):
        check_loggers([name])
    assert name in LOGGERS


def two_starts(folder: Path, name: str, **environment: str) -> str:
    """The two starts in a process of their own, whose libraries' warnings are theirs."""
    path = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", TWO_STARTS, name],
        cwd=folder,
        env=path | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "gets no more records" not in done.stderr
    return done.stderr


@pytest.mark.skipif(not find_spec("wandb"), reason="needs wandb: pip install 'wandb>=0.31'")
def test_wandb_takes_records_offline(tmp_path: Path) -> None:
    """Two starts are one run, by its id, with every record."""
    two_starts(tmp_path, "wandb", WANDB_MODE="offline")
    (identity,) = (tmp_path / "r" / "wandb").glob("augengine-run-id")
    name = identity.read_text().strip()
    starts = sorted((tmp_path / "r" / "wandb").glob("offline-run-*"))
    assert starts
    assert all(start.name.endswith(name) for start in starts)
    stored = b"".join(file.read_bytes() for file in (tmp_path / "r").rglob(f"run-{name}.wandb"))
    assert all(text in stored for text in (b"loss", b"2.5", b"1.5", b"epochs"))


@pytest.mark.skipif(not find_spec("mlflow"), reason="needs mlflow: pip install mlflow-skinny")
def test_mlflow_takes_records_in_a_folder(tmp_path: Path) -> None:
    """Two starts are one run with the numbers of all steps, and the config's keys."""
    store = {"MLFLOW_TRACKING_URI": f"file:{tmp_path / 'store'}", "MLFLOW_ALLOW_FILE_STORE": "true"}
    two_starts(tmp_path, "mlflow", **store)
    (losses,) = (tmp_path / "store").rglob("metrics/loss")
    rows = [line.split() for line in losses.read_text().splitlines()]
    assert [(value, step) for _, value, step in rows] == [("2.5", "1"), ("nan", "2"), ("1.5", "3")]
    (epochs,) = (tmp_path / "store").rglob("params/loop.epochs")
    assert epochs.read_text() == "3"
    assert not list((tmp_path / "store").rglob("metrics/words"))


@pytest.mark.skipif(not find_spec("wandb"), reason="needs wandb: pip install 'wandb>=0.31'")
def test_wandb_without_a_key_is_one_line(tmp_path: Path) -> None:
    """It would ask, and nobody may be there."""
    code = "from trainer.record.loggers import check_loggers\ncheck_loggers(['wandb'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert "logger wandb needs a key for its server, got none; type wandb" in done.stderr
    assert done.returncode == 1
