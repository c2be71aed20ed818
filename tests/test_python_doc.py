"""docs/python.md is true: its code runs as it stands, and its comments say what comes out."""

import inspect
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from augengine.loader.view_loader import ViewLoader
from trainer.command.command_config import FLAGS

DOCUMENT = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)


@pytest.fixture(scope="module")
def names(
    indexed_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """What is there after each block; they run one after the other, in a folder with sets/train."""
    folder = tmp_path_factory.mktemp("notebook")
    shutil.copytree(indexed_folder, folder / "sets" / "train")
    left: dict[str, Any] = {}
    after = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for key, block in zip(("views", "images", "loop", "recipe"), BLOCKS, strict=True):
            exec(compile(block, "python.md", "exec"), left)
            after[key] = dict(left)
    return after


def test_views_have_the_shapes_that_are_shown(names: dict[str, dict[str, Any]]) -> None:
    """Of shards, and of images without shards."""
    shown = [eval(shape) for shape in re.findall(r"\[\d(?:, \d+){3,}\]", "".join(BLOCKS))]
    found = [names["views"][name] for name in ("large", "small")]
    found.append(names["images"]["first"])
    assert [list(crops.shape) for crops in found] == shown
    assert names["images"]["views"].plan.ids.tolist() == [3, 17]


def test_its_loop_trains(names: dict[str, dict[str, Any]]) -> None:
    """To the end of the run, with a loss, and an encoder that gives features."""
    made = names["loop"]
    assert made["step"] + 1 == made["run"].total_steps == 4
    assert made["result"].loss.isfinite()
    assert type(made["run"].method).__name__ == "BYOL"
    assert made["encoder"](made["views"].crops[0][0]).shape[0] == 8


def test_a_recipe_with_words_on_top(names: dict[str, dict[str, Any]]) -> None:
    """They win."""
    config = names["recipe"]["run"].config
    assert (config.optim.base_lr, config.loop.epochs) == (0.3, 1)
    assert [group.count for group in config.policy.load().groups] == [2, 2]


def test_arguments_that_it_names_are_there() -> None:
    """Those of ViewLoader, and every one of build_run."""
    text = " ".join(DOCUMENT.split())
    (listed,) = re.findall(r"Further arguments \((.*?), \.\.\.\)", text)
    assert set(re.findall(r"`(\w+)`", listed)) <= set(inspect.signature(ViewLoader).parameters)
    (listed,) = re.findall(r"then (`data`.*?) by name", text)
    assert set(re.findall(r"`(\w+)`", listed)) == {*FLAGS, "minutes"}
