"""A checkpoint is whole or absent, versioned, loads without code, and the newest few are kept."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from shards.errors import DataError, UsageError
from trainer import checkpoint


def make_state(step: int) -> dict[str, Any]:
    return {
        "step": step,
        "cursor": {"version": 1, "position": step * 4},
        "method": {"weight": torch.full((3,), float(step))},
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": []},
        "seed": 0,
        "data_fingerprint": "abc",
        "config": {"loop": {"epochs": 1.0}},
        "torch_version": str(torch.__version__),
    }


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """Tensors and plain values come back equal, with the version added, by weights_only loading."""
    path = checkpoint.save(tmp_path, make_state(7), keep=2)
    state = checkpoint.load(path)
    assert state["version"] == checkpoint.CHECKPOINT_VERSION
    assert state["step"] == 7
    assert torch.equal(state["method"]["weight"], torch.full((3,), 7.0))
    assert torch.load(path.parent / "last.pt", weights_only=True)["step"] == 7


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    """keep=2 leaves the last two; last.pt names the newest; nothing temporary stays."""
    for step in (5, 100, 20, 3000):
        checkpoint.save(tmp_path, make_state(step), keep=2)
    assert [p.name for p in checkpoint.steps(tmp_path)] == ["step-00000100.pt", "step-00003000.pt"]
    names = {p.name for p in (tmp_path / "checkpoints").iterdir()}
    assert names == {"step-00000100.pt", "step-00003000.pt", "last.pt"}


def test_a_failed_write_leaves_the_former(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk in the middle of a save keeps the old checkpoint and no half file."""
    checkpoint.save(tmp_path, make_state(1), keep=2)

    def fail(state: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(DataError, match="No space left"):
        checkpoint.save(tmp_path, make_state(2), keep=2)
    names = {p.name for p in (tmp_path / "checkpoints").iterdir()}
    assert names == {"step-00000001.pt", "last.pt"}


FULL_DISK = """
import resource, sys, torch
from pathlib import Path
from shards.errors import DataError
from trainer import checkpoint
run = Path(sys.argv[1])
state = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
del state["version"]
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
state |= {"step": 2, "method": {"weight": torch.zeros(100_000)}}
try:
    checkpoint.save(run, state, keep=1)
except DataError as error:
    print(error)
"""


def test_no_room_for_a_checkpoint_is_one_line(tmp_path: Path) -> None:
    """A write that the system really refuses: one line, the former file whole, no other left."""
    checkpoint.save(tmp_path, make_state(1), keep=2)
    argv = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "File too large" in done.stdout
    assert "what was there before is intact" in done.stdout
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {"step-00000001.pt", "last.pt"}
    assert checkpoint.load(checkpoint.find(tmp_path))["step"] == 1


def test_what_a_kill_left_is_removed_by_the_next_save(tmp_path: Path) -> None:
    """Half-written files of other processes do not pile up."""
    checkpoint.save(tmp_path, make_state(1), keep=2)
    (tmp_path / "checkpoints" / ".step-00000002.pt.123.tmp").write_bytes(b"half")
    checkpoint.save(tmp_path, make_state(2), keep=2)
    assert not list((tmp_path / "checkpoints").glob(".*"))


def test_a_checkpoint_is_read_to_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever device wrote it: step counts of Adam on a GPU would make it wait in every step."""
    checkpoint.save(tmp_path, make_state(1), keep=1)
    places, load = [], torch.load

    def watched(*arguments: Any, **options: Any) -> Any:
        places.append(options["map_location"])
        return load(*arguments, **options)

    monkeypatch.setattr(torch, "load", watched)
    checkpoint.load_newest(tmp_path, lambda _: None)
    checkpoint.load_step(tmp_path, 1)
    assert places == ["cpu", "cpu"]


def test_a_torn_newest_file_costs_no_older_one(tmp_path: Path) -> None:
    """It is named; the one before it is used; and it does not count as one of the newest."""
    checkpoint.save(tmp_path, make_state(3), keep=1)
    torn = checkpoint.save(tmp_path, make_state(9), keep=2)
    torn.write_bytes(torn.read_bytes()[:200])
    warnings: list[str] = []
    assert checkpoint.load_newest(tmp_path, warnings.append)["step"] == 3
    assert len(warnings) == 1
    assert str(torn) in warnings[0]
    checkpoint.save(tmp_path, make_state(5), keep=1)
    assert [p.name for p in checkpoint.steps(tmp_path)] == ["step-00000005.pt", "step-00000009.pt"]
    assert checkpoint.load_newest(tmp_path, warnings.append)["step"] == 5
    torn.with_name("step-00000005.pt").write_bytes(b"")
    with pytest.raises(DataError, match="that can be read, got none"):
        checkpoint.load_newest(tmp_path, warnings.append)


@pytest.mark.parametrize("where", ["method", "optimizer"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_weights_that_are_not_finite_are_not_resumed(
    value: str, where: str, tmp_path: Path
) -> None:
    """The tensor is named, and the file before is taken; a method's own mask is no reason."""
    checkpoint.save(tmp_path, make_state(3), keep=2)
    bad = make_state(5)
    name = "weight" if where == "method" else "momentum_buffer"
    (bad["method"] if where == "method" else bad["optimizer"]["state"][0])[name][1] = float(value)
    path = checkpoint.save(tmp_path, bad, keep=2)
    warnings: list[str] = []
    assert checkpoint.load_newest(tmp_path, warnings.append)["step"] == 3
    assert f"infinity in 1 tensor of {path} ({where}." in warnings[0]
    allowed = checkpoint.load_newest(tmp_path, warnings.append, ["weight"])["step"]
    assert allowed == (5 if where == "method" else 3)


@pytest.mark.parametrize(
    "damage", ["torn", "garbage", "version", "versions", "keys", "numbered", "config", "list"]
)
def test_what_is_not_a_checkpoint_is_refused(damage: str, tmp_path: Path) -> None:
    """A torn file, another version and unknown or missing keys are named in one line."""
    path = checkpoint.save(tmp_path, make_state(1), keep=1)
    state = torch.load(path, weights_only=True)
    if damage == "torn":
        path.write_bytes(path.read_bytes()[:200])
    elif damage == "garbage":
        path.write_bytes(b"not a checkpoint")
    elif damage == "version":
        torch.save(state | {"version": 99}, path)
    elif damage == "versions":
        torch.save(state | {"version": torch.ones(3)}, path)
    elif damage == "numbered":
        torch.save(state | {1: 2}, path)
    elif damage == "config":
        torch.save(state | {"config": 3.0}, path)
    elif damage == "keys":
        torch.save({key: state[key] for key in state if key != "seed"}, path)
    else:
        torch.save([1, 2], path)
    with pytest.raises(DataError, match=r"step-00000001\.pt"):
        checkpoint.load(path)


def test_find_by_name_number_and_path(tmp_path: Path) -> None:
    """`last`, a step and a path find a file; anything else lists what there is."""
    first = checkpoint.save(tmp_path, make_state(1), keep=5)
    second = checkpoint.save(tmp_path, make_state(12), keep=5)
    assert checkpoint.find(tmp_path) == second
    assert checkpoint.find(tmp_path, "1") == first
    assert checkpoint.find(tmp_path, str(first)) == first
    with pytest.raises(UsageError, match=r"got 5; .* has: 1, 12"):
        checkpoint.find(tmp_path, "5")
    with pytest.raises(UsageError, match="has a checkpoints folder"):
        checkpoint.find(tmp_path / "elsewhere")


def test_a_missing_checkpoint_is_told_with_what_to_do(tmp_path: Path) -> None:
    """Of a run that ended before its first one, and of one whose kNN nobody asked for."""
    (tmp_path / "checkpoints").mkdir()
    for which in ("last", "best", "3"):
        with pytest.raises(UsageError, match=r"ended before its first; begin it again.*overwrite"):
            checkpoint.find(tmp_path, which)
    (tmp_path / "checkpoints" / "step-00000003.pt").touch()
    with pytest.raises(UsageError, match=r"got none in .*; take last or one of the steps 3"):
        checkpoint.find(tmp_path, "best")
    for which in ("4", "²"):
        with pytest.raises(UsageError, match=rf"got {which}; .* has: 3"):
            checkpoint.find(tmp_path, which)
