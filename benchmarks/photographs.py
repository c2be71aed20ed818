"""What the CPU benchmarks augment: photographs cut to 500x375 JPEGs, and 32-pixel cuts of them.

The photographs are scikit-image's and scikit-learn's, so nothing is downloaded.
"""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

NUM_PHOTOGRAPHS, NUM_TINY = 16, 256
HEIGHT, WIDTH = 375, 500


class Stock:
    """Photographs as JPEG bytes and as images, and tiny images cut from them."""

    def __init__(self, encoded: list[bytes], tiny: np.ndarray) -> None:
        self.encoded = encoded
        pictures = [Image.open(io.BytesIO(data)).convert("RGB") for data in encoded]
        self.images = [torch.from_numpy(np.array(picture)) for picture in pictures]
        self.tiny = list(torch.from_numpy(tiny))

    @staticmethod
    def make(folder: Path) -> "Stock":
        """Cut the stock and leave it in the folder for the peers."""
        from skimage import data
        from sklearn.datasets import load_sample_images

        photographs = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
        photographs += load_sample_images().images
        rng = np.random.default_rng(0)
        encoded, tiny = [], []
        for i in range(NUM_PHOTOGRAPHS):
            photograph = Image.fromarray(photographs[i % len(photographs)])
            side = rng.uniform(0.7, 1.0) * min(photograph.width / WIDTH, photograph.height / HEIGHT)
            width, height = int(WIDTH * side), int(HEIGHT * side)
            left = int(rng.integers(0, photograph.width - width + 1))
            top = int(rng.integers(0, photograph.height - height + 1))
            cut = photograph.crop((left, top, left + width, top + height))
            picture = cut.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=90)
            encoded.append(buffer.getvalue())
            (folder / f"{i:03d}.jpg").write_bytes(encoded[-1])
            small = np.array(picture.resize((160, 128), Image.Resampling.BICUBIC))
            tiny += [small[y : y + 32, x : x + 32] for y in range(0, 128, 32)
                     for x in range(0, 128, 32)]  # fmt: skip
        np.save(folder / "tiny.npy", np.array(tiny[:NUM_TINY]))
        return Stock(encoded, np.array(tiny[:NUM_TINY]))
