"""Two processes do not write into one run: the later one is refused, and changes nothing."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import tiny_config

from shards.errors import UsageError
from trainer.record import run_lock
from trainer.record.run_lock import alone_in
from trainer.train import train

HOLD = """
import sys, time
from pathlib import Path
from trainer.record.run_lock import alone_in
with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("resume", [True, False])
def test_a_run_at_work_is_left_alone(resume: bool, shard_folder: Path, tmp_path: Path) -> None:
    """Neither --resume nor --overwrite touches what another process trains; later both may."""
    run = tmp_path / "run"
    config = tiny_config(shard_folder, "simsiam", loop={"epochs": 0.5, "batch_size": 8})
    train(config, run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with alone_in(run), pytest.raises(UsageError, match="one process at a time trains in a folder"):
        train(config, run, resume=resume, overwrite=not resume)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    train(config, run, resume=resume, overwrite=not resume)


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    """A run can be continued at once after SIGKILL; while the process lives it cannot."""
    words = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            with pytest.raises(UsageError, match="another is at work"), alone_in(tmp_path):
                pass
        finally:
            process.kill()
    with alone_in(tmp_path):
        assert not list(tmp_path.iterdir())


def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run goes on; that nobody else writes into its folder is the user's to see to."""

    def flock(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(run_lock.fcntl, "flock", flock)
    with alone_in(tmp_path):
        pass
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"warning: {tmp_path} has no locks (No locks available)" in said
