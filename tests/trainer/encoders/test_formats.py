"""An export is loaded by the library it is for, by the very lines that it prints."""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_run import made_run

import trainer
from trainer.export import main as export

CHANGED = "stem of this encoder"


def exported(
    run: Path, out: Path, format_: str, capsys: pytest.CaptureFixture[str]
) -> tuple[str, list[str]]:
    """What the command says, and the lines of Python in it."""
    capsys.readouterr()
    assert export([str(run), "--format", format_, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    return said, [line[2:] for line in said.splitlines() if line.startswith("  ")]


def loaded(lines: list[str]) -> torch.nn.Module:
    """The model that these lines make."""
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)
    return names["model"]


def images(size_px: int = 32) -> torch.Tensor:
    return torch.randn(3, 3, size_px, size_px, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("arch", "stem"),
    [("resnet18", "imagenet"), ("resnet50", "small"), ("resnet10", "small"), ("resnet18", "half")],
)
def test_torchvision_loads_it(
    arch: str, stem: str, shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """torchvision's own network gives our features to 1e-5, also with its stem changed."""
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    made_run(tmp_path / "run", shard_folder, arch, stem=stem)
    said, lines = exported(tmp_path / "run", tmp_path / "e.pth", "torchvision", capsys)
    ours = trainer.load_encoder(tmp_path / "run").module
    with torch.no_grad():
        torch.testing.assert_close(loaded(lines)(images()), ours(images()), atol=1e-5, rtol=1e-5)
    assert (f"the {stem} {CHANGED}" in said) == (stem in ("small", "half"))


@pytest.mark.parametrize("arch", ["resnet18", "resnet34", "resnet50", "vit_tiny4", "vit_small16"])
def test_timm_loads_it(
    arch: str, shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """timm's own network gives our features to 1e-5; ViTs at the run's size of views."""
    pytest.importorskip("timm", reason="timm is not installed")
    made_run(tmp_path / "run", shard_folder, arch, stem="imagenet")
    _, lines = exported(tmp_path / "run", tmp_path / "e.safetensors", "timm", capsys)
    ours = trainer.load_encoder(tmp_path / "run").module
    with torch.no_grad():
        torch.testing.assert_close(loaded(lines)(images()), ours(images()), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("arch", "stem"), [("resnet18", "imagenet"), ("vit_tiny4", "auto")])
def test_timm_loads_the_folder_of_a_hub(
    arch: str, stem: str, shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """`local-dir:FOLDER` is how timm takes what Hugging Face would give it."""
    pytest.importorskip("timm", reason="timm is not installed")
    made_run(tmp_path / "run", shard_folder, arch, stem=stem)
    _, lines = exported(tmp_path / "run", tmp_path / "mine", "hub", capsys)
    monkeypatch.chdir(tmp_path)
    ours = trainer.load_encoder(tmp_path / "mine").module
    with torch.no_grad():
        torch.testing.assert_close(loaded(lines)(images()), ours(images()), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("arch", ["resnet10", "vit_tiny4"])
def test_onnxruntime_runs_it(
    arch: str, shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The graph gives our features to 1e-5 for one image and for several."""
    pytest.importorskip("onnx", reason="onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    made_run(tmp_path / "run", shard_folder, arch)
    exported(tmp_path / "run", tmp_path / "e.onnx", "onnx", capsys)
    session = runtime.InferenceSession(str(tmp_path / "e.onnx"))
    ours = trainer.load_encoder(tmp_path / "run").module
    for count in (1, 3):
        (features,) = session.run(["features"], {"images": images()[:count].numpy()})
        with torch.no_grad():
            expected = ours(images()[:count])
        np.testing.assert_allclose(features, expected.numpy(), atol=1e-5, rtol=1e-5)


def test_names_and_shapes_are_torchvisions(
    shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without torchvision at hand: the state dict of its resnet18 but for `fc`, written down."""
    made_run(tmp_path / "run", shard_folder, "resnet18", stem="imagenet")
    exported(tmp_path / "run", tmp_path / "e.pth", "torchvision", capsys)
    shapes = {k: tuple(v.shape) for k, v in torch.load(tmp_path / "e.pth").items()}
    assert shapes == dict(resnet18_shapes())


def resnet18_shapes() -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of torchvision.models.resnet18 without fc."""

    def norm(name: str, width: int) -> list[tuple[str, tuple[int, ...]]]:
        vectors = ("weight", "bias", "running_mean", "running_var")
        return [*((f"{name}.{v}", (width,)) for v in vectors), (f"{name}.num_batches_tracked", ())]

    found: list[tuple[str, tuple[int, ...]]] = [("conv1.weight", (64, 3, 7, 7)), *norm("bn1", 64)]
    before = 64
    for stage, width in enumerate((64, 128, 256, 512), start=1):
        for block in (0, 1):
            here = f"layer{stage}.{block}"
            found += [(f"{here}.conv1.weight", (width, before, 3, 3)), *norm(f"{here}.bn1", width)]
            found += [(f"{here}.conv2.weight", (width, width, 3, 3)), *norm(f"{here}.bn2", width)]
            if before != width:
                found.append((f"{here}.downsample.0.weight", (width, before, 1, 1)))
                found += norm(f"{here}.downsample.1", width)
            before = width
    return found


def test_names_are_detectron2s(
    shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stem, res2 to res5, shortcuts and norms, as its ResNet-50 has them."""
    made_run(tmp_path / "run", shard_folder, "resnet50", stem="imagenet")
    said = exported(tmp_path / "run", tmp_path / "e.pkl", "detectron2", capsys)[0]
    content = pickle.loads((tmp_path / "e.pkl").read_bytes())
    assert (content["__author__"], content["matching_heuristics"]) == ("AugEngine", True)
    model = content["model"]
    vectors = ("weight", "bias", "running_mean", "running_var")
    expected = ["stem.conv1.weight", *(f"stem.conv1.norm.{v}" for v in vectors)]
    for stage, blocks in zip((2, 3, 4, 5), (3, 4, 6, 3), strict=True):
        for block in range(blocks):
            convs = ["conv1", "conv2", "conv3", *(["shortcut"] if block == 0 else [])]
            for conv in convs:
                here = f"res{stage}.{block}.{conv}"
                expected += [f"{here}.weight", *(f"{here}.norm.{v}" for v in vectors)]
    assert sorted(model) == sorted(expected)
    assert model["stem.conv1.weight"].shape == (64, 3, 7, 7)
    assert model["res2.0.shortcut.weight"].shape == (256, 64, 1, 1)
    assert model["res5.2.conv3.norm.running_var"].shape == (2048,)
    ours = trainer.load_encoder(tmp_path / "run").module.state_dict()
    assert np.array_equal(model["res4.5.conv2.weight"], ours["layer3.5.conv2.weight"].numpy())
    assert np.array_equal(model["res3.0.shortcut.norm.bias"], ours["layer2.0.downsample.1.bias"])
    assert "MODEL.RESNETS.STRIDE_IN_1X1 False" in said
    assert re.search(r"PIXEL_MEAN \[123\.\d+,116\.\d+,103\.\d+\]", said)


@pytest.mark.parametrize(
    ("arch", "format_", "suffix", "part"),
    [
        ("resnet50_sk", "torchvision", ".pth", "got resnet50_sk; try --format onnx or hub"),
        ("resnet50_sk", "timm", ".safetensors", "got resnet50_sk; try --format onnx or hub"),
        ("vit_tiny4", "torchvision", ".pth", "got vit_tiny4; try --format timm"),
        ("vit_tiny4", "detectron2", ".pkl", "got vit_tiny4"),
        ("resnet18", "detectron2", ".pkl", "with stem small"),
        ("resnet10", "onnx", ".pth", "ends with .onnx"),
        ("resnet10", "safetensors", ".safetensors --license mit", "--license go into the card"),
    ],
)
def test_what_a_library_has_not_is_one_line(
    arch: str, format_: str, suffix: str, part: str, shard_folder: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The rule, what was got, another format; nothing is written."""
    made_run(tmp_path / "run", shard_folder, arch)
    out, *more = f"{tmp_path / 'e'}{suffix}".split()
    assert export([str(tmp_path / "run"), "--format", format_, "--out", out, *more]) == 2
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_onnx_that_is_absent_is_one_line(
    shard_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """What to install, before anything is loaded or written."""
    made_run(tmp_path / "run", shard_folder)
    monkeypatch.setattr("trainer.encoders.onnx_file.find_spec", lambda name: None)
    out = str(tmp_path / "e.onnx")
    assert export([str(tmp_path / "run"), "--format", "onnx", "--out", out]) == 2
    error = capsys.readouterr().err
    assert "pip install onnx onnxscript" in error
    assert error.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
