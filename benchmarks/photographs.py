"""What the benchmarks augment: 500x375 JPEGs cut from photographs, and 32-pixel cuts of them.

The photographs are scikit-image's and scikit-learn's, so nothing is downloaded.
"""

import io
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from shards.packing.pack import pack
from shards.sources.detect import open_source

NUM_PHOTOGRAPHS, NUM_TINY = 16, 256
HEIGHT_PX, WIDTH_PX, QUALITY = 375, 500, 90
WINDOW_SHARE = (0.6, 1.0)  # side of a cut over the largest that fits


def photograph_jpegs(num_images: int, seed: int = 0) -> list[bytes]:
    """JPEGs of 500x375, cut at random from six photographs; the same for the same seed."""
    photographs, rng = _photographs(), np.random.default_rng(seed)
    return [_cut(photographs[i % len(photographs)], rng) for i in range(num_images)]


def pack_photographs(num_images: int, out: Path, seed: int = 0) -> None:
    """Shards of such JPEGs, stored as they are."""
    with tempfile.TemporaryDirectory() as folder:
        for i, data in enumerate(photograph_jpegs(num_images, seed)):
            (Path(folder) / f"{i:05d}.jpg").write_bytes(data)
        pack(open_source(folder), out)


class Stock:
    """Photographs as JPEG bytes and as images, and tiny images cut from them."""

    def __init__(self, folder: Path) -> None:
        """Make the stock and leave it in the folder for the peers."""
        self.encoded = photograph_jpegs(NUM_PHOTOGRAPHS)
        pictures = [Image.open(io.BytesIO(data)).convert("RGB") for data in self.encoded]
        tiny = np.concatenate([_tiles(picture) for picture in pictures])[:NUM_TINY]
        self.images = [torch.from_numpy(np.array(picture)) for picture in pictures]
        self.tiny = list(torch.from_numpy(tiny))
        for i, data in enumerate(self.encoded):
            (folder / f"{i:03d}.jpg").write_bytes(data)
        np.save(folder / "tiny.npy", tiny)


def _photographs() -> list[np.ndarray]:
    """Six colour photographs, [H, W, 3] uint8."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    return [
        *(data.astronaut(), data.chelsea(), data.coffee(), data.rocket()),
        *load_sample_images().images,
    ]


def _cut(photograph: np.ndarray, rng: np.random.Generator) -> bytes:
    full_height, full_width = photograph.shape[:2]
    scale = min(full_width / WIDTH_PX, full_height / HEIGHT_PX) * rng.uniform(*WINDOW_SHARE)
    width, height = int(WIDTH_PX * scale), int(HEIGHT_PX * scale)
    left, top = rng.integers(full_width - width + 1), rng.integers(full_height - height + 1)
    window = Image.fromarray(photograph[top : top + height, left : left + width])
    buffer = io.BytesIO()
    picture = window.resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.LANCZOS)
    picture.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _tiles(picture: Image.Image) -> np.ndarray:
    """[20, 32, 32, 3] uint8: the picture made small and cut in squares of 32 pixels."""
    small = np.array(picture.resize((160, 128), Image.Resampling.BICUBIC))
    return small.reshape(4, 32, 5, 32, 3).swapaxes(1, 2).reshape(-1, 32, 32, 3)
