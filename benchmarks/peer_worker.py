"""The other side of fused_cpu.py: lightly's and torchvision's own transforms, in their environment.

Started with the peers' Python, which need not have AugEngine. Reads one JSON request a line on
stdin, {"case": name, "num_threads": n}, makes the views of the whole stock of that case once and
answers one line: {"num_images": n, "views": number, "seconds": time,
"cpu_seconds": of all processes}. Threads are processes, as a
DataLoader's are, but nothing is sent back to the parent: the peers' collation is free here.
"""

import io
import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from lightly.transforms import BYOLTransform, SwaVTransform
from PIL import Image
from torchvision.transforms import v2

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_stock: dict[str, list] = {}
_cases: dict[str, tuple[str, Callable]] = {}  # name -> stock, transform


def main() -> int:
    """Serve requests until stdin ends."""
    torch.set_num_threads(1)
    _load(Path(sys.argv[1]))
    pools = {2: multiprocessing.get_context("fork").Pool(2)}
    print(
        json.dumps({name: metadata.version(name) for name in ("torch", "torchvision", "lightly")})
    )
    sys.stdout.flush()
    for line in sys.stdin:
        request = json.loads(line)
        case, num_threads = request["case"], request["num_threads"]
        items = [(case, i) for i in range(len(_stock[_cases[case][0]]))]
        start = time.perf_counter()
        if num_threads == 1:
            made = [_make(item) for item in items]
        else:
            made = pools[num_threads].map(_make, items, chunksize=len(items) // num_threads)
        seconds = time.perf_counter() - start
        print(json.dumps(_answer(made, seconds)))
        sys.stdout.flush()
    for pool in pools.values():
        pool.terminate()
    return 0


def _load(folder: Path) -> None:
    encoded = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
    pictures = [_decode(data) for data in encoded]
    _stock["encoded"] = encoded
    _stock["pictures"] = pictures
    _stock["tensors"] = [v2.functional.pil_to_tensor(picture) for picture in pictures]
    _stock["tiny"] = list(torch.from_numpy(np.load(folder / "tiny.npy")).permute(0, 3, 1, 2))
    swav, byol = SwaVTransform(), BYOLTransform()
    multi = [(_recipe(224, (0.14, 1), 0.8, 13), 2), (_recipe(96, (0.05, 0.14), 0.8, 13), 6)]
    small = _recipe(32, (0.2, 1), 0.4, None)
    _cases["swav, lightly"] = "pictures", swav
    _cases["swav, lightly with decode"] = "encoded", lambda data: swav(_decode(data))
    _cases["swav, torchvision v2"] = (
        "tensors",
        lambda image: [recipe(image) for recipe, count in multi for _ in range(count)],
    )
    _cases["byol, lightly"] = "pictures", byol
    _cases["byol, lightly with decode"] = "encoded", lambda data: byol(_decode(data))
    _cases["tiny, torchvision v2"] = "tiny", lambda image: [small(image), small(image)]


def _recipe(size: int, scale: tuple[float, float], strength: float, taps: int | None) -> Callable:
    jitter = v2.ColorJitter(strength, strength, strength, strength / 4)
    steps = [
        v2.RandomResizedCrop(size, scale=scale, antialias=True),
        v2.RandomHorizontalFlip(),
        v2.RandomApply([jitter], p=0.8),
        v2.RandomGrayscale(p=0.2),
    ]
    if taps is not None:
        steps.append(v2.RandomApply([v2.GaussianBlur(taps, (0.1, 2.0))], p=0.5))
    return v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])


def _decode(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def _make(item: tuple[str, int]) -> tuple[int, float]:
    """Views made of one image, and the CPU seconds it took."""
    case, i = item
    stock, transform = _cases[case]
    start = time.process_time()
    return len(transform(_stock[stock][i])), time.process_time() - start


def _answer(made: list[tuple[int, float]], seconds: float) -> dict[str, float]:
    cpu_seconds = sum(cpu for _, cpu in made)
    views = made[0][0]
    return {
        "num_images": len(made),
        "views": views,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
    }


if __name__ == "__main__":
    sys.exit(main())
