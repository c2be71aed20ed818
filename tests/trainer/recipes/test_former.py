"""Runs of an earlier release are read as they were, and go on."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from tiny_run import tiny_config
from toy_methods import TOY

import trainer.checkpoint as checkpoint
from trainer.recipes.former import as_it_was
from trainer.recipes.recipe import as_mapping, resolve
from trainer.record.continuation import changed_on_resume
from trainer.record.rundir import CONFIG_NAME, read_config
from trainer.run import main
from trainer.train import train

NEW_KEYS = (("loop", "norm_images"), ("backbone", "init"), ("backbone", "heads"))


def former_config(given: dict) -> dict:
    """The config of these keys as the release before wrote it: no policy or method in full."""
    values = as_mapping(resolve(given))
    for section, key in NEW_KEYS:
        del values[section][key]
    names = {"policy": {"name": "swav"}, "method": {"name": "swav"}}
    return values | {section: dict(given.get(section, names[section])) for section in names}


def test_former_defaults_are_written_out() -> None:
    """Crops were torchvision's, and SimSiam's hidden layers as wide as its output."""
    method = {"name": "simsiam", "out_dim": 64}
    former = former_config({"method": method, "policy": {"name": "byol"}})
    read = as_it_was(former)
    assert read["method"] == {"name": "simsiam", "out_dim": 64, "hidden_dim": 64}
    assert read["policy"]["crop"] == "torchvision"
    assert "crop" not in former["policy"]  # the mapping given is left alone
    plain = as_it_was(former_config({"method": {"name": "simsiam"}}))["method"]
    assert plain == {"name": "simsiam", "hidden_dim": 2048}
    assert as_it_was(read | {"method": {"name": "byol"}})["method"] == {"name": "byol"}


def test_a_config_of_this_release_is_left_alone() -> None:
    """What this release writes means what it says."""
    values = as_mapping(resolve({"policy": {"name": "byol"}, "method": {"name": "simsiam"}}))
    assert as_it_was(values) == values
    assert {view.crop for view in resolve(values).policy.load().groups[0].views} == {"byol"}


def test_keys_that_were_not_known_have_their_defaults_on_resume() -> None:
    """A former checkpoint is not another run for lack of a key, and is for another value of one."""
    former = former_config({"policy": {"name": "byol"}})
    now = resolve(as_it_was(former))
    assert changed_on_resume(former, now) == []
    assert changed_on_resume(former, resolve({"policy": {"name": "byol"}})) == [
        f"policy.groups[0].views[{view}].crop: torchvision -> byol" for view in (0, 1)
    ]
    wide = as_mapping(now)
    wide["loop"]["norm_images"] = 512
    assert changed_on_resume(former, resolve(wide)) == ["loop.norm_images: None -> 512"]


def test_a_former_run_goes_on_with_its_views_and_layers(
    shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Half a run as the release before left it, resumed by the command, ends as the whole one."""
    changes = {
        "policy": {"name": "byol", "views": "2", "crop": "torchvision"},
        "method": {"out_dim": 24, "hidden_dim": 24},  # features are 64 wide
        "run": {"save_every_steps": 10},
        "loop": {"epochs": 4.4},
    }
    settings = changes.pop("method")
    config = tiny_config(shard_folder, "simsiam", **changes)
    config = replace(config, method=replace(config.method, settings={**TOY["simsiam"], **settings}))
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert train(config, whole).step == 20
    assert train(config, run).step == 20
    for path in checkpoint.steps(run):
        state = torch.load(path, weights_only=True)
        if state["step"] > 10:
            path.unlink()
            continue
        for section, key in NEW_KEYS:
            del state["config"][section][key]
        # TOY's settings of the method, and tiny_config's changes of the policy.
        state["config"]["method"] = {"name": "simsiam", **TOY["simsiam"], "out_dim": 24}
        policy = {"name": "byol", "views": "2", "sizes": "16+8", "blur": 0.0}
        former = state["config"] = state["config"] | {"policy": policy}
        torch.save(state, path)
    (run / CONFIG_NAME).write_text(yaml.safe_dump(former, sort_keys=False))
    assert read_config(run).policy.load() == config.policy.load()
    assert main(["--out", str(run), "--resume"]) == 0, capsys.readouterr()
    ends = [checkpoint.load(checkpoint.find(folder)) for folder in (whole, run)]
    assert ends[0]["step"] == ends[1]["step"] == 20
    for name, tensor in ends[0]["method"].items():
        assert torch.equal(tensor, ends[1]["method"][name]), name
    written = yaml.safe_load((run / CONFIG_NAME).read_text())
    assert written["policy"]["groups"][0]["views"][0]["crop"] == "torchvision"
