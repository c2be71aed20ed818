"""The command: a row a run, made once; what is not asked for rightly ends in a line."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ablations import run_ablation
from benchmarks.ablations.ablation_table import ABLATIONS
from shards.errors import DataError

Typed = list[list[str]]


@pytest.fixture
def sets(tmp_path: Path) -> str:
    """--set of two folders."""
    for name in ("train", "val"):
        (tmp_path / "sets" / name).mkdir(parents=True)
    return f"{tmp_path}/sets/train,{tmp_path}/sets/val"


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Typed:
    """What each run was, in place of running it; the third one fails."""
    done: Typed = []

    def train_once(words: list[str], run: Path, *more: str) -> dict[str, Any]:
        done.append([*words, *more])
        if len(done) == 3:
            raise DataError("no room")
        found = {"knn": 0.2 if "=false" in words[-3] else 0.5, "random_knn": 0.2, "std": 0.1}
        return found | {"last_loss": -0.5, "seconds": 90.0}

    monkeypatch.setattr(run_ablation, "train_once", train_once)
    return done


@pytest.fixture
def command(tmp_path: Path, sets: str) -> Callable[[str], int]:
    """The command with its file and sets, as it is typed."""
    fixed = ["--out", str(tmp_path / "rows.json"), "--set", sets]
    return lambda words: run_ablation.main([*words.split(), *fixed])


def test_what_lacks_is_made(
    tmp_path: Path, sets: str, typed: Typed, command, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failed run leaves the others, and is made by the next call; what is there stays."""
    assert command("--which simsiam --epochs 2") == 1
    assert "no room" in capsys.readouterr().err
    assert len(json.loads((tmp_path / "rows.json").read_text())["rows"]) == 2
    assert command("--which simsiam --epochs 2") == 0
    assert typed[3] == typed[2]
    assert len(typed) == 4
    cell = ABLATIONS["simsiam"].cells[0]
    train, val = sets.split(",")
    more = ["--epochs", "2", "--seed", "0", "--data", train, "--eval-data", val]
    assert typed[0] == [*cell.words, *more]
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert {row["cell"] for row in rows} == {
        shlex.join(c.words) for c in ABLATIONS["simsiam"].cells
    }
    assert {(row["set"], row["epochs"], row["seed"]) for row in rows} == {("train", 2.0, 0)}
    said = capsys.readouterr().out
    assert "holds (+15.0 points): without its stop-gradient less than half" in said
    assert command("--which simsiam --epochs 2 --seeds 0,1") == 0
    assert [words[words.index("--seed") + 1] for words in typed[4:]] == ["1"] * 3


def test_a_shared_cell_is_run_once(typed: Typed, command) -> None:
    """Two ablations with one baseline: as many runs as there are different words."""
    command("--which byol-batch,byol-views --jobs 2")
    cells = [cell for name in ("byol-batch", "byol-views") for cell in ABLATIONS[name].cells]
    assert len(typed) == len({cell.words for cell in cells}) == len(cells) - 2


def test_all_is_every_one(typed: Typed, command) -> None:
    """--which all."""
    command("--which all")
    assert len(typed) == len({c.words for one in ABLATIONS.values() for c in one.cells})


def test_tables_while_cells_lack(typed: Typed, command, capsys: pytest.CaptureFixture[str]) -> None:
    """--print says what is missing, and trains nothing."""
    command("--which simsiam")
    assert command("--which simsiam,moco-queue --print") == 0
    said = capsys.readouterr().out.splitlines()
    assert sum("not run" in line for line in said if "SimSiam" in line) == 2
    assert "moco-queue: not run" in said
    assert len(typed) == 3


def test_the_list_has_words_that_can_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    """Each cell on one line, quoted for a shell."""
    assert run_ablation.main(["--list"]) == 0
    said = capsys.readouterr().out.splitlines()
    for one in ABLATIONS.values():
        for cell in one.cells:
            line = next(line for line in said if line.startswith(f"  - {cell.label}: "))
            assert shlex.split(line.partition(": ")[2]) == list(cell.words)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("", "--which names ablations, got none"),
        ("--which byol-bath", "unknown ablation 'byol-bath'; did you mean byol-batch?"),
        ("--which all --print", "has no rows; run without --print first"),
        ("--which all --seeds one", "--seeds are whole numbers, got one"),
        ("--which all --epochs 0", "--epochs is positive, got 0.0"),
        ("--which all --jobs 0", "--jobs is a whole number from 1 on, got 0"),
        ("--which all --set a", "--set reads TRAIN,EVAL, got a"),
        ("--which all --set a,b,c", "--set reads TRAIN,EVAL, got a,b,c"),
        ("--which all --set .,.", "scores other images than it trains on, got '.'"),
        ("--which all --set no,where", "--set names folders of shards, got 'no'"),
        ("--which all --out no/where.json", "--out is a file in an existing folder"),
    ],
)
def test_wrong_words_end_in_a_line(
    flags: str,
    message: str,
    tmp_path: Path,
    sets: str,
    typed: Typed,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before a run begins, and nothing is written."""
    fixed = ["--out", str(tmp_path / "rows.json"), "--set", sets]
    assert run_ablation.main([*fixed, *flags.split()]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not typed
    assert [path.name for path in tmp_path.iterdir()] == ["sets"]
