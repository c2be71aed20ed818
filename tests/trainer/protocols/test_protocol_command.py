"""Every protocol through the command: what it prints, writes, chooses and leaves alone."""

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from made_run import made_run
from tiny_sets import write_set

import trainer.protocols.linear_sgd as linear
import trainer.protocols.whole_network as whole
from trainer.encoders.load_encoder import load_encoder
from trainer.evaluate import main as evaluate
from trainer.protocols.protocol_flags import read_protocol_flags
from trainer.protocols.task import Task

COUNT = 24
FLAGS = ["--device", "cpu", "--backend", "kornia"]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A run, its training set, and held-out images."""
    root = tmp_path_factory.mktemp("protocols")
    train = write_set(root / "train", [i % 3 for i in range(COUNT)])
    test = write_set(root / "test", [i % 3 for i in range(9)], seed=1)
    small = {"arch": "resnet10", "width": 0.125, "stem": "small"}
    made_run(root / "run", train, backbone=small, eval={"data": str(test)})
    return root / "run", train, test


def scored(run: Path, name: str, out: Path, *flags: str) -> dict[str, Any]:
    assert evaluate([str(run), "--protocol", name, "--out", str(out), *FLAGS, *flags]) == 0
    return json.loads(out.read_text())


@pytest.mark.parametrize(
    ("name", "flags", "rows"),
    [
        ("linear-sgd", ["--epochs", "1"], ["seed 0"]),
        ("knn", [], ["k=20", "k=200", "seed 0"]),
        ("semi-10", ["--epochs", "1"], ["seed 0"]),
        ("finetune", ["--epochs", "1", "--rates", "0.01,0.1"], ["seed 0"]),
        ("svm", [], ["layer1", "layer2", "layer3", "layer4", "output"]),
    ],
)
def test_each_protocol_prints_and_writes_its_rows(
    name: str, flags: list[str], rows: list[str], places: tuple[Path, Path, Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Scores are shares; what is printed is what is in the file; the cost was said before."""
    found = scored(places[0], name, tmp_path / "s.json", *flags)
    assert [row["what"] for row in found["rows"]] == rows
    printed = capsys.readouterr()
    for row in found["rows"]:
        assert 0 <= row["scores"][0] <= 1
        assert f"{row['what']:<20}{row['scores'][0]:>8.1%}" in printed.out
    assert printed.err.startswith("about ")
    assert found["conditions"]["sets"][name]["train_images"] == COUNT


def test_without_out_the_scores_lie_in_the_run(places: tuple[Path, Path, Path]) -> None:
    """As protocol-NAME.json."""
    assert evaluate([str(places[0]), "--protocol", "knn", "--k", "1", *FLAGS]) == 0
    assert json.loads((places[0] / "protocol-knn.json").read_text())["protocol"] == "knn"


def test_transfer_prints_one_table(places: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """A row a set, of its own images; a probe tells red, green and blue apart."""
    run, train, test = places
    flags = ["--to", f"a={train},{test}", "--to", f"b={test},{train}"]
    found = scored(run, "transfer", tmp_path / "t.json", *flags)
    assert [row["what"] for row in found["rows"]] == ["a", "b"]
    assert found["rows"][0]["note"].startswith("24 / 9 images, 3 classes")
    assert found["rows"][0]["scores"][0] == pytest.approx(found["rows"][0]["scores"][1])
    assert found["rows"][0]["scores"][0] > 0.6


@pytest.mark.parametrize(
    "name", ["linear-sgd", "knn", "finetune", pytest.param("svm", marks=pytest.mark.long)]
)
def test_a_sweep_sees_no_test_image(
    name: str, places: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    """Held-out images whose labels all lie change scores, and no number of the choice."""
    flags = ["--epochs", "1"] if name in ("linear-sgd", "finetune") else []
    flags += ["--rates", "0.1,1"] if flags else []
    lying = write_set(
        tmp_path / "lying", [(i + 1) % 3 for i in range(9)], [i % 3 for i in range(9)]
    )
    true = scored(places[0], name, tmp_path / "a.json", *flags)["rows"]
    false = scored(places[0], name, tmp_path / "b.json", *flags, "--eval-data", str(lying))["rows"]
    assert any(row["sweep"] for row in true)
    assert [row["sweep"] for row in true] == [row["sweep"] for row in false]
    assert [row["note"] for row in true] == [row["note"] for row in false]


def test_seeds_have_a_spread_and_one_seed_the_same_bits(
    places: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    """Another start repeats each seed's row; the last row is their mean and deviation."""
    flags = ["--epochs", "1", "--rates", "0.03", "--seeds"]
    both = scored(places[0], "semi-10", tmp_path / "a.json", *flags, "3,4")["rows"]
    again = scored(places[0], "semi-10", tmp_path / "b.json", *flags, "4")["rows"]
    assert both[1] == again[0]
    scores = [row["scores"][0] for row in both[:2]]
    assert both[2]["scores"][0] == pytest.approx(sum(scores) / 2)
    assert both[2]["spread"] == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5)
    listed = [(tmp_path / f"a-seed{seed}.txt").read_text().splitlines() for seed in (3, 4)]
    assert [len(lines) for lines in listed] == [3, 3]
    assert listed[0] != listed[1]
    assert "(one a class, more than 10%)" in both[0]["note"]


class Recorded:
    """The state of the task's encoder before and after, and of a copy that was trained."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.encoders: list[tuple[torch.nn.Module, dict]] = []
        self.trained: list[torch.nn.Module] = []
        made = Task.__post_init__

        def remember(task: Task) -> None:
            made(task)
            self.encoders.append((task.encoder, copy.deepcopy(task.encoder.state_dict())))

        monkeypatch.setattr(Task, "__post_init__", remember)
        fresh = Task.fresh_encoder

        def copied(task: Task) -> torch.nn.Module:
            self.trained.append(fresh(task))
            return self.trained[-1]

        monkeypatch.setattr(Task, "fresh_encoder", copied)


@pytest.mark.parametrize("name", ["linear-sgd", "finetune"])
def test_who_may_change_the_encoder(
    name: str, places: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights and batch norm's statistics stay bit-equal; a fine-tuned copy has other ones."""
    recorded = Recorded(monkeypatch)
    scored(places[0], name, tmp_path / "s.json", "--epochs", "2", "--rates", "0.1")
    first = recorded.encoders[0][1]
    for encoder, _ in recorded.encoders:
        assert all(torch.equal(v, first[k]) for k, v in encoder.state_dict().items())
    assert first.keys() == load_encoder(places[0]).module.state_dict().keys()
    assert bool(recorded.trained) == (name == "finetune")
    for encoder in recorded.trained:
        state = encoder.state_dict()
        for key in ("conv1.weight", "bn1.running_mean"):
            assert not torch.equal(state[key], first[key])


@pytest.mark.long
def test_corruptions_need_their_library_and_are_drawn_by_the_seed(
    places: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    """Fifteen kinds of five severities, their mean last; the same numbers again."""
    pytest.importorskip("imagecorruptions", reason="imagecorruptions is not installed")
    flags = ["--max-test-images", "3"]
    rows = scored(places[0], "corruptions", tmp_path / "a.json", *flags)["rows"]
    assert len(rows) == 17
    assert all(len(row["scores"]) == 6 for row in rows[1:])
    means = [row["scores"][0] for row in rows[1:16]]
    assert rows[16]["scores"][0] == pytest.approx(sum(means) / 15)
    assert scored(places[0], "corruptions", tmp_path / "b.json", *flags)["rows"] == rows


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--protocol", "knm"], "did you mean knn"),
        (["--seeds", "1"], "--seeds is of --protocol, got none"),
        (["--protocol", "knn", "--rates", "1"], "leave it out"),
        (["--protocol", "svm", "--baselines"], "leave one of them out"),
        (["--protocol", "svm", "--seeds", "0,x"], "whole numbers in [0, 2^32), got 'x'"),
        (["--protocol", "svm", "--seeds", "0,0"], "each value once, got 0,0"),
        (["--protocol", "linear-sgd", "--epochs", "nan"], "--epochs is more than 0, got 'nan'"),
        (["--protocol", "linear-sgd", "--decays", "-1"], "--decays are 0 or more"),
        (["--protocol", "transfer"], "got no --to"),
        (["--protocol", "transfer", "--to", "a=b"], "--to is NAME=TRAIN,EVAL, got 'a=b'"),
        (["--protocol", "transfer", "--to", "a=b,c", "--to", "a=b,c"], "each set once"),
        (["--protocol", "knn", "--data", "{one}", "--eval-data", "{one}"], "got one (0)"),
        (["--protocol", "knn", "--eval-data", "{bare}"], "need labels, got none"),
    ],
)
def test_what_cannot_be_is_one_line(
    flags: list[str], part: str, places: tuple[Path, Path, Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Rule, value and remedy; nothing is written."""
    one, bare = write_set(tmp_path / "one", [0, 0]), write_set(tmp_path / "bare", [None, None])
    before = sorted(places[0].iterdir())
    flags = [flag.format(one=one, bare=bare) for flag in flags]
    assert evaluate([str(places[0]), *flags]) in (1, 2)
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1
    assert sorted(places[0].iterdir()) == before


def test_two_ranks_are_refused(
    places: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """In one line."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert evaluate([str(places[0]), "--protocol", "knn"]) == 2
    assert "a protocol runs in one process, got 'WORLD_SIZE=2'" in capsys.readouterr().err


def test_the_sweeps_are_the_documents() -> None:
    """docs/evaluation.md lists the rates and decays that are chosen from."""
    text = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    for values in (linear.RATES, linear.DECAYS, whole.RATES):
        listed = ", ".join(f"{value:g}" for value in values).replace("0.0005", "5e-4")
        assert f"one of {listed}" in text


def test_both_sets_of_a_transfer_may_lie_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell knows `~` only at the front of a word, the parser at the front of a value."""
    monkeypatch.setenv("HOME", "/home/me")
    args = SimpleNamespace(
        seeds=None, epochs=None, rates=None, decays=None, max_test_images=None, to=["a=~/b,~/c"]
    )
    read_protocol_flags(args)  # type: ignore[arg-type]
    assert args.to == [("a", "/home/me/b", "/home/me/c")]
