"""A folder as Hugging Face wants it: weights, config.json, a model card; whole or absent.

Where timm has the network, config.json is timm's, so that `timm.create_model("local-dir:FOLDER")`
loads it, and `hf-hub:USER/NAME` once it is uploaded; `trainer.load_encoder` takes every folder.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from shards.atomic import write_whole
from shards.errors import DataError, UsageError
from trainer.encoders.encoder import Encoder
from trainer.encoders.export_layouts import timm_arguments, timm_recipe
from trainer.encoders.load_encoder import HUB_WEIGHTS

CONFIG = "config.json"
CARD = "README.md"


def check_folder(out: Path) -> None:
    """UsageError unless a folder can be made there."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out is a new folder for --format hub, got {out}; name another")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"--out lies in a folder that exists, got {out}; make that first")


def write_folder(out: Path, files: Mapping[str, bytes]) -> None:
    """Make the folder with these files in one step; DataError when that cannot be done."""
    temporary = out.absolute().with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir()
        for name, content in files.items():
            write_whole(temporary / name, content)
        if out.is_dir():
            out.rmdir()  # empty, or it would have been refused
        temporary.rename(out)
    except OSError as error:
        raise DataError(
            f"--out is a folder that may be made, got {error.strerror} for {out}; name another"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def fits_timm(encoder: Encoder) -> bool:
    """Whether timm makes this network from a config.json alone."""
    try:
        arch, _ = timm_arguments(encoder.metadata)
        return not timm_recipe(encoder.metadata).note and arch != "resnet10"
    except UsageError:
        return False


def use_of(encoder: Encoder, name: str) -> list[str]:
    """Lines of Python that load the folder, with timm where it can."""
    size_px = encoder.preprocessing.size_px
    if fits_timm(encoder):
        return [
            "import timm, torch",
            f'model = timm.create_model("local-dir:{name}", pretrained=True, num_classes=0).eval()',
            f"# {encoder.preprocessing}",
            f"features = model(torch.zeros(1, 3, {size_px}, {size_px}))"
            f"  # [1, {encoder.feature_dim}]",
        ]
    return [
        "import trainer, PIL.Image",
        f'encoder = trainer.load_encoder("{name}")',
        f'features = encoder([PIL.Image.open("photo.jpg")])  # [1, {encoder.feature_dim}]',
        f"# views: {encoder.preprocessing}",
    ]


def hub_files(
    encoder: Encoder,
    weights: Mapping[str, torch.Tensor],
    card: str,
) -> dict[str, bytes]:
    """The files of the folder by name."""
    return {
        HUB_WEIGHTS: save(dict(weights), dict(encoder.metadata)),
        CONFIG: json.dumps(_config(encoder), indent=2).encode() + b"\n",
        CARD: card.encode(),
    }


def _config(encoder: Encoder) -> dict[str, Any]:
    texts, feeding = dict(encoder.metadata), encoder.preprocessing
    size_px = feeding.size_px
    arch, options = timm_arguments(texts) if fits_timm(encoder) else (texts["arch"], {})
    return {
        "architecture": arch,
        "num_classes": 0,
        "num_features": encoder.feature_dim,
        "model_args": options,
        "pretrained_cfg": {
            "input_size": [3, size_px, size_px],
            "interpolation": "bilinear",
            "crop_pct": feeding.fraction,
            "mean": list(feeding.mean),
            "std": list(feeding.std),
            "num_classes": 0,
            "fixed_input_size": False,
        },
        "augengine": texts,
    }
