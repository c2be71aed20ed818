"""The images of the benchmarks: 500x375 JPEGs cut from photographs, and 32-pixel cuts of them.

The photographs are scikit-image's and scikit-learn's, so nothing is downloaded.
"""

import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from shards.packing.pack import DEFAULT_SHARD_BYTES, pack
from shards.sources.detect import open_source

TILES_A_PICTURE = 20
SIZE_PX, QUALITY = (375, 500), 90  # height, width
WINDOW_SHARE = (0.6, 1.0)  # side of a cut over the largest that fits


def photograph_jpegs(num_images: int, size_px: tuple[int, int] = SIZE_PX) -> list[bytes]:
    """JPEGs, cut at random from six photographs; always the same.

    The photographs have 300 to 512 rows: larger JPEGs are smoother than a camera's.
    """
    photographs, rng = _photographs(), np.random.default_rng(0)
    return [_cut(photographs[i % len(photographs)], rng, size_px) for i in range(num_images)]


def pack_photographs(
    num_images: int,
    out: Path,
    size_px: tuple[int, int] = SIZE_PX,
    shard_size_bytes: int = DEFAULT_SHARD_BYTES,
    workers: int | None = None,  # None: as many as the machine has cores
) -> None:
    """Shards of such JPEGs, stored as they are."""
    with tempfile.TemporaryDirectory() as folder:
        for i, data in enumerate(photograph_jpegs(num_images, size_px)):
            (Path(folder) / f"{i:05d}.jpg").write_bytes(data)
        pack(open_source(folder), out, shard_size_bytes=shard_size_bytes, workers=workers)


def pack_tiles(num_images: int, out: Path) -> None:
    """Shards of PNGs of 32x32, cut from such JPEGs made small."""
    pictures = [
        Image.open(io.BytesIO(data)).convert("RGB")
        for data in photograph_jpegs(-(-num_images // TILES_A_PICTURE))
    ]
    tiles = np.concatenate([_tiles(picture) for picture in pictures])[:num_images]
    with tempfile.TemporaryDirectory() as folder:
        for i, tile in enumerate(tiles):
            Image.fromarray(tile).save(Path(folder) / f"{i:05d}.png")
        pack(open_source(folder), out)


def _photographs() -> list[np.ndarray]:
    """Six colour photographs, [H, W, 3] uint8."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    return [
        *(data.astronaut(), data.chelsea(), data.coffee(), data.rocket()),
        *load_sample_images().images,
    ]


def _cut(photograph: np.ndarray, rng: np.random.Generator, size_px: tuple[int, int]) -> bytes:
    full_height, full_width = photograph.shape[:2]
    scale = min(full_width / size_px[1], full_height / size_px[0]) * rng.uniform(*WINDOW_SHARE)
    width, height = int(size_px[1] * scale), int(size_px[0] * scale)
    left, top = rng.integers(full_width - width + 1), rng.integers(full_height - height + 1)
    window = Image.fromarray(photograph[top : top + height, left : left + width])
    buffer = io.BytesIO()
    picture = window.resize((size_px[1], size_px[0]), Image.Resampling.LANCZOS)
    picture.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _tiles(picture: Image.Image) -> np.ndarray:
    """[20, 32, 32, 3] uint8: the picture made small and cut in squares of 32 pixels."""
    small = np.array(picture.resize((160, 128), Image.Resampling.BICUBIC))
    return small.reshape(4, 32, 5, 32, 3).swapaxes(1, 2).reshape(-1, 32, 32, 3)
