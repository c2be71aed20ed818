"""The commands: what they leave, in what order settings win, and one line for whatever is wrong."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from tiny_run import tiny_config

from shards.errors import UsageError
from trainer.evaluate import main as evaluate
from trainer.recipes.recipe import to_yaml
from trainer.record.log import read_metrics
from trainer.record.rundir import read_config
from trainer.record.starts import read_starts
from trainer.run import main as run
from trainer.train import train


@pytest.fixture
def recipe(shard_folder: Path, tmp_path: Path) -> Path:
    """A recipe of a run of four steps with evaluation."""
    changes = {
        "loop": {"epochs": 0.9, "batch_size": 8},
        "eval": {"data": str(shard_folder), "k": 3, "every_epochs": 0.5},
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(to_yaml(tiny_config(shard_folder, "simsiam", **changes)))
    return path


def printed(argv: list[str], capsys: pytest.CaptureFixture[str]) -> dict:
    assert run([*argv, "--print-config"]) == 0
    return yaml.safe_load(capsys.readouterr().out)


def test_key_value_beats_flag_beats_recipe_beats_default(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each source wins over the one before it, and leaves the other keys alone."""
    argv = ["--config", str(recipe)]
    assert printed(argv, capsys)["loop"]["batch_size"] == 8
    argv += ["--batch-size", "16", "--epochs", "3"]
    assert printed(argv, capsys)["loop"]["batch_size"] == 16
    config = printed([*argv, "loop.batch_size=32", "optim.base_lr=1e-3"], capsys)
    assert config["loop"] == {
        "epochs": 3.0,
        "batch_size": 32,
        "accumulate": 1,
        "norm_images": None,
        "clip_norm": None,
        "clip_each": False,
        "precision": "auto",
        "seed": 0,
        "window_shards": None,
        "compile": False,
        "checkpoint_activations": False,
        "repeatable": False,
    }
    assert config["optim"]["base_lr"] == 0.001
    assert config["data"]["prefetch"] == 2


@pytest.mark.parametrize(
    ("argv", "method", "arch", "data"),
    [
        ([], "swav", "resnet10", "demo"),
        (["--method", "byol"], "byol", "resnet10", "demo"),
        (["--data", "somewhere", "--config", "swav"], "swav", "resnet50", "somewhere"),
    ],
)
def test_the_recipe_follows_from_method_and_data(
    argv: list[str], method: str, arch: str, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The published recipe where --config names it; without a word the demo recipe."""
    config = printed(argv, capsys)
    assert config["method"]["name"] == method
    assert config["backbone"]["arch"] == arch
    assert config["data"]["train"] == data


def test_a_run_leaves_what_it_promises(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """config.yaml that resolves, records with every number, checkpoints, and the next command."""
    out = tmp_path / "run"
    assert run(["--config", str(recipe), "--out", str(out)]) == 0
    names = {"config.yaml", "metrics.jsonl", "checkpoints", "tensorboard"}
    assert {p.name for p in out.iterdir()} == names
    (start,) = read_starts((out / "config.yaml").read_text())
    assert start["command"].startswith("python -m trainer.run --config")
    assert "torch" in start["versions"]
    assert read_config(out).method.name == "simsiam"
    records = read_metrics(out)
    steps = [r for r in records if "loss" in r]
    assert [r["step"] for r in steps] == [1, 2, 3, 4]
    expected = {"epoch", "lr", "images_per_s", "data_wait", "peak_memory_mib", "std", "rank"}
    expected.add("bad_samples")
    assert expected <= set(steps[0])
    assert [r["step"] for r in records if "knn" in r] == [0, 3, 4]
    summary = capsys.readouterr().out
    assert "random encoder" in summary
    assert f"python -m trainer.evaluate {out}" in summary


def test_evaluate_scores_a_run(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table and JSON of this encoder, a random one and raw pixels, with their conditions."""
    out, scores = tmp_path / "run", tmp_path / "scores.json"
    run(["--config", str(recipe), "--out", str(out)])
    capsys.readouterr()
    assert evaluate([str(out), "--baselines", "--k", "5", "--json", str(scores)]) == 0
    table = capsys.readouterr().out
    result = json.loads(scores.read_text())
    assert [s["what"] for s in result["scores"]] == ["step 4", "random encoder", "raw pixels"]
    for score in result["scores"]:
        assert 0 <= score["knn"] <= 1
        assert score["what"] in table
    assert result["conditions"]["k"] == 5
    # 37 images, classes in turn: 13, 12 and 12.
    assert result["conditions"]["largest_class"] == 13 / 37
    assert "35.1% of them of one class" in table.replace("\n", " ")
    assert result["conditions"]["train_images"] == 37
    assert {"cpu", "versions", "date", "commit"} <= set(result["conditions"])
    # The training images are the test images here: a linear map over 768 pixels knows them all.
    assert result["scores"][2]["linear"] == 1.0
    assert "raw pixels: all of them; " in table
    assert evaluate([str(out), "--probe-seconds", "0"]) == 2
    assert "--probe-seconds is positive, got 0.0; try 300" in capsys.readouterr().err


def test_rows_are_there_as_soon_as_they_are_made(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The run's own row comes first, printed and in the JSON although the second never ends."""
    out, scores = tmp_path / "run", tmp_path / "scores.json"
    run(["--config", str(recipe), "--out", str(out)])
    capsys.readouterr()

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("trainer.eval.evaluation.Evaluation.calibrated", stop)
    assert evaluate([str(out), "--baselines", "--json", str(scores)]) == 130
    assert "step 4 " in capsys.readouterr().out
    result = json.loads(scores.read_text())
    assert [s["what"] for s in result["scores"]] == ["step 4"]
    assert result["conditions"]["train_images"] == 37


def test_resume_needs_only_the_folder(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--out RUN --resume takes the run's own config; a change to it is named."""
    out = str(tmp_path / "run")
    assert run(["--config", str(recipe), "--out", out]) == 0
    assert "steps done, loss" in capsys.readouterr().out
    assert run(["--out", out, "--resume"]) == 0
    assert "steps done, already" in capsys.readouterr().out
    assert run(["--out", out, "--resume", "--seed", "7"]) == 2
    assert "loop.seed: 0 -> 7" in capsys.readouterr().err


def test_resume_auto_starts_or_continues(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command starts a run, begins it again without a checkpoint, and continues it."""
    out = tmp_path / "run"
    argv = ["--config", str(recipe), "--out", str(out), "--resume", "auto", "run.keep=3"]
    assert run(argv) == 0
    first = read_metrics(out)
    for path in (out / "checkpoints").iterdir():
        path.unlink()
    assert run(argv) == 0
    assert [r["step"] for r in read_metrics(out)] == [r["step"] for r in first]
    assert run(argv) == 0
    assert read_config(out).run.keep == 3
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    argv[3] = str(tmp_path / "mine")
    assert run(argv) == 2
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "precious"


def test_a_run_is_not_written_over(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A non-empty folder is refused; --overwrite replaces a run, and nothing but a run."""
    out = tmp_path / "run"
    argv = ["--config", str(recipe), "--out", str(out)]
    assert run(argv) == 0
    first = (out / "metrics.jsonl").read_text()
    assert run(argv) == 2
    assert "--resume" in capsys.readouterr().err
    assert (out / "metrics.jsonl").read_text() == first
    assert run([*argv, "--overwrite", "--epochs", "0.5"]) == 0
    assert [r["step"] for r in read_metrics(out) if "loss" in r] == [1, 2]
    with pytest.raises(UsageError, match="must be new or empty"):  # nor by a program
        train(read_config(out), out)
    assert [r["step"] for r in read_metrics(out) if "loss" in r] == [1, 2]
    assert train(read_config(out), str(out), overwrite=True).step == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    argv[-1] = str(tmp_path / "mine")
    assert run([*argv, "--overwrite"]) == 2
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "precious"


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["--method", "swaw"], ["unknown method 'swaw'", "did you mean swav?"]),
        (["--method", "simclrv2"], ["got recipe simclrv2", "--config simclrv2"]),
        (["policy.blurr=0.5"], ["'blurr'", "did you mean blur", "allowed"]),
        (["policy.name=swaw"], ["unknown policy 'swaw'", "swav"]),
        (["--backend", "cuda"], ["'cuda'", "fused", "dali", "kornia"]),
        (["--sizes", "0+16", "--views", "2+2"], ["--sizes", "at least 1"]),
        (["--sizes", "big"], ["--sizes", "got 'big'"]),
        (["--views", "2+6", "--sizes", "32"], ["one size per count"]),
        (["--views", "two"], ["--views", "got 'two'"]),
        (["--views", "1"], ["at least 2 global views"]),
        (["--data", "/nowhere/at/all"], ["/nowhere/at/all"]),
        (["--eval-data", "/nowhere/at/all"], ["/nowhere/at/all"]),
        (["--config", "missing.yaml"], ["no file missing.yaml", "--list names the recipes"]),
        (["--config", "swavv"], ["unknown recipe 'swavv'", "did you mean swav?"]),
        (["loop.epochs=many"], ["loop.epochs is a finite number, got 'many'"]),
        (["loop.epoch=3"], ["unknown key 'epoch' in loop", "did you mean epochs?"]),
        (["method.out_dims=3"], ["unknown key 'out_dims' in method", "did you mean out_dim?"]),
        (["optim=3"], ["optim is a mapping of keys, got 3"]),
        (["optim.name=adam"], ["unknown optimizer 'adam'", "did you mean adamw?"]),
        (["stray"], ["key=value, got 'stray'"]),
        (["--arch", "resnet51"], ["unknown arch 'resnet51'", "did you mean resnet"]),
        (["--device", "cuda"], ["--device cuda needs an NVIDIA GPU"]),
        (["--batch-size", "64"], ["at most the data set", "64 for 37 images"]),
        (["--epochs", "0.01"], ["at least one step"]),
        (["--resume"], ["add --out RUN"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_is_wrong_is_one_line(
    argv: list[str],
    parts: list[str],
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2 or 1, one line with rule, value and remedy, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    if "--device" in argv:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    before = sorted(tmp_path.rglob("*"))
    config = [] if "--config" in argv else ["--config", str(recipe)]
    assert run([*config, *argv]) in (1, 2)
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    for part in parts:
        assert part in captured.err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_step_too_large_for_the_gpu_is_one_line(
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2, what was asked of the GPU, and what to change."""

    def train(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79 GiB"
        )

    monkeypatch.setattr("trainer.train.train", train)
    assert run(["--config", str(recipe), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "got --batch-size 8: CUDA out of memory. Tried to allocate 2.00 GiB; lower it" in error


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["{tmp}/nothing"], "a run is a folder with config.yaml"),
        (["{tmp}/run", "--checkpoint", "99"], "is last, best, a step number or a file, got 99"),
        (["{tmp}/run", "--data", "{tmp}/nothing"], "nothing"),
        (["{tmp}/run", "--json", "{tmp}/no/such/file.json"], "--json is a file in an existing"),
    ],
)
def test_evaluate_names_what_is_wrong(
    argv: list[str],
    part: str,
    recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line, exit code 2 or 1."""
    run(["--config", str(recipe), "--out", str(tmp_path / "run"), "--epochs", "0.25"])
    capsys.readouterr()
    assert evaluate([a.format(tmp=tmp_path) for a in argv]) in (1, 2)
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1


def test_help_and_list_teach(capsys: pytest.CaptureFixture[str]) -> None:
    """--help shows examples and where recipes lie; --list names recipes, methods and policies."""
    with pytest.raises(SystemExit) as ended:
        run(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for word in ("examples:", "--print-config", "recipes", "key=value", "--resume"):
        assert word in text
    assert run(["--list"]) == 0
    text = capsys.readouterr().out
    for word in ("swav_demo", "byol", "simsiam", "mocov2"):
        assert word in text


def test_arch_takes_of_a_recipe_what_it_knows(capsys: pytest.CaptureFixture[str]) -> None:
    """--arch leaves a ResNet's stem and width behind for a ViT, a ViT's drop path for a ResNet."""
    backbone = printed(["--arch", "vit_tiny4"], capsys)["backbone"]
    assert (backbone["arch"], backbone["stem"], backbone["width"]) == ("vit_tiny4", "auto", 1.0)
    assert printed(["--arch", "resnet18"], capsys)["backbone"]["width"] == 0.25
    vit = ["--config", "dino_vit", "--data", "x", "--arch"]
    assert printed([*vit, "vit_base16"], capsys)["backbone"]["drop_path"] == 0.1
    assert printed([*vit, "resnet50"], capsys)["backbone"]["drop_path"] == 0.0
