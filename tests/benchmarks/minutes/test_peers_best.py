"""Ours beside lightly's best: as many trials, the budget of our run, rows that are kept."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_sets import write_set

from benchmarks.minutes import peers_best
from benchmarks.minutes.peer_ideas import PEER_IDEAS, PeerIdea
from benchmarks.parity.command_costs import Taken
from benchmarks.parity.shared_settings import PAIRS, View
from trainer.nets.resnet import ResNet

RESULTS = Path(peers_best.__file__).parents[1] / "results"


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The command's words for tiny sets and a peer."""
    for name in ("train", "test"):
        write_set(tmp_path / name, [0, 1, 2, 0])
    (tmp_path / "python").touch()
    sets = ["--train", str(tmp_path / "train"), "--scored-on", str(tmp_path / "test")]
    out = ["--out", str(tmp_path / "rows.json"), "--work", str(tmp_path / "work")]
    return [*sets, *out, "--peer-python", str(tmp_path / "python"), "--voters", "3"]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would train; a peer's leaves an untrained encoder."""
    seen: list[list[str]] = []

    def run(command: list[str], log: Path, environment: Any) -> Taken:
        seen.append(command)
        folder = log.parent
        if "benchmarks.minutes.peer_trial" in command:
            idea = PEER_IDEAS[command[command.index("--idea") + 1]]
            encoder = ResNet(10, width=idea.width, stem=idea.stem)
            torch.save(encoder.state_dict(), folder / "encoder.pt")
            record = {"steps": 7, "images": 896, "last_loss": 1.0}
            (folder / "record.json").write_text(json.dumps(record))
        return Taken(wall_s=1.0, cpu_s=12.5, peak_mib=1.0)

    monkeypatch.setattr(peers_best, "run_watched", run)
    monkeypatch.setattr(peers_best, "read_metrics", lambda run: [{"loss": 0.5, "step": 9}])

    class Loaded:
        module = ResNet(10, width=0.375, stem="half")

    monkeypatch.setattr(peers_best, "load_encoder", lambda run: Loaded)
    return seen


def after(command: list[str], flag: str) -> str:
    """A flag's value."""
    return command[command.index(flag) + 1]


def test_the_peer_has_as_many_trials_as_ours_had() -> None:
    """Each is another one."""
    ours = json.loads((RESULTS / "minutes.json").read_text())["rows"]
    assert len(PEER_IDEAS) >= len(ours)
    assert len(set(PEER_IDEAS.values())) == len(PEER_IDEAS)


def test_an_idea_changes_what_it_says_and_no_more() -> None:
    """A rate is for 256 images, AdamW's as it is; all else is the method's row."""
    row = PAIRS["simclr"]
    pair = PeerIdea(rate=0.12, batch=64, temperature=0.2).pair
    assert pair == type(row)(lr=0.03, views=row.views, temperature=0.2)
    assert PeerIdea(optimizer="adamw", rate=0.001).pair.lr == 0.001
    view = View(scale=(0.3, 1.0))
    assert PeerIdea(view=view).pair.views == (view, view)


def test_trials_are_made_once(words: list[str], commands: list[list[str]]) -> None:
    """For the seconds that are given; other voters are another row."""
    ideas = ["--ideas", "simclr,nnclr", "--core-seconds", "30"]
    for _ in range(2):
        assert peers_best.main([*words, *ideas]) == 0
    assert [after(command, "--idea") for command in commands] == ["simclr", "nnclr"]
    assert [after(command, "--core-seconds") for command in commands] == ["30.0", "30.0"]
    assert peers_best.main([*words, *ideas, "--voters", "0"]) == 0
    assert len(commands) == 4


def test_the_peer_gets_the_time_that_ours_took(
    words: list[str], commands: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Ours first, start and end of it included; both are scored by one evaluator."""
    assert peers_best.main([*words, "--beside", "fast_cifar10", "--ideas", "simclr"]) == 0
    ours, theirs = commands
    assert (after(ours, "-m"), after(ours, "--config")) == ("trainer.run", "fast_cifar10")
    assert after(theirs, "--core-seconds") == "12.5"
    rows = json.loads(Path(after(words, "--out")).read_text())["rows"]
    assert [(row["side"], row["steps"]) for row in rows] == [("ours", 9), ("lightly", 7)]
    assert all(row["conditions"]["cpu"] and 0 <= row["knn"] <= 1 for row in rows)
    capsys.readouterr()
    assert peers_best.main(["--print", "--out", after(words, "--out")]) == 0
    assert "fast_cifar10" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--ideas", "simlcr"], "did you mean simclr"),
        (["--core-seconds", "0"], "--core-seconds is positive"),
        (["--voters", "-1"], "--voters is 0 or more"),
        (["--peer-python", "nowhere"], "--peer-python is a Python with lightly"),
        (["--train", "nowhere"], "nowhere"),
    ],
)
def test_wrong_words_are_a_line(
    change: list[str], said: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is trained."""
    assert peers_best.main([*words, *change]) == (1 if "--train" in change else 2)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not Path(after(words, "--out")).exists()
