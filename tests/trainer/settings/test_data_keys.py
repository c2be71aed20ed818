"""data.cache, data.cache_bytes, data.decoder_load: they change a run's speed, not its losses."""

from pathlib import Path

import pytest
from tiny_run import tiny_config

from augengine.caches.sample_cache import NoCache
from augengine.decoders.create_decoder import create_decoder
from augengine.decoders.decoder import Decoder
from shards.cursor import Cursor
from shards.errors import UsageError
from trainer import build
from trainer.recipes.recipe import resolve
from trainer.record.log import read_metrics
from trainer.run import main as run
from trainer.setup import decoding
from trainer.train import train

SHORT = {"loop": {"epochs": 3.0, "batch_size": 8}}


def losses(out: Path) -> list[float]:
    return [record["loss"] for record in read_metrics(out)]


def config_of(folder: Path, **data: object):
    return tiny_config(folder, "simsiam", **SHORT, data=data)


@pytest.mark.parametrize("cache_bytes", [None, "12KB"])
def test_a_cache_changes_no_loss(
    shard_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    cache_bytes: str | None,
) -> None:
    """Three epochs, the whole set kept or a part of it; the run says which, once."""
    train(config_of(shard_folder), tmp_path / "plain")
    assert "cache" not in capsys.readouterr().err
    config = config_of(shard_folder, cache="host", cache_bytes=cache_bytes)
    train(config, tmp_path / "cached")
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cache:")]
    assert len(said) == 1
    assert ("all 37 encoded images" in said[0]) == (cache_bytes is None)
    assert losses(tmp_path / "cached") == losses(tmp_path / "plain")
    assert len(losses(tmp_path / "plain")) == 13


def test_a_cache_is_the_runs_not_the_loaders(shard_folder: Path) -> None:
    """A run's loaders share it: what the first one read the second one need not."""
    parts = build.build_parts(config_of(shard_folder, cache="host"))
    reads = []
    for _ in range(2):
        with build.open_loader(parts, Cursor(0)) as loader:
            for _ in range(10):
                next(loader)
            reads.append(loader.meter.snapshot().stages["read"].images)
    assert reads[0] >= 37
    assert reads[1] == 0


def test_the_bound_of_each_process_is_passed_on(
    shard_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And who else is on this machine; without torchrun there is one."""
    asked = []

    def create(*arguments: object) -> NoCache:
        asked.append(arguments)
        return NoCache()

    monkeypatch.setattr(build, "create_cache", create)
    build.build_parts(config_of(shard_folder, cache="host", cache_bytes="1.5MiB"))
    ((name, index, device, max_bytes, neighbours),) = asked
    assert (name, len(index), device.type, len(neighbours)) == ("host", 37, "cpu", 1)
    assert max_bytes == 3 << 19


def test_a_gpu_cache_needs_a_gpu(
    shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the CPU the command ends with code 2 and one line that says what to use instead."""
    argv = ["--data", str(shard_folder), "--out", str(tmp_path / "run"), "--batch-size", "8"]
    argv += ["--method", "simsiam", "--epochs", "0.5", "run.device=cpu", "data.cache=gpu"]
    assert run([*argv, "--arch", "resnet10"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "use data.cache=host" in error


def test_the_decoders_load_is_auto_or_a_share() -> None:
    """As a number or as text, from YAML or the command line."""
    assert resolve({}).data.hardware_load is None
    assert resolve({"data": {"decoder_load": 0}}).data.hardware_load == 0
    assert resolve({"data": {"decoder_load": "0.25"}}).data.hardware_load == 0.25
    assert resolve({"data": {"cache_bytes": 4096}}).data.max_cache_bytes == 4096
    assert resolve({}).data.max_cache_bytes is None


def test_a_fixed_load_reaches_the_decoder(
    shard_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Together with the set it is for."""
    asked = []

    def create(*arguments: object) -> tuple[Decoder, str]:
        asked.append(arguments)
        return create_decoder("pillow", "cpu"), "as told"

    monkeypatch.setattr(decoding, "create_tuned_decoder", create)
    parts = build.build_parts(config_of(shard_folder, decoder_load=0.3, workers=2))
    ((name, device, num_threads, index, load, _),) = asked
    assert (name, device.type, num_threads, len(index), load) == ("pillow", "cpu", 2, 37, 0.3)
    assert parts.notes[0] == "as told"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"cache": "gpus"}, "unknown data.cache 'gpus'; did you mean gpu?"),
        ({"cache_bytes": "much"}, "KiB, MiB, GiB, KB, MB or GB, got 'much'"),
        ({"decoder_load": 1.5}, "data.decoder_load is auto or a share in [0, 1], got 1.5"),
        ({"decoder_load": "fast"}, "data.decoder_load is auto or a share in [0, 1], got 'fast'"),
    ],
)
def test_a_wrong_value_is_one_line(data: dict, message: str) -> None:
    """Refused when the config is made, before anything is built."""
    with pytest.raises(UsageError) as error:
        resolve({"data": data})
    assert message in str(error.value)
