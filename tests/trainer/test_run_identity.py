"""A run knows itself: what decided it is in its folder, wherever the next command is typed."""

from pathlib import Path

import pytest
import yaml
from tiny_run import tiny_config
from toy_methods import TOY

from augengine.policies import load_policy
from tools.show_views import main as show_views
from trainer.evaluate import main as evaluate
from trainer.export import main as export
from trainer.recipes.recipe import as_mapping, read_recipe, resolve, to_yaml
from trainer.record.rundir import read_config
from trainer.record.starts import read_starts
from trainer.run import main as run
from trainer.settings.strict import merge

pytestmark = pytest.mark.usefixtures("weighed_once")

MINE = """\
groups:
  - {count: 2, size_px: 16, views: [{scale: [0.2, 1.0], jitter: 0.0}]}
  - {count: 1, size_px: 8, views: [{scale: [0.05, 0.2], jitter: 0.0}]}
std: [0.5, 0.5, 0.5]
"""


@pytest.fixture
def here(tmp_path: Path, shard_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder: data by a relative path, an own policy, a recipe with other views."""
    (tmp_path / "data").symlink_to(shard_folder)
    (tmp_path / "mine.yaml").write_text(MINE)
    changes = {
        "data": {"train": "data"},
        "loop": {"epochs": 0.5, "batch_size": 8},
        "eval": {"data": "data", "k": 3},
    }
    values = merge(as_mapping(tiny_config(shard_folder, "simsiam")), changes)
    values["policy"] = {"name": "swav", "views": "2+1", "sizes": "16+8", "jitter": 1.0}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def elsewhere(here: Path) -> Path:
    """Another folder."""
    (here / "other" / "folder").mkdir(parents=True)
    return here / "other" / "folder"


def start(*more: str) -> int:
    return run(["--config", "tiny.yaml", "--policy", "mine.yaml", "--out", "r", *more])


@pytest.mark.parametrize("what", ["edited", "gone", "damaged"])
def test_the_policy_is_in_the_run(
    what: str,
    here: Path,
    elsewhere: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever becomes of the user's file: same views, from any folder, in every command."""
    policy = load_policy("mine.yaml")
    assert start() == 0
    mine = here / "mine.yaml"
    if what == "edited":
        mine.write_text(MINE.replace("0.0", "0.9"))
    elif what == "gone":
        mine.unlink()
    else:
        mine.write_text("groups: [")
    monkeypatch.chdir(elsewhere)
    loaded = read_config(Path("../../r")).policy.load()
    assert (loaded.groups, loaded.mean, loaded.std) == (policy.groups, policy.mean, policy.std)
    assert run(["--out", "../../r", "--resume", "--epochs", "1"]) == 0
    assert evaluate(["../../r"]) == 0
    assert export(["../../r", "--out", "encoder.safetensors"]) == 0
    assert show_views(["--config", "../../r", "--num-images", "1", "--out", "v.png"]) == 0
    assert "3 views each" in capsys.readouterr().err
    assert sorted(path.name for path in elsewhere.iterdir()) == ["encoder.safetensors", "v.png"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--policy", "mine.yaml"], "policy.groups[0].views[0].jitter: 0.0 -> 0.9"),
        (["policy.name=mine.yaml"], "policy.groups[0].views[0].jitter: 0.0 -> 0.9"),
        (["--config", "tiny.yaml", "--policy", "mine.yaml"], "jitter: 0.0 -> 0.9"),
        (["--config", "tiny.yaml"], "policy.groups[0].views[0].jitter: 0.0 -> 1.0"),
        (["--policy", "byol", "--sizes", "16+8", "--views", "2+1"], "mine.yaml -> byol"),
        (["policy.flip=0.1"], "policy.groups[0].views[0].flip: 0.5 -> 0.1"),
        (["policy.groups=[{},{flip: 0.1}]"], "policy.groups[1].views[0].flip: 0.5 -> 0.1"),
        (["--sizes", "16+12"], "policy.groups[1].size_px: 8 -> 12"),
    ],
)
def test_another_policy_is_refused(
    change: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By flag, by key, by the edited file given again: one line, and the run's file as it was."""
    assert start() == 0
    (here / "mine.yaml").write_text(MINE.replace("0.0}", "0.9}"))
    before = (here / "r" / "config.yaml").read_bytes()
    capsys.readouterr()
    assert run(["--out", "r", "--resume", *change]) == 2
    error = capsys.readouterr().err
    assert "a run continues with the config it began with" in error
    assert message in error
    assert error.count("\n") == 1
    assert (here / "r" / "config.yaml").read_bytes() == before


def test_the_same_again_goes_on(
    here: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first command with --resume auto, and a copy of the file under another name."""
    assert (
        start("--views", "0+2", "--resume", "auto", "--method", "distill", "method.out_dim=5") == 0
    )
    assert (
        start("--views", "0+2", "--resume", "auto", "--method", "distill", "method.out_dim=5") == 0
    )
    assert run(["--out", "r", "--resume", "--views", "0+2"]) == 0
    (elsewhere / "copy.yaml").write_text(MINE)
    monkeypatch.chdir(elsewhere)
    assert run(["--out", "../../r", "--resume", "--policy", "copy.yaml", "--views", "0+2"]) == 0
    assert len(read_starts((here / "r" / "config.yaml").read_text())) == 4


def test_the_users_policy_wins(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By flag as by key; the sentence is on the terminal and with the start."""
    for number, how in enumerate((["--policy", "mine.yaml"], ["policy.name=mine.yaml"])):
        assert run(["--config", "tiny.yaml", *how, "--out", f"r{number}"]) == 0
        said = "policy mine.yaml as it is; of the recipe no longer holds: jitter=1.0, sizes=16+8, "
        assert said + "views=2+1" in capsys.readouterr().err
        config = read_config(here / f"r{number}")
        assert config.policy.load().groups == load_policy("mine.yaml").groups
        assert config.policy.name == str(here / "mine.yaml")
        (first,) = read_starts((here / f"r{number}" / "config.yaml").read_text())
        assert any(said in note for note in first["notes"])


def test_a_recipe_that_changes_an_own_file_says_so(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keys beside the name of a file hold, in the open; --policy takes the file as it is."""
    values = yaml.safe_load((here / "tiny.yaml").read_text())
    values["policy"] = {"name": "mine.yaml", "jitter": 1.0}
    (here / "own.yaml").write_text(yaml.safe_dump(values))
    assert run(["--config", "own.yaml", "--out", "r0"]) == 0
    said = "policy mine.yaml, changed by the recipe's jitter=1.0; --policy mine.yaml takes it as it"
    assert said in capsys.readouterr().err
    assert read_config(here / "r0").policy.load().groups[0].views[0].jitter == 1
    assert run(["--config", "own.yaml", "--policy", "mine.yaml", "--out", "r1"]) == 0
    assert "of the recipe no longer holds: jitter=1.0" in capsys.readouterr().err
    assert read_config(here / "r1").policy.load().groups[0].views[0].jitter == 0


def test_paths_are_those_of_every_folder(here: Path) -> None:
    """Data, evaluation data and policy are absolute; the demo set and addresses are names."""
    assert start() == 0
    config = read_config(here / "r")
    assert (config.data.train, config.eval.data) == (str(here / "data"), str(here / "data"))
    assert resolve(read_recipe("r")) == config
    assert to_yaml(config) == to_yaml(resolve(yaml.safe_load(to_yaml(config))))


def test_a_recipes_policy_may_lie_beside_it(
    here: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recipe that names a file is read from any folder; a file where one is comes first."""
    values = yaml.safe_load((here / "tiny.yaml").read_text())
    (here / "own.yaml").write_text(yaml.safe_dump({**values, "policy": {"name": "mine.yaml"}}))
    monkeypatch.chdir(elsewhere)
    assert resolve(read_recipe("../../own.yaml")).policy.load().std == (0.5, 0.5, 0.5)
    Path("mine.yaml").write_text(MINE.replace("[0.5, 0.5, 0.5]", "[1, 1, 1]"))
    assert resolve(read_recipe("../../own.yaml")).policy.load().std == (1, 1, 1)


def test_a_run_of_a_former_release_goes_on(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A config.yaml that names its policy only resumes, is scored and exported; it is said."""
    assert start() == 0
    path = here / "r" / "config.yaml"
    values = yaml.safe_load(path.read_text())
    values["policy"] = {"name": "mine.yaml", "views": None, "sizes": None, "groups": []}
    values["method"] = {"name": "simsiam", **TOY["simsiam"]}
    values["data"]["train"] = "data"
    path.write_text("# python -m trainer.run\n# then\n" + yaml.safe_dump(values))
    assert evaluate(["r"]) == 0
    assert export(["r", "--out", "e.safetensors"]) == 0
    capsys.readouterr()
    assert run(["--out", "r", "--resume"]) == 0
    assert "r names its policy only: the views are today's" in capsys.readouterr().err
    assert read_config(here / "r").policy.is_whole


def test_the_tools_read_flags_as_a_run_does(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--data demo-like names, --policy, --views, --sizes and policy.* mean what they mean there."""
    for wrong, message in (
        (["--sizes", "16"], "one size per count of --views, got 16 for 2+1"),
        (["--views", "2", "--sizes", "16+8"], "one size per count of --views"),
        (["policy.blurr=1"], "did you mean blur"),
        (["--policy", "none.yaml"], "no such policy file"),
    ):
        more = [] if "--policy" in wrong else ["--policy", "mine.yaml"]
        for command in (
            lambda argv: show_views(["--data", "data", "--out", "v.png", *argv]),
            lambda argv: run(["--config", "tiny.yaml", *argv]),
        ):
            assert command([*wrong, *more]) == 2
            assert message in capsys.readouterr().err
    argv = ["--data", "data", "--policy", "mine.yaml", "policy.blur=1", "--num-images", "1"]
    assert show_views([*argv, "--views", "0+2", "--out", "v.png"]) == 0
    assert "2 views each" in capsys.readouterr().err
    assert not (here / "runs").exists()


@pytest.mark.parametrize("name", ["gpu", "GPU", "nvidia"])
def test_a_gpu_is_called_cuda(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not the name with the nearest letters."""
    assert start() == 0
    capsys.readouterr()
    for command in (
        lambda: run(["--config", "tiny.yaml", "--device", name]),
        lambda: evaluate(["r", "--device", name]),
    ):
        assert command() == 2
        assert "did you mean cuda?" in capsys.readouterr().err


def test_flags_name_the_key_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    """As other programs call them, and as ours are called without their section."""
    for argv, meant in (
        (["--lr", "0.1"], "optim.base_lr=0.1"),
        (["--wd", "1e-4"], "optim.weight_decay=1e-4"),
        (["--workers", "4"], "data.workers=4"),
        (["--out-dim", "3"], "method.out_dim=3"),
        (["--blur", "0"], "policy.blur=0"),
        (["--warmup-epochs", "1"], "optim.warmup_epochs=1"),
    ):
        assert run(argv) == 2
        error = capsys.readouterr().err
        assert f"has no flag {argv[0]}; did you mean {meant}" in error
        assert error.count("\n") == 1


def test_export_looks_at_the_run_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is not there is named before the name of the output."""
    assert export([str(tmp_path / "none"), "--out", "encoder"]) == 2
    assert "a run is a folder with config.yaml, got" in capsys.readouterr().err
