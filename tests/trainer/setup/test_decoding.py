"""Who decodes is settled once: by the first rank, at the first start, and kept by the run."""

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import tiny_config

from augengine.decoders import trial
from augengine.decoders.create_decoder import create_decoder
from augengine.decoders.tuning import ALL, NONE, WorkSplit
from shards.errors import UsageError
from shards.index import ShardIndex
from trainer.build import build_parts, open_loader
from trainer.recipes.recipe import read_recipe, resolve
from trainer.record.log import read_metrics
from trainer.record.rundir import read_config
from trainer.record.starts import read_starts
from trainer.setup import decoding
from trainer.setup.decoding import open_decoder, settle_decoding, views_device
from trainer.step import optimizer_step
from trainer.train import train

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
ROOT = Path(__file__).parents[3]
SHORT = {"loop": {"epochs": 0.5, "batch_size": 8}}


class FakeGpuDecoder:
    """Says that it is on a GPU, and decodes on the CPU."""

    name, device = "dali", CUDA

    def __init__(self, split: WorkSplit | None) -> None:
        self.split = split or WorkSplit()
        self._decode = create_decoder("pillow", CPU)

    def __call__(self, encoded: list[bytes]) -> list[Any]:
        return self._decode(encoded)


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Loads that were tried; the engine is as fast as the kernels."""
    tried: list[float] = []

    def rate(decoder: FakeGpuDecoder, jpegs: object) -> float:
        tried.append(decoder.split.hardware_load)
        return 100.0

    monkeypatch.setattr(
        trial, "create_decoder", lambda *given: FakeGpuDecoder(given[3:] and given[3])
    )
    monkeypatch.setattr(trial, "images_per_s", rate)
    return tried


def config_of(folder: Path, **data: object):
    return tiny_config(folder, "simsiam", **SHORT, data={"decoded_bytes": "1MiB", **data})


def test_a_run_keeps_what_auto_became(
    shard_folder: Path, tmp_path: Path, fake_gpu: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    """The first start tries both and writes the load down; a run that goes on tries nothing."""
    given = config_of(shard_folder, decoder="dali")
    train(given, tmp_path)
    assert sorted(fake_gpu) == [NONE, ALL]
    said = capsys.readouterr().err
    assert "by the GPU's hardware engine, by a trial on 37 images" in said
    assert "kept as data.decoder_load=1" in said
    kept = read_config(tmp_path)
    assert (given.data.decoder_load, kept.data.decoder_load) == ("auto", ALL)
    assert resolve(read_recipe(str(tmp_path / "config.yaml"))).data.decoder_load == ALL
    fake_gpu.clear()
    train(kept, tmp_path, resume=True)
    assert fake_gpu == []
    assert read_config(tmp_path).data.decoder_load == ALL


def test_a_share_between_is_taken_and_named(shard_folder: Path, fake_gpu: list[float]) -> None:
    """A former run's 0.35 goes on as it was; that its pixels depend on the batch is said."""
    index = ShardIndex.open(shard_folder)
    config = config_of(shard_folder, decoder="dali", decoder_load=0.35)
    found, settled = settle_decoding(config, CPU, index)
    assert settled is config
    assert fake_gpu == []
    assert "35% of JPEGs" in found.notes[0]
    assert "depend on the batch" in found.notes[0]


RANK = """
import sys
import torch.distributed as dist
from pathlib import Path
sys.path[:0] = [str(Path("tests") / "trainer"), "tests"]
from setup.test_decoding import FakeGpuDecoder, config_of
import torch
from augengine.decoders import trial
from shards.index import ShardIndex
from trainer.setup.decoding import settle_decoding
rank, file, folder = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
tried = []
def rate(decoder, jpegs):  # the first rank's engine is slow, the second's is not
    tried.append(decoder.split.hardware_load)
    return 100.0 if rank or not decoder.split.hardware_load else 10.0
trial.create_decoder = lambda *given: FakeGpuDecoder(given[3:] and given[3])
trial.images_per_s = rate
config = config_of(folder, decoder="dali")
found, config = settle_decoding(config, torch.device("cpu"), ShardIndex.open(folder))
print(len(tried), config.data.decoder_load, found.decoder.split.hardware_load, flush=True)
dist.barrier()
dist.destroy_process_group()
"""


def test_two_ranks_agree(shard_folder: Path, tmp_path: Path) -> None:
    """The first one measures, and the other, which would have found otherwise, does as it does."""
    file = tmp_path / "rendezvous"
    command = [sys.executable, "-c", RANK]
    running = [
        subprocess.Popen(
            [*command, str(rank), str(file), str(shard_folder)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=240)[0].strip() for process in running]
    assert said == ["2 0.0 0.0", "0 0.0 0.0"]


def test_threads_and_bytes_are_settings_of_their_own(
    shard_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decode threads beside batches in flight; a quarter of the free memory where no bound is."""
    asked = []

    def create(*given: Any) -> tuple[Any, None]:
        asked.append(given[2])
        return create_decoder("pillow", CPU), None

    monkeypatch.setattr(decoding, "create_tuned_decoder", create)
    monkeypatch.setattr(decoding, "free_host_bytes", lambda: 4000 << 20)
    index = ShardIndex.open(shard_folder)
    found, _ = settle_decoding(config_of(shard_folder, workers=3), CPU, index)
    assert found.max_bytes == 1 << 20
    changes = {"workers": 3, "decode_threads": 7, "decoded_bytes": None}
    found, _ = settle_decoding(config_of(shard_folder, **changes), CPU, index)
    assert asked == [3, 7]
    assert found.max_bytes == 1000 << 20
    (note,) = found.notes
    assert "pillow on cpu, 7 threads; decoded images at most 0.977 GiB at a time" in note
    monkeypatch.setattr(decoding, "free_host_bytes", lambda: None)
    found, _ = settle_decoding(config_of(shard_folder, decoded_bytes=None), CPU, index)
    assert found.max_bytes is None
    assert "without a bound" in found.notes[0]


def test_a_batch_over_the_bound_is_said(shard_folder: Path, tmp_path: Path) -> None:
    """It is made alone, with the losses of any other run."""
    config = config_of(shard_folder, decoded_bytes="1KiB", workers=2)
    found, _ = settle_decoding(config, CPU, ShardIndex.open(shard_folder))
    assert found.notes[0].endswith("a batch, so that a batch is made in pieces")
    train(config, tmp_path / "tight")
    train(config_of(shard_folder), tmp_path / "wide")
    losses = [[r["loss"] for r in read_metrics(tmp_path / name)] for name in ("tight", "wide")]
    assert losses[0] == losses[1]


def test_views_on_the_cpu_beside_training_elsewhere(shard_folder: Path) -> None:
    """data.augment_device=cpu: backend, decoder and cache are on the CPU whatever trains."""
    config = config_of(shard_folder, augment_device="cpu")
    assert views_device(config.data, CUDA) == CPU
    assert views_device(config_of(shard_folder).data, CUDA) == CUDA
    found, _ = settle_decoding(config, torch.device("meta"), ShardIndex.open(shard_folder))
    assert found.decoder.device == CPU
    assert open_decoder(config.data, torch.device("meta")).device == CPU


def test_a_step_takes_views_that_were_made_on_the_cpu(
    shard_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backend, decoder and cache on the CPU, network and views on another device, none mixed."""
    elsewhere = torch.device("meta")  # torch's device without numbers: what is mixed is an error
    monkeypatch.setattr("trainer.build.choose_device", lambda *_: elsewhere)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    changes = {"eval": {"label_free": False}, "data": {"augment_device": "cpu", "cache": "host"}}
    parts = build_parts(tiny_config(shard_folder, "simsiam", **SHORT, **changes))
    assert parts.device == elsewhere
    assert (parts.backend.device, parts.decoder.device) == (CPU, CPU)
    with open_loader(parts) as loader:
        result = optimizer_step(parts.method.train(), parts, loader, parts.timeline.progress(0))
    assert result.loss.device == elsewhere
    assert len(result.origins[0].ids) == 8


def test_a_start_says_what_was_left_open(shard_folder: Path, tmp_path: Path) -> None:
    """Threads, bytes and where views are made, in the head of config.yaml."""
    train(tiny_config(shard_folder, "simsiam", **SHORT), tmp_path)
    (start,) = read_starts((tmp_path / "config.yaml").read_text())
    assert start["auto"]["data.decode_threads"] == 1
    assert start["auto"]["data.augment_device"] == "cpu"
    assert start["auto"]["data.decoded_bytes"].split()[1] in ("MiB", "GiB")
    assert "data.decoder_load" not in start["auto"]  # without meaning on a CPU


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"decode_threads": 0}, "data.decode_threads lies in [1, 1024] or is null, got 0"),
        ({"decoded_bytes": "many"}, "KiB, MiB, GiB, KB, MB or GB, got 'many'"),
        ({"augment_device": "cuda"}, "unknown data.augment_device 'cuda'"),
        ({"augment_device": "cpu", "cache": "gpu"}, "try data.cache=host"),
    ],
)
def test_a_wrong_key_is_one_line(data: dict, message: str) -> None:
    """Refused when the config is made."""
    with pytest.raises(UsageError) as error:
        resolve({"data": data})
    assert message in str(error.value)
    assert "\n" not in str(error.value)
