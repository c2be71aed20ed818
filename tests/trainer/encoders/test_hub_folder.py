"""The folder for Hugging Face: weights, config.json and a card of what the run wrote down."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from made_run import made_run
from safetensors.torch import load_file
from tiny_run import tiny_config
from tiny_sets import write_set

import trainer
from trainer.evaluate import main as evaluate
from trainer.export import main as export
from trainer.recipes.recipe import read_recipe, resolve
from trainer.train import train


def hub(run: Path, out: Path, *flags: str, code: int = 0) -> None:
    assert export([str(run), "--format", "hub", "--out", str(out), *flags]) == code


def parts_of(card: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The head that Hugging Face reads, and the sections by their titles."""
    _, head, text = card.split("---\n", 2)
    sections = dict(part.split("\n\n", 1) for part in text.split("\n## ")[1:])
    return yaml.safe_load(head), sections


def test_the_card_tells_of_a_trained_run(
    shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Data, recipe, scores and what ran, as the run has them; no path of this disk."""
    run, scores = tmp_path / "run", tmp_path / "s.json"
    config = tiny_config(
        shard_folder, "simsiam", eval={"data": str(shard_folder)},
        loop={"epochs": 0.5, "batch_size": 8},
    )  # fmt: skip
    train(config, run, command="python -m trainer.run --data shards")
    assert evaluate([str(run), "--k", "3", "--json", str(scores)]) == 0
    hub(run, tmp_path / "mine", "--scores", str(scores), "--license", "apache-2.0")
    assert {p.name for p in (tmp_path / "mine").iterdir()} == {
        *("model.safetensors", "config.json", "README.md"),
    }
    card = (tmp_path / "mine" / "README.md").read_text()
    head, sections = parts_of(card)
    assert head["license"] == "apache-2.0"
    assert head["pipeline_tag"] == "image-feature-extraction"
    assert "simsiam" in head["tags"]
    assert "37 images" in sections["Data"]
    assert "3 classes" in sections["Data"]
    assert "| step 2 |" in sections["Scores"]
    assert "| random encoder |" in sections["Scores"]
    assert "`python -m trainer.run --data shards`" in sections["What ran"]
    assert str(tmp_path) not in card
    assert str(shard_folder) not in card
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(sections["Recipe"].removeprefix("```yaml\n").partition("```")[0])
    again = resolve(read_recipe(str(recipe)))
    assert (again.loop, again.optim, again.method) == (config.loop, config.optim, config.method)
    assert again.policy.load() == config.policy.load()
    assert "read README.md before you publish it" in capsys.readouterr().out


def test_without_scores_the_run_s_own_are_told(shard_folder: Path, tmp_path: Path) -> None:
    """kNN of the very step, beside the random encoder's; where there is none, that."""
    config = tiny_config(
        shard_folder, "simsiam", eval={"data": str(shard_folder)},
        loop={"epochs": 0.5, "batch_size": 8},
    )  # fmt: skip
    train(config, tmp_path / "run")
    hub(tmp_path / "run", tmp_path / "mine")
    _, sections = parts_of((tmp_path / "mine" / "README.md").read_text())
    assert sections["Scores"].startswith("kNN ")
    assert "the untrained encoder: " in sections["Scores"]
    made_run(tmp_path / "bare", shard_folder)
    hub(tmp_path / "bare", tmp_path / "bare-hub")
    head, sections = parts_of((tmp_path / "bare-hub" / "README.md").read_text())
    assert sections["Scores"].strip() == "None were made of this encoder."
    assert "license" not in head


@pytest.mark.parametrize(
    ("arch", "stem", "library"),
    [
        ("resnet18", "imagenet", "timm"),
        ("vit_tiny4", "auto", "timm"),
        ("resnet18", "small", "pytorch"),
    ],
)
def test_config_json_is_timms_where_timm_has_the_network(
    arch: str, stem: str, library: str, shard_folder: Path, tmp_path: Path
) -> None:
    """Its architecture, features and preprocessing; else ours, and the card says how to load it."""
    made_run(tmp_path / "run", shard_folder, arch, stem=stem)
    hub(tmp_path / "run", tmp_path / "mine")
    config = json.loads((tmp_path / "mine" / "config.json").read_text())
    encoder = trainer.load_encoder(tmp_path / "mine")
    timms = {"vit_tiny4": "vit_tiny_patch16_224"}.get(arch, arch)
    assert config["architecture"] == (timms if library == "timm" else arch)
    assert config["num_features"] == encoder.feature_dim
    assert config["pretrained_cfg"]["input_size"] == [3, 32, 32]
    assert config["pretrained_cfg"]["mean"] == list(encoder.preprocessing.mean)
    if arch == "vit_tiny4":
        assert config["model_args"] == {"img_size": 32, "patch_size": 4}
    head, sections = parts_of((tmp_path / "mine" / "README.md").read_text())
    assert head["library_name"] == library
    assert ("timm.create_model" in sections["Use"]) == (library == "timm")
    weights = load_file(tmp_path / "mine" / "model.safetensors")
    assert weights.keys() == encoder.module.state_dict().keys()


def test_what_cannot_be_is_one_line_and_leaves_nothing(
    shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A folder that is in use, scores of another encoder, a file in place of a run, a full disk."""
    run, out = tmp_path / "run", tmp_path / "mine"
    made_run(run, shard_folder)
    assert export([str(run), "--out", str(tmp_path / "e.safetensors")]) == 0
    scores = {"scores": [{"what": "step 9", "knn": 0.5, "linear": 0.5}], "conditions": {}}
    (tmp_path / "s.json").write_text(json.dumps(scores))
    (tmp_path / "odd.json").write_text("[1")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thesis.tex").write_text("precious")
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    cases = (
        ([str(run), "--out", str(tmp_path / "used")], "--out is a new folder"),
        ([str(run), "--out", str(tmp_path / "no" / "such")], "in a folder that exists"),
        ([str(run), "--out", str(out), "--scores", str(tmp_path / "s.json")], "got step 9"),
        ([str(run), "--out", str(out), "--scores", str(tmp_path / "odd.json")], "make it again"),
        ([str(run), "--out", str(out), "--scores", str(tmp_path / "no.json")], "leave it out"),
        ([str(tmp_path / "e.safetensors"), "--out", str(out)], "which a run knows"),
        ([str(run), "--out", "/proc/mine"], "a folder that may be made"),
    )
    for argv, part in cases:
        assert export([*argv, "--format", "hub"]) in (1, 2)
        error = capsys.readouterr().err
        assert part in error
        assert error.count("\n") == 1

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainer.encoders.hub_folder.write_whole", full)
    hub(run, out, code=1)
    assert "No space left on device" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_the_card_tells_of_every_set_of_a_mixture(shard_folder: Path, tmp_path: Path) -> None:
    """Each by its name, share and content; what is gone, or other than it was, is said of it."""
    write_set(tmp_path / "other", [0] * 16)
    sets = (str(shard_folder), f"{tmp_path / 'other'}:0.5")
    config = tiny_config(
        shard_folder, "simsiam", data={"train": sets}, loop={"epochs": 0.5, "batch_size": 8},
    )  # fmt: skip
    train(config, tmp_path / "run")
    hub(tmp_path / "run", tmp_path / "one")
    _, sections = parts_of((tmp_path / "one" / "README.md").read_text())
    first, second = (line for line in sections["Data"].splitlines() if line.startswith("- "))
    assert first.startswith(f"- `{shard_folder.name}`, weight 1: 37 images")
    assert second.startswith("- `other`, weight 0.5")
    assert "other than what" not in sections["Data"]
    assert "not there any more" not in first


def test_the_printed_lines_load_the_folder_that_was_written(
    shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From where the command was typed; the card, which travels, has the folder's name alone."""
    made_run(tmp_path / "run", shard_folder)
    hub(tmp_path / "run", tmp_path / "mine")
    assert f'load_encoder("{tmp_path / "mine"}")' in capsys.readouterr().out
    assert 'load_encoder("mine")' in (tmp_path / "mine" / "README.md").read_text()
