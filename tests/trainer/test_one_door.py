"""A folder that is not ours, with one of everything: the commands take all of it by its names."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from typed import ROOT, typed

import shards.plugins.importing as importing
from shards.index import ShardIndex
from tools.make_shards import main as make_shards
from tools.show_views import main as show_views
from trainer.evaluate import main as evaluate
from trainer.export import main as export
from trainer.nets.batchnorm import ViewBatchNorm
from trainer.recipes.recipe import read_recipe, resolve
from trainer.record.log import read_metrics
from trainer.record.starts import read_starts
from trainer.run import main as run
from trainer.setup.networks import build_method

OWN_CODE = ROOT / "tests" / "own_code"
NAMES = {
    "method": "my_pkg.my_method:Mine",
    "arch": "my_pkg.my_net:MyNet",
    "optimizer": "my_pkg.my_optimizer:Signs",
    "backend": "my_pkg.my_engine:Views",
    "decoder": "my_pkg.my_engine:Pixels",
    "logger": "my_pkg.my_logger:Lines",
}
# A run of two steps by ours, on the squares.
TINY = (
    "--data train --epochs 0.5 --batch-size 8 --views 2 --sizes 16 --method simsiam --arch resnet10"
)
TINY += " backbone.width=0.125 policy.blur=0 --device cpu"
OWN = TINY.replace("simsiam", NAMES["method"]).replace("resnet10", NAMES["arch"])
OWN = OWN.replace("width=0.125", "width=0.5").replace(
    "--views 2 --sizes 16", "--views 2+1 --sizes 16+8"
)
OWN += f" --eval-data val eval.k=3 method.weight=0.5 --backend {NAMES['backend']}"
OWN += f" data.decoder={NAMES['decoder']} optim.name={NAMES['optimizer']} optim.base_lr=0.01"
OWN += f" run.loggers=[{NAMES['logger']}] run.log_every=1"
Do = Callable[[str], str]  # a command, typed: what it says


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder, with the package in it; forgotten afterwards."""
    monkeypatch.setattr(importing, "_NEVER", set())
    shutil.copytree(OWN_CODE, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != ""])
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("my_pkg", "runs")]:
        del sys.modules[name]


@pytest.fixture
def do(capsys: pytest.CaptureFixture[str]) -> Do:
    """Commands in this process, which have to end well."""
    mains = {"tools/make_shards.py": make_shards, "trainer.run": run, "trainer.export": export}
    mains |= {"trainer.evaluate": evaluate}

    def command(text: str) -> str:
        name, *words = text.removeprefix("python ").removeprefix("-m ").split()
        code = mains[name](words)
        said = capsys.readouterr()
        assert code == 0, said.err
        return said.out + said.err

    return command


def assert_every_command_takes_all(do: Do, folder: Path) -> None:
    """Shards, two steps, three more by --resume, scores, fine-tuning and an export."""
    source = "--source my_pkg.my_source:Squares --workers 1"
    said = do(f"python tools/make_shards.py squares:40 train {source}")
    assert f"source my_pkg.my_source:Squares from {folder}/my_pkg/my_source.py (sha256 " in said
    assert "squares:40: squares, 40 images, 2 classes" in said
    do(f"python tools/make_shards.py squares:16 val --split test {source}")
    assert len(ShardIndex.open(folder / "train")) == 40
    for options, steps in (
        (f"{OWN} --out r", "2 steps done"),
        ("--out r --resume --epochs 1", "5 st"),
    ):
        said = do(f"python -m trainer.run {options}")
        assert all(f"{kind} {name} from {folder}/my_pkg/" in said for kind, name in NAMES.items())
        assert steps in said
    config = yaml.safe_load((folder / "r" / "config.yaml").read_text())
    assert config["method"] == {"name": NAMES["method"], "weight": 0.5}
    assert config["run"]["loggers"] == [NAMES["logger"]]
    starts = read_starts((folder / "r" / "config.yaml").read_text())
    assert all(any(name in note for note in starts[1]["notes"]) for name in NAMES.values())
    lines = (folder / "r" / "lines.txt").read_text().splitlines()
    begun = [line for line in lines if line.startswith("from")]
    assert begun == [f"from {step} by {NAMES['method']}" for step in (0, 2)]
    records = read_metrics(folder / "r")
    assert [record["step"] for record in records if "loss" in record] == [1, 2, 3, 4, 5]
    assert not (folder / "r" / "tensorboard").exists()
    used = [name for kind, name in NAMES.items() if kind not in ("optimizer", "logger")]
    for text in (
        "python -m trainer.evaluate r",
        "python -m trainer.evaluate r --finetune 1 --finetune-epochs 1",
    ):
        said = do(text)
        assert all(f"{name} from {folder}" in said for name in used)
        assert NAMES["optimizer"] not in said
    assert "my_net:MyNet, 8 features" in do("python -m trainer.export r --out own.safetensors")
    assert load_file(folder / "own.safetensors")["layers.0.weight"].shape == (8, 3, 3, 3)
    # A teacher's encoder is somebody's code too, and is told.
    said = do(
        f"python -m trainer.run {TINY} --method distill method.teacher=r/finetuned-1.pt --out d"
    )
    assert f"arch {NAMES['arch']} from {folder}" in said


def test_every_command_takes_all_of_it(folder: Path, do: Do) -> None:
    """In one process: it trains, resumes, is evaluated and exported, and every file is told."""
    assert_every_command_takes_all(do, folder)


@pytest.mark.long
def test_every_typed_command_takes_all_of_it(folder: Path) -> None:
    """The same, each command in a process of its own, where it is typed."""
    assert_every_command_takes_all(lambda text: typed(text, folder), folder)


def squares(do: Do) -> None:
    """The training set of `TINY`."""
    do("python tools/make_shards.py squares:40 train --source my_pkg.my_source:Squares --workers 1")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            "--method my_pkg.my_nothing:Mine",
            "needs a module my_pkg.my_nothing, got none called my_pkg.my_n",
        ),
        (
            "--method my_pkg.my_net:MyNet",
            "inherits trainer.methods.protocol.Method, got a class that does not",
        ),
        ("--method my_pkg.my_method:Mine", "method.weight is required"),
        (
            "--arch my_pkg.my_broken:MyNet",
            "can be imported, got ZeroDivisionError: division by zero",
        ),
        ("--arch my_pkg.my_net:MyNets", "my_net.py, got no such name as MyNets there"),
        (
            "--arch my_pkg.my_method:dataclass",
            "inherits torch.nn.modules.module.Module, got a function",
        ),
        ("--arch my_pkg.my_net:WrongWidth", "names none; leave them out"),
        (
            "--arch my_pkg.my_net:WrongWidth backbone.width=1",
            r"got 15 for features [N, 16] from my_pkg",
        ),
        ("--arch my_pkg.my_net:Silent", "has an attribute feature_dim of type int, got none"),
        (
            "--backend my_pkg.my_engine:Nameless",
            "backend my_pkg.my_engine:Nameless has an attribute name",
        ),
        ("--backend my_pkg.my_logger:Lines", "defines __call__, got a class that does not"),
        ("--backend fusd", "did you mean fused? known: auto, fused, dali, kornia, package"),
        ("data.decoder=my_pkg.my_engine:Nameless", "has an attribute name of type str, got none"),
        ("data.decoder=dally", "did you mean dali? known: auto, dali, nvimgcodec, pillow, package"),
        ("optim.name=my_pkg.my_net:MyNet", "inherits torch.optim.optimizer.Optimizer, got a class"),
        (
            "optim.name=torch.optim:Optimizer",
            "params, lr, momentum, betas, trust, each by its name",
        ),
        ("run.loggers=[my_pkg.my_logger:Asking]", "run, config, from_step, each by its name where"),
        (
            "run.loggers=[my_pkg.my_logger:Refusing]",
            "this logger needs a key, got none; give it one",
        ),
        ("run.loggers=[my_pkg.my_logger:function]", "defines write, close, got a function"),
        ("run.loggers=[logging.config:dictConfig]", "defines write, close, got a function"),
        ("run.loggers=[tensorbord]", "did you mean tensorboard? known: jsonl, tensorboard, wandb"),
        ("run.loggers=wandb", "run.loggers is a list"),
    ],
)
def test_what_is_none_is_one_line(
    changed: str, message: str, folder: Path, do: Do, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rule, value and remedy, before anything is written."""
    squares(do)
    assert run([*TINY.split(), *changed.split(), "--out", "r"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
    assert not (folder / "r").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_pkg.my_source:Lambdas", "gives samples that can go to a process, got Can't"),
        ("my_pkg.my_source:Unlabelled", "has labels as integers [40], got int32 [1] from my_pkg"),
        ("my_pkg.my_method:Mine", "defines __len__, __getitem__, got a class that does not"),
        ("squares", "unknown source 'squares'; known: none by name, package.module:Class"),
    ],
)
def test_what_is_no_source_is_one_line(
    name: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Likewise of --source."""
    assert make_shards(["squares:40", "train", "--source", name]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (folder / "train").exists()


def test_an_own_encoder_is_treated_as_ours(folder: Path, do: Do) -> None:
    """Its batch norms know views, a teacher is a copy; one that asks for values is not weighed."""
    squares(do)
    values = read_recipe("byol_demo") | {"data": {"train": "train"}}
    for arch in (NAMES["arch"], "my_pkg.my_net:AsksForValues"):
        values["backbone"] = {"arch": arch}
        config = resolve(values)
        method = build_method(config, config.policy.load())
        norms = [
            m for m in method.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)
        ]
        assert all(isinstance(norm, ViewBatchNorm) for norm in norms)
        copies = [m for m in method.modules() if type(m).__name__ == arch.partition(":")[2]]
        assert len(copies) == 2
        assert not any(p.requires_grad for p in copies[1].parameters())


def test_no_command_imports_out_of_a_run(
    folder: Path, do: Do, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For every kind, whether it is reached from outside or typed inside; nothing of it runs."""
    squares(do)
    do(f"python -m trainer.run {TINY} --out runs/r")
    theirs = folder / "runs" / "r"
    (theirs / "evil.py").write_text("from pathlib import Path\nPath(__file__ + '.ran').touch()\n")
    text = (theirs / "config.yaml").read_text()
    places = {
        "backbone": ("arch: resnet10", "arch: NAME"),
        "method": ("name: simsiam", "name: NAME"),
        "optim": ("name: muon", "name: NAME"),
        "backend": ("backend: auto", "backend: NAME"),
        "decoder": ("decoder: auto", "decoder: NAME"),
        "loggers": ("- tensorboard", "- NAME"),
    }
    for where, prefix in ((folder, "runs.r.evil"), (theirs, "evil")):
        monkeypatch.chdir(where)
        out = str(theirs.relative_to(where)) if where == folder else "."
        for key, (old, new) in places.items():
            assert old in text.replace("[tensorboard]", "\n  - tensorboard"), key
            changed = text.replace("[tensorboard]", "\n  - tensorboard")
            (theirs / "config.yaml").write_text(
                changed.replace(old, new.replace("NAME", f"{prefix}:X"))
            )
            commands = [(run, f"--out {out} --resume")]
            commands.append((run, f"--config {out} --out {folder}/other"))
            if key not in ("optim", "loggers"):
                commands.append((evaluate, f"{out} --eval-data {folder}/train"))
            if key in ("backbone", "method"):
                commands.append((export, f"{out} --out {folder}/e.safetensors"))
            if key == "method":
                commands.append((show_views, f"--config {out} --out v.png"))
            for command, argv in commands:
                monkeypatch.setattr(importing, "_NEVER", set())  # as in a process of its own
                assert command(argv.split()) == 2, (key, argv)
                error = capsys.readouterr().err.splitlines()[-1]
                assert "never from the run or another folder" in error, (key, argv, error)
    assert not list(folder.rglob("*.ran"))
    assert not (folder / "other").exists()


@pytest.fixture
def site(folder: Path) -> dict[str, str]:
    """The package as an installed distribution with entry points, for commands typed elsewhere."""
    (folder / "elsewhere").mkdir()
    info = folder / "site" / "door_dist-1.5.dist-info"
    info.mkdir(parents=True)
    (folder / "my_pkg").rename(folder / "site" / "my_pkg")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: door_dist\nVersion: 1.5\n")
    points = "[augengine.methods]\nmine = my_pkg.my_method:Mine\n"
    points += "[augengine.backbones]\nresnet_mine = my_pkg.my_net:MyNet\n"
    points += "[augengine.sources]\nsquares = my_pkg.my_source:Squares\n"
    (info / "entry_points.txt").write_text(points)
    return {"PYTHONPATH": f"{ROOT}:{folder / 'site'}"}


def test_a_list_has_what_others_installed(folder: Path, site: dict[str, str]) -> None:
    """By kind, with the first line of the file and who brings it; and an own method, if typed."""
    command = "python -m trainer.run --list --method my_pkg.my_method:Mine"
    said = typed(command, folder / "elsewhere", **site)
    line = "Two views of an image attract, all others repel a little"
    assert f"  my_pkg.my_method:Mine {line}\n" in said
    assert f"  method     {'mine':20} {line} (door_dist 1.5)\n" in said
    small = "A small encoder with batch norm"
    assert f"  arch       {'resnet_mine':20} {small} (door_dist 1.5)\n" in said
    assert "  source     squares " in said


@pytest.mark.long
def test_what_others_installed_has_short_names(folder: Path, site: dict[str, str]) -> None:
    """The commands take them, a run remembers them, and says what is missing where they are not."""
    elsewhere = folder / "elsewhere"
    make = "python tools/make_shards.py squares:40 train --source squares --workers 1"
    assert "source squares (entry point of door_dist 1.5: my_pkg" in typed(make, elsewhere, **site)
    names = TINY.replace("simsiam", "mine method.weight=1").replace("resnet10", "resnet_mine")
    said = typed(f"python -m trainer.run {names} --out r", elsewhere, **site)
    assert "method mine (entry point of door_dist 1.5: my_pkg.my_method:Mine) from" in said
    export_it = "python -m trainer.export r --out e.safetensors"
    assert "wrote e.safetensors: resnet_mine, 2 features" in typed(export_it, elsewhere, **site)
    assert "unknown method 'mine'" in typed(export_it, elsewhere, 2)
