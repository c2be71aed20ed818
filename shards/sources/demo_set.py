"""The built-in demo set: rendered shapes, labelled, the same on every machine, nothing to download.

`demo` (or `demo:train`) has 6,000 images and `demo:test` 1,200 others of the same twelve classes.
Each image is drawn from its own number in the worker that packs it (`render.py`) and stored as
JPEG, so that the demo takes the way through the decoders that photographs take.
"""

import io
from functools import partial

import numpy as np
from PIL import Image

from shards.errors import UsageError
from shards.sources.raw import RawSample, fingerprint_of
from shards.sources.render import CLASSES, Factors, factors_of, render_image

NUM_IMAGES = {"train": 6000, "test": 1200}
# Raise it with every change of pixels: sets packed before then count as another source.
DEMO_VERSION = 2
_JPEG_QUALITY = 90


class DemoSource:
    """One split of the demo set; the class of image `i` is `i % 12`."""

    kind = "demo"
    classes = CLASSES
    names = None
    stores_names = False
    block_sizes = None
    notes = ()

    def __init__(self, split: str = "train") -> None:
        if split not in NUM_IMAGES:
            raise UsageError(f"the demo set's splits are {', '.join(NUM_IMAGES)}, got {split!r}")
        self._split = split
        self._seed = list(NUM_IMAGES).index(split)
        self.labels = np.arange(NUM_IMAGES[split], dtype=np.int32) % len(CLASSES)
        self.fingerprint = fingerprint_of(["demo", split, str(DEMO_VERSION)])

    def __len__(self) -> int:
        return NUM_IMAGES[self._split]

    def __getitem__(self, number: int) -> RawSample:
        label = int(self.labels[number])
        draw = partial(draw_jpeg, label, self._seed_of(number))
        return RawSample(name=f"demo:{self._split} image {number}", label=label, data=draw)

    def factors(self, number: int) -> Factors:
        """What the image was drawn with beside its class; a millisecond or two."""
        return factors_of(int(self.labels[number]), self._seed_of(number))

    def _seed_of(self, number: int) -> tuple[int, int, int]:
        return DEMO_VERSION, self._seed, number


def draw_jpeg(label: int, seed: tuple[int, ...]) -> bytes:
    """A rendered image as JPEG bytes (4:4:4, so that thin coloured lines stay thin)."""
    buffer = io.BytesIO()
    image = Image.fromarray(render_image(label, seed))
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()
