"""`data.skip_list`: a run never sees the images that it names."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_run import made_run
from tiny_run import tiny_config
from tiny_sets import write_set

from shards.errors import UsageError
from shards.index import ShardIndex
from shards.mixture.mixed_index import MixedIndex
from shards.samples.skip_list import skip_list_text
from trainer.build import build_parts, open_loader
from trainer.evaluate import main as evaluate
from trainer.fitted.facts import look_at
from trainer.run import main as run
from trainer.setup.data_sets import open_training
from trainer.train import train

SKIPPED = {"00000003", "00000011", "00000030"}


@pytest.fixture
def skip(tmp_path: Path) -> Path:
    path = tmp_path / "skip.txt"
    path.write_text("\n".join(sorted(SKIPPED)))
    return path


def test_an_epoch_has_none_of_them(shard_folder: Path, skip: Path) -> None:
    """Three epochs' views are of the other 34, each as often; the notes say how many there are."""
    config = tiny_config(shard_folder, data={"skip_list": str(skip)}, loop={"batch_size": 34})
    parts = build_parts(config)
    told = f"data.skip_list leaves out 3 of 37 images of {shard_folder}"
    assert told in parts.notes
    others = set(ShardIndex.open(shard_folder).keys(np.arange(37))) - SKIPPED
    with open_loader(parts) as loader:
        for _ in range(3):
            keys = parts.index.keys(next(loader).ids)
            assert sorted(keys) == sorted(others)
    assert look_at(open_training(config), "cpu").images == 34


def test_a_run_goes_on_with_the_same_images_only(
    shard_folder: Path, skip: Path, tmp_path: Path
) -> None:
    """Another list, or none, is another set."""
    loop = {"epochs": 0.5, "batch_size": 8}
    config = tiny_config(shard_folder, data={"skip_list": str(skip)}, loop=loop)
    train(config, tmp_path / "run")
    longer = tiny_config(shard_folder, loop={"epochs": 1.0, "batch_size": 8})
    with pytest.raises(UsageError, match="continues on the images it began with"):
        train(longer, tmp_path / "run", resume=True)
    same = tiny_config(shard_folder, data={"skip_list": str(skip)}, loop=loop | {"epochs": 1.0})
    assert train(same, tmp_path / "run", resume=True).step == 4


def test_an_evaluation_takes_the_others(
    shard_folder: Path, skip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the run's own set; another one, named by --data, is taken whole."""
    changes: dict[str, object] = {"data": {"skip_list": str(skip)}}
    made_run(tmp_path / "run", shard_folder, **changes)
    sets = ["--eval-data", str(shard_folder), "--k", "3"]
    assert evaluate([str(tmp_path / "run"), *sets]) == 0
    assert "features of 34 images" in capsys.readouterr().out
    assert evaluate([str(tmp_path / "run"), *sets, "--data", str(shard_folder)]) == 0
    assert "features of 37 images" in capsys.readouterr().out


@pytest.mark.parametrize("text", [None, "nobody.jpg\n", "\0"])
def test_a_list_that_does_not_fit_is_one_line(
    text: str | None, new_shards: Callable[..., Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Before the run's folder is made."""
    path, out = tmp_path / "list.txt", tmp_path / "run"
    if text is not None:
        path.write_text(text)
    argv = ["--data", str(new_shards()), "--epochs", "1", "--out", str(out), "--device", "cpu"]
    assert run([*argv, f"data.skip_list={path}"]) in (1, 2)
    error = capsys.readouterr().err
    assert str(path) in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_of_several_sets_the_list_says_which(shard_folder: Path, tmp_path: Path) -> None:
    """A list made of one set's samples takes them out of that set; one of no set is refused."""
    own = ShardIndex.open(shard_folder)
    other = write_set(tmp_path / "other", [0] * 10)
    path = tmp_path / "skip.txt"
    path.write_text(skip_list_text(["x"] * 3, ["x"] * 3, [3, 11, 30], own.fingerprint))
    data = {"train": [str(shard_folder), str(other)], "skip_list": str(path)}
    index = open_training(tiny_config(shard_folder, data=data))
    assert isinstance(index, MixedIndex)
    assert [len(part) for part in index.parts] == [34, 10]
    kept = set(index.parts[0].keys(np.arange(34)))
    assert kept == set(own.keys(np.arange(37))) - SKIPPED
    path.write_text("00000003\n")
    with pytest.raises(UsageError, match="says which of them it was made of"):
        open_training(tiny_config(shard_folder, data=data))
