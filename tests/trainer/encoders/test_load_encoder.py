"""`trainer.load_encoder`: a run, an exported file or folder, others' modules."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_run import made_run
from PIL import Image
from safetensors.torch import load_file, save_file

import trainer
from augengine.loader.center_plan import CenterSquare
from augengine.loader.listed_loader import iter_listed_views
from shards.errors import DataError, UsageError
from shards.index import ShardIndex
from shards.reader import ShardReader
from trainer.export import main as export
from trainer.recipes.recipe import to_yaml


@pytest.mark.parametrize("arch", ["resnet10", "resnet50_sk", "vit_tiny4"])
def test_a_run_its_file_and_its_folder_are_one_encoder(
    arch: str, shard_folder: Path, tmp_path: Path
) -> None:
    """Equal weights by digest, equal features, equal preprocessing."""
    run = tmp_path / "run"
    made_run(run, shard_folder, arch)
    assert export([str(run), "--out", str(tmp_path / "e.safetensors")]) == 0
    assert export([str(run), "--out", str(tmp_path / "hub"), "--format", "hub"]) == 0
    places = (run, tmp_path / "e.safetensors", tmp_path / "hub")
    encoders = [trainer.load_encoder(place) for place in places]
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    features = [encoder([pixels]) for encoder in encoders]
    assert features[0].shape == (1, encoders[0].feature_dim)
    for encoder, found in zip(encoders[1:], features[1:], strict=True):
        assert encoder.digest() == encoders[0].digest()
        assert encoder.preprocessing == encoders[0].preprocessing
        assert torch.equal(found, features[0])
    assert not encoders[1].module.training


def test_the_preprocessing_is_that_of_evaluation(shard_folder: Path, tmp_path: Path) -> None:
    """An image through `preprocessing` is the view that the loader makes of it, to 2e-3.

    The bound is that of the fused backend against the reference; size, centre and colours of a
    run's `eval` keys come along.
    """
    run = tmp_path / "run"
    config = made_run(run, shard_folder)
    changed = replace(config, eval=replace(config.eval, size_px=24, fraction=0.75))
    (run / "config.yaml").write_text(to_yaml(changed))
    assert export([str(run), "--out", str(tmp_path / "e.safetensors")]) == 0
    feeding = trainer.load_encoder(tmp_path / "e.safetensors").preprocessing
    assert (feeding.size_px, feeding.fraction) == (24, 0.75)
    index = ShardIndex.open(shard_folder)
    views = next(
        iter_listed_views(
            index, CenterSquare(24, feeding.mean, feeding.std, 0.75), 5, decoder="pillow",
            device="cpu",
        )
    )  # fmt: skip
    with ShardReader(index) as reader:
        found = reader.read(np.arange(5))
    for i, data in enumerate(found):
        assert isinstance(data, bytes)
        (tmp_path / "one.jpg").write_bytes(data)
        with Image.open(tmp_path / "one.jpg") as image:
            own = feeding([image])
        torch.testing.assert_close(own[0], views.crops[0][0][i], atol=2e-3, rtol=0)


def test_a_file_of_a_former_release_is_read(shard_folder: Path, tmp_path: Path) -> None:
    """Without view size and fraction the largest crop and the whole centre are taken."""
    made_run(tmp_path / "run", shard_folder)
    path = tmp_path / "e.safetensors"
    assert export([str(tmp_path / "run"), "--out", str(path)]) == 0
    texts = dict(trainer.load_encoder(path).metadata)
    old = {k: v for k, v in texts.items() if k not in ("view_size_px", "fraction")}
    save_file(load_file(path), path, old)
    assert trainer.load_encoder(path).preprocessing.size_px == 32


def test_an_encoder_of_others_is_a_module_or_makes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its own size and colours where it says them."""
    (tmp_path / "someones_nets.py").write_text(
        "import torch\n"
        "class Mean(torch.nn.Module):\n"
        "    size_px, mean = 8, [0.5, 0.5, 0.5]\n"
        "    def forward(self, x):\n"
        "        return x.mean((2, 3))\n"
        "one = Mean()\n"
        "number = 3\n"
        "def broken():\n"
        "    raise OSError('no file')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("someones_nets:Mean", "someones_nets:one"):
        encoder = trainer.load_encoder(name)
        assert (encoder.feature_dim, encoder.preprocessing.size_px) == (3, 8)
        assert encoder.preprocessing.mean == (0.5, 0.5, 0.5)
    for name, part in (
        ("someones_nets:number", "got a int"),
        ("someones_nets:broken", "got OSError: no file"),
        ("someones_nets:absent", "got no such name as absent"),
        ("no_such_module:x", "got none called no_such_module"),
        ("some-net:x", "is named package.module:Class"),
    ):
        with pytest.raises(UsageError, match=part):
            trainer.load_encoder(name)


@pytest.mark.parametrize("damage", ["torn", "swapped", "texts", "odd", "timm"])
def test_a_file_that_is_none_of_ours_is_refused(
    damage: str, shard_folder: Path, tmp_path: Path
) -> None:
    """Torn, tensors of another network, no texts, NaN, options that would make timm read a file."""
    made_run(tmp_path / "run", shard_folder)
    path = tmp_path / "e.safetensors"
    assert export([str(tmp_path / "run"), "--out", str(path)]) == 0
    weights, texts = load_file(path), dict(trainer.load_encoder(path).metadata)
    if damage == "torn":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "swapped":
        save_file(weights, path, texts | {"arch": "resnet18"})
    elif damage == "texts":
        save_file(weights, path)
    elif damage == "odd":
        weights["conv1.weight"][0, 0, 0, 0] = float("nan")
        save_file(weights, path, texts)
    else:
        options = json.dumps({"checkpoint_path": "/etc/passwd"})
        save_file(weights, path, texts | {"arch": "timm:conv", "timm_options": options})
    with pytest.raises((DataError, UsageError), match=r"export|install") as found:
        trainer.load_encoder(path)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("nothing", "which is not there"),
        ("notes.txt", "another file"),
        (".", "another folder"),
        ("timm:resnet18", r"timm>=1\.0"),
    ],
)
def test_what_is_no_encoder_is_told(
    name: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was got, and what an encoder may be."""
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("no weights")
    with pytest.raises(UsageError, match=part):
        trainer.load_encoder(name)


def test_a_checkpoint_is_chosen_of_a_run_only(shard_folder: Path, tmp_path: Path) -> None:
    """`which` is refused for a file: it would be passed over in silence."""
    made_run(tmp_path / "run", shard_folder)
    assert export([str(tmp_path / "run"), "--out", str(tmp_path / "e.safetensors")]) == 0
    assert trainer.load_encoder(tmp_path / "run", "3").metadata["step"] == "3"
    with pytest.raises(UsageError, match="--checkpoint chooses"):
        trainer.load_encoder(tmp_path / "e.safetensors", "3")


def test_a_checkpoint_of_a_run_is_told_by_what_to_type(shard_folder: Path, tmp_path: Path) -> None:
    """The folder and the file, which then are taken; a name with a space in quotes."""
    run = tmp_path / "my run"
    made_run(run, shard_folder)
    path = run / "checkpoints" / "step-00000003.pt"
    with pytest.raises(UsageError, match="named by the run's folder") as found:
        trainer.load_encoder(path)
    source, flag, which = shlex.split(str(found.value).rpartition("; type ")[2])
    assert flag == "--checkpoint"
    assert trainer.load_encoder(source, which).feature_dim == 512


def test_an_arch_of_one_s_own_is_read_back_and_never_from_beside_the_file(
    shard_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The file names the class, which has to be here already; a file brings no code with it."""
    code = (
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.feature_dim = 4\n"
        "        self.conv = torch.nn.Conv2d(3, 4, 3)\n"
        "    def forward(self, x):\n"
        "        return self.conv(x).mean((2, 3))\n"
    )
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "net_of_mine.py").write_text(code)
    monkeypatch.chdir(tmp_path / "code")
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    made_run(tmp_path / "run", shard_folder, "net_of_mine:Net")
    (tmp_path / "files").mkdir()
    path = tmp_path / "files" / "e.safetensors"
    assert export([str(tmp_path / "run"), "--out", str(path)]) == 0
    assert "arch net_of_mine:Net from" in capsys.readouterr().err
    assert trainer.load_encoder(path).digest() == trainer.load_encoder(tmp_path / "run").digest()
    (tmp_path / "files" / "net_of_theirs.py").write_text("raise SystemExit('code was run')\n")
    monkeypatch.syspath_prepend(str(tmp_path / "files"))
    texts = dict(trainer.load_encoder(path).metadata) | {"arch": "net_of_theirs:Net"}
    save_file(load_file(path), path, texts)
    with pytest.raises((DataError, UsageError), match="never from the run or another folder"):
        trainer.load_encoder(path)
