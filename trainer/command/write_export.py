"""Writes an encoder in the format that was asked for, and says how to load it there."""

import argparse
import io
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save

import trainer.checkpoint as checkpoint
from shards.atomic import atomic_file
from shards.errors import UsageError
from shards.terminal.console import new_console
from shards.terminal.output_file import check_output
from trainer.command.origins import OF_EXPORT, origins
from trainer.encoders.encoder import Encoder
from trainer.encoders.export_layouts import (
    Recipe,
    detectron2_settings,
    detectron2_weights,
    timm_recipe,
    torchvision_recipe,
)
from trainer.encoders.hub_folder import check_folder, hub_files, use_of, write_folder
from trainer.encoders.load_encoder import check_source, is_run, load_encoder, run_encoder
from trainer.encoders.model_card import model_card, read_scores
from trainer.encoders.onnx_file import onnx_bytes, require_onnx
from trainer.record.rundir import read_config

SUFFIXES = {
    "safetensors": ".safetensors",
    "torchvision": ".pth",
    "timm": ".safetensors",
    "detectron2": ".pkl",
    "onnx": ".onnx",
}


def write_export(args: argparse.Namespace) -> int:
    """The command's body; returns its exit code. Nothing is written before all of it is made."""
    source, out, format_ = args.encoder, Path(args.out), args.format
    _check(args, out)
    encoder = _encoder(source, args.checkpoint)
    if not encoder.metadata:
        raise UsageError(
            f"an export is of a run or of an exported file, got {source}, which is another "
            "library's already; name a run"
        )
    if format_ == "hub":
        return _write_hub(args, encoder, out)
    weights = _weights(encoder)
    data, lines, note = _content(format_, encoder, weights, out)
    with atomic_file(out) as file:
        file.write(data)
    step = f", step {encoder.metadata['step']}" if "step" in encoder.metadata else ""
    _say(
        f"wrote {out}: {encoder.metadata['arch']}, {encoder.feature_dim} features{step}",
        *([f"note: {note}"] if note else []),
        *lines,
        f"views: {encoder.preprocessing}",
    )
    return 0


def _check(args: argparse.Namespace, out: Path) -> None:
    """Refuse what can be refused before a file is read."""
    check_source(args.encoder)
    if args.format == "hub":
        check_folder(out)
        if not is_run(args.encoder):
            raise UsageError(
                f"--format hub tells how an encoder was made, which a run knows, got "
                f"{args.encoder}; name the folder of a run"
            )
    else:
        check_output("--out", out, (SUFFIXES[args.format],))
    if args.format != "hub" and (args.scores or args.license):
        raise UsageError(
            f"--scores and --license go into the card of --format hub, got --format {args.format}; "
            "leave them out"
        )
    if args.format == "onnx":
        require_onnx()


def _encoder(source: str, which: str) -> Encoder:
    if is_run(source):
        run = Path(source)
        config = read_config(run)
        checkpoint.find(run, which)
        sys.stderr.writelines(f"{text}\n" for text in origins(config, OF_EXPORT))
        return run_encoder(run, config, which)
    return load_encoder(source, which)


def _weights(encoder: Encoder) -> dict[str, torch.Tensor]:
    """Its own tensors; contiguous, as files want them."""
    return {name: x.detach().contiguous() for name, x in encoder.module.state_dict().items()}


def _content(
    format_: str, encoder: Encoder, weights: Mapping[str, torch.Tensor], out: Path
) -> tuple[bytes, tuple[str, ...], str]:
    """The file, lines that say how it is loaded, and what to know of it."""
    texts = encoder.metadata
    if format_ == "torchvision":
        recipe = torchvision_recipe(texts)
        buffer = io.BytesIO()
        torch.save(dict(weights), buffer)
        return buffer.getvalue(), _loading(recipe, out), recipe.note
    if format_ == "timm":
        recipe = timm_recipe(texts)
        return save(dict(weights), dict(texts)), _loading(recipe, out), recipe.note
    if format_ == "detectron2":
        content = {"model": detectron2_weights(weights, texts), "__author__": "AugEngine"}
        data = pickle.dumps({**content, "matching_heuristics": True}, protocol=4)
        words = " ".join(detectron2_settings(texts)).replace(", ", ",")
        return data, (f"load it with: MODEL.WEIGHTS {out} {words}",), ""
    if format_ == "onnx":
        size_px = encoder.preprocessing.size_px
        lines = (
            "load it with:",
            "  import onnxruntime",
            f'  session = onnxruntime.InferenceSession("{out}")',
            f'  (features,) = session.run(["features"], {{"images": views}})  # [N, 3, {size_px}, '
            f"{size_px}] float32",
        )
        return onnx_bytes(encoder), lines, ""
    return save(dict(weights), dict(texts)), (), _stem_note(texts)


def _write_hub(args: argparse.Namespace, encoder: Encoder, out: Path) -> int:
    run = Path(args.encoder)
    state = checkpoint.load(checkpoint.find(run, args.checkpoint))
    config, texts = read_config(run), encoder.metadata
    if args.scores is not None:
        read_scores(args.scores, state["step"])
    use = use_of(encoder, out.name)  # the card's: where the folder lies here says nothing there
    card = model_card(
        out.name,
        run,
        config,
        state,
        texts,
        use,
        scores=args.scores,
        licence=args.license,
        library="timm" if use[0].startswith("import timm") else "pytorch",
    )
    files = hub_files(encoder, _weights(encoder), card)
    write_folder(out, files)
    licence = "" if args.license else "no --license was given and the card names none; "
    _say(
        f"wrote {out}: {', '.join(files)}; {texts['arch']}, {encoder.feature_dim} features, step "
        f"{texts['step']}",
        f"note: {licence}read README.md before you publish it: it has the commands as they were "
        "typed",
        "load it with:",
        *(f"  {line}" for line in use_of(encoder, str(out))),
    )
    return 0


def _loading(recipe: Recipe, out: Path) -> tuple[str, ...]:
    return ("load it with:", *(f"  {line.replace('{file}', str(out))}" for line in recipe.lines))


def _stem_note(texts: Mapping[str, str]) -> str:
    try:
        return torchvision_recipe(texts).note and (
            "the small stem of this encoder (3x3, stride 1, no pooling) does not fit "
            "torchvision's; --format torchvision says what to change"
        )
    except UsageError:
        return ""


def _say(*lines: str) -> None:
    console = new_console(soft_wrap=True)
    for line in lines:
        console.print(line)
