"""Encodes samples in worker processes and gives the results back in the order asked for.

The caller asks for sample numbers in its shuffled order, worker processes load and `transcode`
them, and the order of the results does not depend on how many there are. Success: every number
yields once. Failure: a bad image yields a `Refused`; a dead worker raises. Cancel: closing the
iterator drops what is in flight and waits for the workers; they also end when we are killed.
"""

import itertools
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from shards.errors import DataError
from shards.packing.transcode import ImageOptions, StoredImage, transcode
from shards.packing.transcode_mask import with_mask
from shards.processes.workers import WorkerPool
from shards.samples.image_header import ImageError
from shards.samples.quarantine import Refused
from shards.sources.raw import RawSample, Source

# Samples that travel to a worker together: enough to hide the cost of the trip for tiny images.
_CHUNK_SAMPLES = 32
_CHUNKS_AHEAD_PER_WORKER = 3


@dataclass(frozen=True, slots=True)
class Encoded:
    """A sample that was tried: its image as it is to be stored, or why not."""

    number: int
    name: str
    label: int
    result: StoredImage | Refused


def encode_in_order(
    source: Source, numbers: Iterator[int], options: ImageOptions, workers: int
) -> Generator[Encoded, None, None]:
    """Yield the samples of `source` with these numbers, encoded, in the given order.

    Args:
        source: where samples come from; read in this process, so that it need not be sent.
        numbers: which, in which order.
        options: see `transcode`.
        workers: processes; with 1 everything happens in this one.

    Raises:
        DataError: a worker process died.
    """
    chunks = _chunked(source, numbers)
    if workers == 1:
        for chunk in chunks:
            yield from _joined(chunk, _encode_chunk([s for _, s in chunk], options))
        return
    pool = WorkerPool(workers)
    pending: deque[tuple[_Chunk, Future[list[StoredImage | str]]]] = deque()
    try:
        while True:
            for chunk in itertools.islice(
                chunks, workers * _CHUNKS_AHEAD_PER_WORKER - len(pending)
            ):
                samples = [sample for _, sample in chunk]
                pending.append((chunk, pool.submit(_encode_chunk, samples, options)))
            if not pending:
                return
            chunk, future = pending.popleft()
            yield from _joined(chunk, future.result())
    except BrokenProcessPool:
        raise DataError(
            f"worker processes must live until the end, one of {workers} was killed (out of "
            f"memory?); give fewer with --workers, the same command continues"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_Chunk = list[tuple[int, RawSample]]


def _chunked(source: Source, numbers: Iterator[int]) -> Iterator[_Chunk]:
    while chunk := [(n, source[n]) for n in itertools.islice(numbers, _CHUNK_SAMPLES)]:
        yield chunk


def _joined(chunk: _Chunk, results: Sequence[StoredImage | str]) -> Iterator[Encoded]:
    for (number, sample), result in zip(chunk, results, strict=True):
        if isinstance(result, str):
            result = Refused(sample.name, result)
        yield Encoded(number, sample.name, sample.label, result)


def _encode_chunk(samples: Sequence[RawSample], options: ImageOptions) -> list[StoredImage | str]:
    """Runs in a worker: the stored image or the reason why there is none, for each sample."""
    return [_encode(sample, options) for sample in samples]


def _encode(sample: RawSample, options: ImageOptions) -> StoredImage | str:
    try:
        image = transcode(sample.load(), options)
        mask = sample.load_mask()
        return image if mask is None else with_mask(image, mask, options)
    except ImageError as error:
        return str(error)
    except OSError as error:
        return f"the file cannot be read ({error.strerror or error})"
    except MemoryError:
        return "not enough memory to decode it"
