"""Random numbers without a generator: a number is a pure function of what it is for.

Philox4x32-10, a keyed bijection of 128-bit counters, evaluated where a number is needed. The key is
the seed and the counter spells (sample id, epoch, view, field, block), so batch size, workers,
ranks and backend cannot change a draw, and nothing has to be saved to resume.

    key     = seed (64 bits)
    counter = id (64) | epoch (32) | view (12) field (8) block (12), low bits last

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, and the known answers
of its library Random123.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from shards.errors import UsageError

WORDS_PER_BLOCK = 4
NUM_VIEW_KEYS = 1 << 12
NUM_FIELDS = 1 << 8
NUM_BLOCKS = 1 << 12

_MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], dtype=np.uint64)
_WEYL = (0x9E3779B9, 0xBB67AE85)  # added to the key after each round
_ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def uniforms(
    seed: int,
    epochs: np.ndarray,  # [B] int - 0 to 2^32 - 1
    ids: np.ndarray,  # [B] int - 0 to 2^63 - 1
    views: np.ndarray,  # [V] int - key of each view, below NUM_VIEW_KEYS
    field: int,  # what the numbers are for, below NUM_FIELDS
    count: int,  # numbers for each image and view
) -> np.ndarray:
    """[B, V, count] float64 in [0, 1), multiples of 2^-32.

    Asking for fewer of the numbers, views or images gives the same values for those that remain.
    Raises UsageError when the seed is not a non-negative 64-bit integer.
    """
    return uniform_fields(seed, epochs, ids, views, {field: count})[field]


def uniform_fields(
    seed: int,
    epochs: np.ndarray,  # [B] int - as for `uniforms`
    ids: np.ndarray,  # [B] int
    views: np.ndarray,  # [V] int
    counts: Mapping[int, int],  # per field, how many numbers for each image and view
) -> dict[int, np.ndarray]:
    """Per field what `uniforms` gives, [B, V, count]: all in one pass, which costs far less.

    Counters are few and numpy's calls many, so what a pass costs hardly depends on the fields.
    """
    blocks = {field: -(-count // WORDS_PER_BLOCK) for field, count in counts.items()}
    _check_ranges(epochs, ids, views, list(blocks), list(blocks.values()))
    ids = np.asarray(ids, dtype=np.uint64)[:, None, None]
    epochs = np.asarray(epochs, dtype=np.uint64)[:, None, None]
    views = np.asarray(views, dtype=np.uint64)[:, None]
    places = [(field << 12) + block for field, number in blocks.items() for block in range(number)]
    purpose = (views << np.uint64(20)) | np.array(places, dtype=np.uint64)
    words = philox((ids & _LOW, ids >> _HALF, epochs, purpose[None]), _split_seed(seed))
    # Words of a block are neighbours, so that number n is word n % 4 of block n // 4.
    numbers = np.stack(words, axis=-1) * 2.0**-32
    numbers = numbers.reshape(len(ids), len(views), len(places) * WORDS_PER_BLOCK)
    starts = WORDS_PER_BLOCK * np.cumsum([0, *blocks.values()])
    return {
        field: numbers[..., start : start + count]
        for (field, count), start in zip(counts.items(), starts.tolist(), strict=False)
    }


def philox(
    counter: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],  # uint64 below 2^32, broadcast
    key: tuple[int, int],  # below 2^32
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Philox4x32-10 of each counter: four arrays of 32-bit words, held in uint64."""
    # 32-bit words sit in uint64 because numpy has no 32 x 32 -> 64 bit product. Arrays broadcast as
    # they mix, so the first round costs as much as its inputs and not as their product.
    c0, c1, c2, c3 = counter
    for turn in range(_ROUNDS):
        k0, k1 = (np.uint64((k + turn * w) & 0xFFFFFFFF) for k, w in zip(key, _WEYL, strict=True))
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c2 = (product1 >> _HALF) ^ c1 ^ k0, (product0 >> _HALF) ^ c3 ^ k1
        c1, c3 = product1 & _LOW, product0 & _LOW
    return c0, c1, c2, c3


def _split_seed(seed: int) -> tuple[int, int]:
    if not 0 <= seed < 1 << 64:
        raise UsageError(f"a seed is an integer from 0 to 2^64 - 1, got {seed}")
    return seed & 0xFFFFFFFF, seed >> 32


def _check_ranges(
    epochs: np.ndarray,
    ids: np.ndarray,
    views: np.ndarray,
    fields: Sequence[int],
    blocks: Sequence[int],
) -> None:
    """Two different purposes must never share a counter, so nothing may spill over its bits."""
    for name, values, end in (
        ("sample ids", ids, 1 << 63),
        ("epochs", epochs, 1 << 32),
        ("view keys", views, NUM_VIEW_KEYS),
        ("fields", fields, NUM_FIELDS),
        ("blocks", blocks, NUM_BLOCKS),
    ):
        # Before the conversion to uint64, which would turn -1 into 2^64 - 1 without a word.
        values = np.asarray(values)
        if values.size and not (values.min() >= 0 and int(values.max()) < end):
            raise ValueError(f"{name} must be in [0, {end}), got {values.min()} to {values.max()}")
