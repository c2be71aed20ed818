"""What the stories share: photographs, and the settings of a small run."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

# An encoder that a core trains in seconds.
SMALL = "--arch resnet10 backbone.width=0.125 run.device=cpu run.log_every=1 eval.k=3"


def photo(seed: int, label: int, kind: str = "JPEG") -> bytes:
    """A smooth picture of 40 to 80 pixels a side; the class is told by its tint."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 160, (5, 5, 3), dtype=np.uint8)
    coarse[..., label % 3] += 90
    width, height = rng.integers(40, 81, 2).tolist()
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(buffer, kind)
    return buffer.getvalue()


def write(path: Path, data: bytes) -> None:
    """The file and the folders that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
