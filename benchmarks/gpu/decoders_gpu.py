"""The GPU's decoders in turns: rates, host time, memory, and whether pixels depend on the batch.

    python -m benchmarks.gpu.decoders_gpu --out FILE [--device cuda] [--images 256] [--rounds 5]

DALI and nvImageCodec, each with all JPEGs for the hardware engine and with none. What is counted
beside the rate says whether a decoder does what it is kept for:

- images that differ when they are decoded alone, or in a batch turned round: 0 is promised;
- levels from Pillow's pixels, on average and at most;
- CPU seconds of this process while it holds a batch and sleeps: a thread that spins shows here;
- bytes of the GPU that are still taken after every image is gone, beside those before the first.
"""

import argparse
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from augengine.decoders.create_decoder import create_decoder
from augengine.decoders.decoder import Decoder
from augengine.decoders.tuning import ALL, NONE, WorkSplit
from augengine.devices.installed import has_dali, has_nvimgcodec
from benchmarks.augment.photographs import photograph_jpegs
from shards.atomic import write_whole
from shards.errors import UsageError, run_command
from shards.terminal.commandline import CommandParser, count
from trainer.record.conditions import conditions

SLEEP_S = 0.5
NUM_COMPARED = 32  # images that are decoded alone too


def main(argv: list[str] | None = None) -> int:
    """Measure, print and write the figures; returns the exit code."""
    return run_command(lambda: _benchmark(_parser().parse_args(argv)))


def _parser() -> CommandParser:
    parser = CommandParser("python -m benchmarks.gpu.decoders_gpu", __doc__)
    add = parser.add_argument
    add("--device", default="cuda", choices=("cuda", "cpu"), help="default: %(default)s")
    add("--images", type=count, default=256, metavar="N", help="a batch (default: %(default)s)")
    add("--rounds", type=count, default=5, metavar="N", help="default: %(default)s")
    add("--threads", type=count, default=8, metavar="N", help="on the host (default: %(default)s)")
    add("--out", type=Path, required=True, metavar="FILE", help="JSON")
    return parser


def decoders_on(device: torch.device, num_threads: int) -> dict[str, Decoder]:
    """Those that are installed, by name and who decodes."""
    there = {"dali": has_dali(), "nvimgcodec": has_nvimgcodec()}
    ways = {"engine": WorkSplit(ALL), "kernels": WorkSplit(NONE)}
    if device.type == "cpu":
        ways = {"host": WorkSplit(NONE)}
    return {
        f"{name}, {way}": create_decoder(name, device, num_threads, split)
        for name, is_there in there.items()
        if is_there
        for way, split in ways.items()
    }


def _compared(
    decoder: Decoder, images: Sequence[Any], jpegs: list[bytes]
) -> tuple[int, list[torch.Tensor]]:
    """How many of the first images differ by their batch; all levels off Pillow's, by image."""
    few = jpegs[:NUM_COMPARED]
    truth = create_decoder("pillow", "cpu")(few)
    turned = decoder(jpegs[::-1])[::-1]
    differ, levels = 0, []
    for row, jpeg in enumerate(few):
        (alone,) = decoder([jpeg])
        found = [_on_host(image) for image in (images[row], turned[row], alone)]
        differ += not all(torch.equal(found[0], other) for other in found[1:])
        levels.append((found[0].int() - _on_host(truth[row]).int()).abs().float())
    return differ, levels


def figures(decoder: Decoder, jpegs: list[bytes]) -> dict[str, Any]:
    """What one decoder is held to, beside its rate."""
    free = _free(decoder.device)
    images = decoder(jpegs)
    differ, levels = _compared(decoder, images, jpegs)
    start = time.process_time()
    time.sleep(SLEEP_S)
    holding_s = time.process_time() - start
    del images
    result: dict[str, Any] = {
        "differ_by_batch": differ,
        "of": len(levels),
        "mean_levels": round(statistics.mean(float(level.mean()) for level in levels), 4),
        "max_levels": max(int(level.max()) for level in levels),
        "cpu_share_while_holding": round(holding_s / SLEEP_S, 3),
    }
    if free is not None:
        result["gpu_mib_kept"] = round((free - (_free(decoder.device) or 0)) / 2**20, 1)
    return result


def rates(decoders: dict[str, Decoder], jpegs: list[bytes], rounds: int) -> dict[str, dict]:
    """Images a second and host milliseconds of every decoder, in turns."""
    walls: dict[str, list[float]] = {name: [] for name in decoders}
    hosts: dict[str, list[float]] = {name: [] for name in decoders}
    for turn in range(rounds + 1):
        for name, decoder in decoders.items():
            start, host = time.perf_counter(), time.process_time()
            decoder(jpegs)
            _finish(decoder.device)
            if turn:  # the first one builds
                walls[name].append(time.perf_counter() - start)
                hosts[name].append(time.process_time() - host)
    return {
        name: {
            "images_per_s": round(len(jpegs) / statistics.median(walls[name]), 1),
            "cpu_ms_per_image": round(1e3 * statistics.median(hosts[name]) / len(jpegs), 4),
        }
        for name in decoders
    }


def _benchmark(options: argparse.Namespace) -> int:
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("decoders_gpu needs an NVIDIA GPU, torch sees none; try --device cpu")
    if importlib.util.find_spec("nvidia") is None:
        raise UsageError("decoders_gpu times NVIDIA's decoders, none is installed; install DALI")
    device = torch.device(options.device)
    jpegs = photograph_jpegs(options.images)
    decoders = decoders_on(device, options.threads)
    found = {name: figures(decoder, jpegs) for name, decoder in decoders.items()}
    for name, rate in rates(decoders, jpegs, options.rounds).items():
        found[name] |= rate
        shown = ", ".join(f"{key} {value}" for key, value in found[name].items())
        print(f"{name}: {shown}", flush=True)
    settings = {"images": options.images, "rounds": options.rounds, "threads": options.threads}
    report = {"conditions": conditions(), "settings": settings, "decoders": found}
    write_whole(options.out, json.dumps(report, indent=2) + "\n")
    return 0


def _on_host(image: Any) -> torch.Tensor:
    if not isinstance(image, torch.Tensor):
        raise UsageError(f"every JPEG of this benchmark can be decoded, got {image}")
    return image.cpu()


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _free(device: torch.device) -> int | None:
    """Bytes of a GPU that nobody has; None of the host."""
    _finish(device)
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


if __name__ == "__main__":
    sys.exit(main())
