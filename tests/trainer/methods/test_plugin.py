"""A method of one's own by module:Class: every command takes it, and says where it comes from."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tiny_run import tiny_config
from tiny_sets import write_set

from shards.errors import UsageError
from trainer.evaluate import main as evaluate
from trainer.export import main as export
from trainer.fitted.method_rules import OTHER
from trainer.methods.method_table import method_settings
from trainer.recipes.recipe import as_mapping, resolve
from trainer.record.starts import read_starts
from trainer.run import main as run

NAME = "own_align:Align"
MODULE = '''"""Views of an image attract."""
from dataclasses import dataclass
from trainer.methods.protocol import Method, StepResult
from trainer.nets.multicrop import forward_groups

@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    weight: float

class Align(Method):
    def __init__(self, backbone, settings):
        super().__init__()
        self.backbone, self.settings = backbone, settings

    def step(self, views, progress):
        z = forward_groups(self.backbone, views.crops[:1], per_view=False)
        loss = self.settings.weight * (z - z.roll(1, 0)).square().mean()
        return StepResult(loss, z.detach().flatten(0, 1))

class Plain:
    pass
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder, with the module in it; forgotten afterwards."""
    (tmp_path / "own_align.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != ""])
    yield tmp_path
    for name in ("own_align", "own_broken"):
        sys.modules.pop(name, None)


@pytest.fixture
def recipe(folder: Path, shard_folder: Path) -> str:
    """A recipe of another method, with evaluation."""
    loop, evaluation = {"epochs": 0.5, "batch_size": 8}, {"data": str(shard_folder), "k": 3}
    backbone = {"width": 0.25}
    config = tiny_config(shard_folder, "simsiam", loop=loop, eval=evaluation, backbone=backbone)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(as_mapping(config)))
    return "tiny.yaml"


@pytest.mark.parametrize("how", [["--method", NAME], [f"method.name={NAME}"]])
def test_every_command_takes_it(
    how: list[str], recipe: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It trains by flag or key, resumes, is evaluated and exported; each says which file it is."""
    origin = f"method {NAME} from {folder / 'own_align.py'} (sha256 "
    assert run(["--config", recipe, *how, "method.weight=2", "--out", "r"]) == 0
    assert origin in capsys.readouterr().err
    (start,) = read_starts((folder / "r" / "config.yaml").read_text())
    assert any(origin in note for note in start["notes"])
    assert run(["--out", "r", "--resume"]) == 0
    assert run(["--out", "r", "--resume", "method.weight=3"]) == 2
    assert "method.weight: 2.0 -> 3.0" in capsys.readouterr().err
    for command in (
        lambda: export(["r", "--out", "own.safetensors"]),
        lambda: evaluate(["r"]),
        lambda: evaluate(["r", "--finetune", "1", "--finetune-epochs", "1"]),
    ):
        assert command() == 0
        assert origin in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_without_a_recipe_it_has_defaults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The demo set's without data; else the fitted recipe, whose rule for its settings is none."""
    assert run(["--method", NAME, "method.weight=1", "--print-config"]) == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert (config["backbone"]["arch"], config["loop"]["epochs"]) == ("resnet10", 8)
    assert config["method"] == {"name": NAME, "weight": 1.0}
    data = str(write_set(tmp_path / "data", [i % 3 for i in range(80)]))
    argv = ["--data", data, "--method", NAME, "method.weight=1", "--epochs", "3", "--print-config"]
    assert run(argv) == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["method"] == {"name": NAME, "weight": 1.0}
    assert (config["backbone"]["arch"], config["loop"]["batch_size"]) == ("resnet10", 32)
    assert config["optim"]["base_lr"] == OTHER.lr


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "own_nothing:Align",
            "needs a module own_nothing, got none called own_nothing among .* in",
        ),
        ("own_align.deep:Align", "needs a module own_align.deep, got none called own_align.deep"),
        (
            "own_align:Aligned",
            "own_align.py, got no such name as Aligned there; write package.module",
        ),
        ("own_align:Plain", "inherits .*Method, got a class that does not in .*own_align.py"),
        ("own_broken:Align", "can be imported, got ZeroDivisionError: .*; try python -c 'import"),
        ("own_needs:Align", "can be imported, got ModuleNotFoundError: No module named 'nowhere'"),
        ("own_align:", "is named package.module:Class, got 'own_align:'"),
        ("own align:Align", "is named package.module:Class"),
        ("../own_align:Align", "is named package.module:Class"),
    ],
)
def test_what_is_not_there_is_one_line(
    name: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was looked for, and where; nothing is written."""
    (folder / "own_broken.py").write_text("1 / 0\n")
    (folder / "own_needs.py").write_text("import nowhere\n")
    with pytest.raises(UsageError, match=message):
        resolve({"method": {"name": name, "weight": 1}})
    before = sorted(folder.rglob("*.yaml"))
    assert run(["--method", name, "method.weight=1"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert sorted(folder.rglob("*.yaml")) == before
    assert not (folder / "runs").exists()


@pytest.mark.usefixtures("folder")
def test_its_settings_are_checked_as_ours() -> None:
    """A missing one, an unknown one and a wrong type are named."""
    for values, message in (
        ({}, "method.weight is required"),
        ({"weight": 1, "weightt": 2}, "did you mean weight"),
        ({"weight": "x"}, "method.weight is a finite number"),
    ):
        with pytest.raises(UsageError, match=message):
            resolve({"method": {"name": NAME, **values}})
    assert method_settings(NAME, {"weight": 1}).weight == 1.0


def test_no_code_comes_from_a_run(
    recipe: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A module beside config.yaml is refused before it is imported, also from inside the run."""
    assert run(["--config", recipe, "--method", NAME, "method.weight=1", "--out", "r"]) == 0
    sys.modules.pop("own_align")
    (folder / "r" / "own_align.py").write_text("raise SystemExit('ran')\n")
    monkeypatch.chdir(folder / "r")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(folder)])
    capsys.readouterr()
    for command in (
        lambda: export([".", "--out", "own.safetensors"]),
        lambda: evaluate(["."]),
        lambda: run(["--out", ".", "--resume"]),
    ):
        assert command() == 2
        error = capsys.readouterr().err
        assert "never from the run or" in error
        assert error.count("\n") == 1
