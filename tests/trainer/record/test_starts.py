"""The head of config.yaml: every start, oldest first, and the file stays a recipe."""

import errno
from pathlib import Path
from typing import Any

import pytest
from tiny_run import tiny_config

from shards.errors import DataError
from trainer.recipes.recipe import as_mapping, read_recipe, resolve, to_yaml
from trainer.record.rundir import open_out
from trainer.record.starts import head_of, read_starts
from trainer.settings.strict import merge
from trainer.train import train

START = {
    "command": "python -m trainer.run --out 'a: # b' x=\"y\nz\"",
    "step": 3,
    "auto": {"k": "v"},
}


def head(run: Path) -> list[dict[str, Any]]:
    return read_starts((run / "config.yaml").read_text())


def test_every_start_stays(shard_folder: Path, tmp_path: Path) -> None:
    """Command, step, ranks, versions and what auto became, of the first and each later start."""
    changes = {"backbone": {"stem": "auto"}, "loop": {"epochs": 0.5, "batch_size": 8}}
    config = tiny_config(shard_folder, "simsiam", **changes)
    config = resolve(merge(as_mapping(config), {"run": {"device": "auto"}}))
    train(config, tmp_path, command="first")
    train(config, tmp_path, command="second", resume=True)
    first, second = head(tmp_path)
    assert (first["command"], first["step"], first["ranks"]) == ("first", 0, 1)
    assert (second["command"], second["step"]) == ("second", 2)
    assert "torch 2" in first["versions"]
    assert "python 3" in first["versions"]
    assert first["date"] <= second["date"]
    expected = {"run.device": "cpu", "loop.precision": "fp32", "backbone.stem": "small"}
    assert expected.items() <= first["auto"].items()
    assert "data.backend" not in first["auto"]  # the config says it
    written = resolve(read_recipe(str(tmp_path / "config.yaml")))
    assert written == config
    assert written.run.device == "auto"  # found out anew on other hardware


def test_a_head_reads_back() -> None:
    """Whatever a command holds; a start that somebody edited is kept as text."""
    starts = [START, {**START, "command": "#!/: - x"}]
    text = head_of(starts)
    assert all(line.startswith("#") for line in text.splitlines())
    assert read_starts(text + "data: {}\n") == starts
    torn = text.replace("step: 3", "step: [")
    assert "python -m trainer.run" in read_starts(torn)[0]["note"]
    assert read_starts(head_of(read_starts(torn))) == read_starts(torn)


def test_the_head_of_a_former_release_is_kept() -> None:
    """Two lines, a command and its date and versions, become the first start."""
    text = "# python -m trainer.run --out x\n# 2026-11-01T10:00:00+00:00, torch 2.13.0\ndata: {}\n"
    (start,) = read_starts(text)
    assert start["command"] == "python -m trainer.run --out x"
    assert "torch 2.13.0" in start["note"]
    assert read_starts("data: {}\n") == []


def test_a_thousand_starts_are_no_harm(tmp_path: Path) -> None:
    """The config is read whatever the length of its head, and a wrong line keeps its number."""
    path = tmp_path / "config.yaml"
    path.write_text(head_of([START] * 1000) + to_yaml(resolve({})))
    assert resolve(read_recipe(str(path))) == resolve({})
    assert len(read_starts(path.read_text())) == 1000
    number = len(path.read_text().splitlines()) + 1
    path.write_text(path.read_text() + "x: ]\n")
    with pytest.raises(ValueError, match=f"line {number},"):
        read_recipe(str(path))


def test_a_full_disk_leaves_the_former_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All former starts are there when the new file cannot be written, and nothing else is."""
    config = resolve({})
    with open_out(tmp_path / "run", config, START, resume=False):
        pass
    before = (tmp_path / "run" / "config.yaml").read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("shards.atomic.os.fsync", full)
        full_disk = pytest.raises(DataError, match="No space left")
        with full_disk, open_out(tmp_path / "run", config, START, resume=True):
            pass
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.yaml"]
    assert (tmp_path / "run" / "config.yaml").read_bytes() == before
    with open_out(tmp_path / "run", config, START, resume=True):
        pass
    assert head(tmp_path / "run") == [START, START]
