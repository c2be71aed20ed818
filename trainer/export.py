"""`python -m trainer.export RUN --out encoder.safetensors`: the encoder alone, for other programs.

A safetensors file of the backbone's parameters and buffers. A ResNet's have torchvision's names
(it lacks `fc`), a ViT's or a timm model's their own. What is needed to build the network again and
to feed it stands in the file's metadata, as texts.
"""

from trainer.interrupt import quiet_interrupt

if __name__ == "__main__":
    quiet_interrupt()  # before what takes seconds to import

import argparse
import sys
from pathlib import Path

import torch
from safetensors.torch import save

import trainer.checkpoint as checkpoint
from shards.atomic import atomic_file
from shards.errors import UsageError, run_command
from trainer.backbones import feature_dim
from trainer.build import build_method
from trainer.config import TrainConfig
from trainer.resnet import ResNet
from trainer.rundir import read_config

SUFFIX = ".safetensors"
EXAMPLES = """\
examples:
  python -m trainer.export runs/mine --out encoder.safetensors
  python -m trainer.export runs/mine --checkpoint best --out encoder.safetensors

  weights = safetensors.torch.load_file("encoder.safetensors")
  torchvision.models.resnet50().load_state_dict(weights, strict=False)   only fc is missing"""


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.export",
        description="Write a trained encoder's weights as a safetensors file.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="folder that trainer.run has left")
    parser.add_argument("--out", required=True, metavar="FILE", help=f"ends with {SUFFIX}")
    parser.add_argument(
        "--checkpoint", default="last", metavar="WHICH", help="last (default), best, a step, a file"
    )
    args = parser.parse_args(argv)
    return run_command(lambda: _export(Path(args.run), Path(args.out), args.checkpoint))


def _export(run: Path, out: Path, which: str) -> int:
    if out.suffix != SUFFIX or not out.parent.is_dir():
        raise UsageError(
            f"--out is a file in an existing folder that ends with {SUFFIX}, got {out}; "
            f"try --out encoder{SUFFIX}"
        )
    config = read_config(run)
    path = checkpoint.find(run, which)
    state = checkpoint.load(path)
    weights, metadata = encoder_of(config, state["method"], state["step"])
    data = save(weights, metadata)
    with atomic_file(out) as file:
        file.write(data)
    features = metadata["feature_dim"]
    sys.stdout.write(f"wrote {out}: {metadata['arch']}, {features} features, {path.name}\n")
    return 0


def encoder_of(
    config: TrainConfig, weights: dict[str, torch.Tensor], step: int
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The encoder's own tensors out of a method's, and how to build and to feed it."""
    policy = config.policy.load()
    method = build_method(config, policy)
    name, encoder = method.encoder_name, method.encoder
    own = {
        key.removeprefix(f"{name}."): value.contiguous()
        for key, value in weights.items()
        if key.startswith(f"{name}.")
    }
    encoder.load_state_dict(own)  # all of it, and nothing else
    metadata = {
        "format": "pt",
        "arch": config.backbone.arch,
        "width": f"{config.backbone.width:g}",
        "stem": encoder.stem if isinstance(encoder, ResNet) else "none",
        "feature_dim": str(feature_dim(encoder)),
        "image_size_px": str(max(group.size_px for group in policy.groups)),
        "mean": ", ".join(map(str, policy.mean)),
        "std": ", ".join(map(str, policy.std)),
        "method": config.method.name,
        "step": str(step),
    }
    return own, metadata


if __name__ == "__main__":
    sys.exit(main())
