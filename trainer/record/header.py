"""The header of a run: three lines before its first step say what it is going to do."""

import os

import torch

from shards.terminal.counted import counted
from trainer.build import Parts
from trainer.distributed import world_size
from trainer.watch.footprint import Footprint


def describe_run(parts: Parts, footprint: Footprint | str, first_step: int = 0) -> str:
    """Data, encoder, views, length, machine, memory: a person sees what is not as meant."""
    config, loop = parts.config, parts.config.loop
    groups, steps = parts.policy.groups, parts.timeline.total_steps
    views = " + ".join(f"{group.count} x {group.size_px} px" for group in groups)
    encoder = sum(p.numel() for p in parts.method.encoder.parameters())
    trained = sum(p.numel() for p in parts.method.parameters() if p.requires_grad)
    ranks = f", {world_size()} processes" if world_size() > 1 else ""
    again = f", from step {first_step:,} on" if first_step else ""
    return (
        f"{counted(len(parts.index), 'image')}{_classes(parts)}; {config.method.name}, "
        f"{config.backbone.arch} of {_millions(encoder)} parameters, {_millions(trained)} trained; "
        f"views {views}\n"
        f"{counted(steps, 'step')} of {counted(loop.batch_size, 'image')}, "
        f"{counted(loop.epochs, 'epoch')}{again}"
        f"; on {_machine(parts.device)}{ranks}, {counted(config.data.workers, 'loader thread')}, "
        f"{parts.backend.name}\n"
        f"{footprint if isinstance(footprint, str) else footprint.describe()}"
    )


def _classes(parts: Parts) -> str:
    """Named by the manifest, which needs no look at a billion records."""
    number = len(parts.index.classes)
    return f" in {counted(number, 'class')}" if number > 1 else ""


def _millions(number: int) -> str:
    return f"{number / 1e6:.1f} M" if number >= 1e5 else f"{number:,}"


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return (
        f"{device.type} with {torch.get_num_threads()} of {counted(os.cpu_count() or 1, 'thread')}"
    )
