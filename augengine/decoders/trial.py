"""Times a GPU's engine and its CUDA kernels on images of the set that is to be decoded.

The one place that joins the decoder's settings (tuning.py) with a GPU and with data.
"""

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from augengine.decoders.create_decoder import DECODERS, create_decoder
from augengine.decoders.decoder import Decoder
from augengine.decoders.sniff import JPEG_START, is_plain
from augengine.decoders.tuning import WorkSplit, best_split
from shards.index import ShardIndex
from shards.reader import ShardReader
from shards.terminal.counted import counted

NUM_IMAGES = 256  # evenly spaced over the set: a batch as a run decodes it
NUM_CALLS = 5  # of which the median counts

Found = tuple[WorkSplit, str]


def create_tuned_decoder(
    name: str,
    device: torch.device,
    num_threads: int,
    index: ShardIndex,
    load: float | None = None,
    agree: Callable[[Callable[[], Found]], Found] | None = None,
) -> tuple[Decoder, str | None]:
    """A decoder as `create_decoder` makes it, split for these images where the GPU decodes.

    Args:
        name: "auto" or a decoder's name.
        device: where the pixels are wanted.
        num_threads: host threads.
        index: the set; some of its images are decoded to measure.
        load: the hardware engine's share; None: all or none, measured.
        agree: calls what measures on one process, and gives its result to all; None: here.

    Returns:
        The decoder, and a sentence on its split, or None where there is nothing to split.
    """
    decoder = create_decoder(name, device, num_threads)
    if decoder.device.type != "cuda" or (name not in DECODERS and name != "auto"):
        return decoder, None  # one's own splits its work itself
    if load is not None:
        split, why = WorkSplit(load), "as data.decoder_load says"
    else:

        def try_both() -> Found:
            return _try_both(name, device, num_threads, index, decoder)

        split, why = try_both() if agree is None else agree(try_both)
    return create_decoder(name, device, num_threads, split), f"decoder: {split}, {why}"


def _try_both(
    name: str, device: torch.device, num_threads: int, index: ShardIndex, decoder: Decoder
) -> Found:
    jpegs = sample_jpegs(index, decoder)
    if not jpegs:
        return WorkSplit(), "since there is no JPEG among the images tried"

    def measure(split: WorkSplit) -> float:
        return images_per_s(create_decoder(name, device, num_threads, split), jpegs)

    return best_split(measure), f"by a trial on {counted(len(jpegs), 'image')} of the set"


def sample_jpegs(index: ShardIndex, decoder: Decoder) -> list[bytes]:
    """Encoded JPEGs of the set that decode well, at most NUM_IMAGES."""
    ids = index.spread(NUM_IMAGES)
    order = index.order(0)
    if order.window_shards is not None:  # of remote data: all from a few shards
        ids = order(np.arange(len(ids)))[1]
    with ShardReader(index) as reader:
        found = reader.read(ids)
    # What is damaged would be timed as a failure, which takes far longer than an image.
    jpegs = [
        item
        for item in found
        if isinstance(item, bytes) and item.startswith(JPEG_START) and is_plain(item)
    ]
    images = decoder(jpegs)
    pairs = zip(jpegs, images, strict=True)
    return [jpeg for jpeg, image in pairs if isinstance(image, torch.Tensor)]


def images_per_s(decoder: Decoder, encoded: Sequence[bytes]) -> float:
    """Images a second of one decoder, decoding all of them at once."""
    seconds = []
    for _ in range(1 + NUM_CALLS):
        start = time.perf_counter()
        decoder(encoded)
        if decoder.device.type == "cuda":
            torch.cuda.synchronize(decoder.device)
        seconds.append(time.perf_counter() - start)
    # The first call builds the decoder.
    return len(encoded) / statistics.median(seconds[1:])
