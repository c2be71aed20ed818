"""A run on shards at an address is the run on a disk, and says nothing that it should keep."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from faulty_server import FaultyServer
from tiny_run import tiny_config

from shards.errors import UsageError
from shards.remote.address import DEFAULT_WINDOW_SHARDS, RemoteFolder
from trainer import checkpoint
from trainer.config import EvalConfig
from trainer.recipes.recipe import as_mapping, read_recipe, resolve
from trainer.record.continuation import changed_on_resume
from trainer.record.rundir import CONFIG_NAME
from trainer.run import main
from trainer.settings.data_config import DataConfig
from trainer.setup.data_sets import open_index
from trainer.train import train

Serve = Callable[..., FaultyServer]
BAD = {"fail": 0.2, "stall": 0.01, "cut": 0.02}


def weights(run: Path) -> dict[str, torch.Tensor]:
    state = checkpoint.load(checkpoint.find(run))
    return {key: value for key, value in state["method"].items() if value.is_floating_point()}


@pytest.mark.parametrize("mode", ["cache", "range"])
def test_a_bad_network_changes_no_weight(
    indexed_folder: Path, serve: Serve, tmp_path: Path, mode: str
) -> None:
    """A fifth of the requests fail: the same weights, bit for bit, with kNN on the way."""
    url = serve(indexed_folder, **BAD).url
    settings = {"remote": mode, "remote_timeout_s": 3, "verify": True}
    changes = {"loop": {"epochs": 2, "window_shards": 2}}
    remote = tiny_config(
        Path("unused"),
        **changes,
        data={"train": url, **settings},
        eval={"data": url, "label_free": False},
    )
    evaluation = {"data": str(indexed_folder), "label_free": False}
    local = tiny_config(indexed_folder, **changes, eval=evaluation)
    train(remote, tmp_path / "remote", command="test", resume=False)
    train(local, tmp_path / "local", command="test", resume=False)
    left, right = weights(tmp_path / "remote"), weights(tmp_path / "local")
    assert left.keys() == right.keys()
    assert all(torch.equal(left[key], right[key]) for key in left)


def test_the_window_is_part_of_the_run(indexed_folder: Path, serve: Serve, tmp_path: Path) -> None:
    """It is written out, and stays when the data moves; another one is refused on resume."""
    url = serve(indexed_folder).url
    local, remote = tiny_config(indexed_folder), tiny_config(indexed_folder, data={"train": url})
    assert local.loop.window is None
    assert remote.loop.window == DEFAULT_WINDOW_SHARDS
    out = tmp_path / "run"
    train(remote, out, command="test", resume=False)
    written = read_recipe(str(out / CONFIG_NAME))
    assert written["loop"]["window_shards"] == DEFAULT_WINDOW_SHARDS
    written["data"]["train"] = str(indexed_folder)
    assert resolve(written).loop.window == DEFAULT_WINDOW_SHARDS
    assert changed_on_resume(as_mapping(remote), local) == [
        f"loop.window_shards: {DEFAULT_WINDOW_SHARDS} -> None"
    ]
    # Runs from before there was such a key had none.
    old = as_mapping(local)
    del old["loop"]["window_shards"]
    assert changed_on_resume(old, local) == []


def test_the_keys_say_how_it_is_read(indexed_folder: Path, serve: Serve, tmp_path: Path) -> None:
    """All of them reach the folder."""
    url = serve(indexed_folder).url
    keys = {
        "remote": "range",
        "remote_cache": str(tmp_path),
        "remote_cache_bytes": "1GB",
        "remote_timeout_s": 7,
    }
    config = tiny_config(indexed_folder, data={"train": url, **keys})
    assert open_index(url, config).directory == RemoteFolder(url, "range", tmp_path, 10**9, 7)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"remote": "fast"}, r"data\.remote"),
        ({"remote_cache_bytes": "much"}, "a size is a number"),
        ({"remote_timeout_s": 0.0}, r"data\.remote_timeout_s is positive"),
        ({"train": "https://me:hunter2@host/x"}, "holds no password"),
    ],
)
def test_wrong_keys_are_refused(keys: dict[str, object], words: str) -> None:
    """Before anything is read or written."""
    with pytest.raises(UsageError, match=words) as caught:
        DataConfig(**keys)  # type: ignore[arg-type]
    assert "hunter2" not in str(caught.value)


def test_a_password_in_an_address_leaves_no_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither of the two addresses, on the screen or in a run's folder."""
    url = "https://me:hunter2@host/shards"
    with pytest.raises(UsageError):
        EvalConfig(data=url)
    for flags in (["--data", url], ["--eval-data", url], [f"data.train={url}"]):
        assert main([*flags, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr()
    assert "hunter2" not in said.out + said.err
    assert not (tmp_path / "run").exists()


def test_a_window_that_no_cache_holds_is_refused(
    indexed_folder: Path, serve: Serve, tmp_path
) -> None:
    """The run does not begin."""
    url = serve(indexed_folder).url
    config = tiny_config(indexed_folder, data={"train": url, "remote_cache_bytes": "64KiB"})
    with pytest.raises(UsageError, match="shuffled together"):
        train(config, tmp_path / "run", command="test", resume=False)
