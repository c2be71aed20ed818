import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from small_loader import CPU, loader_of, overwrite, stream_ids, views_by_sample

from augengine.backends.create_backend import create_backend
from augengine.caches.sample_cache import EncodedCache, ImageCache, create_cache
from augengine.caches.slots import Slots
from augengine.decoders.create_decoder import create_decoder
from augengine.devices.free_memory import _free_on_linux, free_bytes
from augengine.loader.image_source import ImageSource
from augengine.loader.meter import Meter
from augengine.loader.view_loader import ViewLoader
from augengine.views import Views
from shards.errors import DataError, UsageError
from shards.index import ShardIndex
from shards.reader import ShardReader

ALL = 1 << 30  # bytes: more than any set here needs
NUM_EPOCHS = 3


@pytest.fixture
def index(shard_folder: Path) -> ShardIndex:
    return ShardIndex.open(shard_folder)


def cache_of(kind: str, index: ShardIndex, max_bytes: int = ALL) -> EncodedCache | ImageCache:
    """The host's cache, or the GPU's on the CPU."""
    if kind == "encoded":
        return EncodedCache(index.records["size"], max_bytes)
    return ImageCache(index.sizes(np.arange(len(index))), max_bytes, CPU)


def sizes_of(kind: str, index: ShardIndex) -> np.ndarray:
    """What each sample takes of such a cache's memory."""
    if kind == "encoded":
        return index.records["size"].astype(int)
    pixels = index.sizes(np.arange(len(index))).prod(axis=1)
    return -(-3 * pixels // 256) * 256


def epochs_of(index: ShardIndex, **settings: object) -> tuple[list[Views], ViewLoader]:
    """Batches of NUM_EPOCHS epochs and the loader they came from."""
    with loader_of(index, **settings) as loader:
        return [next(loader) for _ in range(NUM_EPOCHS * len(index) // 8)], loader


def num_images(loader: ViewLoader) -> tuple[int, int]:
    """How many were read, how many were decoded."""
    stages = loader.meter.snapshot().stages
    return stages["read"].images, stages["decode"].images


@pytest.mark.parametrize("share", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("kind", ["encoded", "image"])
@pytest.mark.parametrize("num_workers", [1, 4])
def test_views_are_bit_equal_with_and_without(
    index: ShardIndex, kind: str, share: float, num_workers: int
) -> None:
    """Three epochs, all, some or nothing of the set kept, one worker or four."""
    expected = views_by_sample(epochs_of(index)[0])
    cache = cache_of(kind, index, int(share * sizes_of(kind, index).sum()))
    batches, _ = epochs_of(index, cache=cache, num_workers=num_workers)
    assert views_by_sample(batches) == expected


@pytest.mark.parametrize("kind", ["encoded", "image"])
def test_what_is_kept_is_not_read_again(index: ShardIndex, kind: str) -> None:
    """A second loader with a full cache reads nothing, and decodes nothing if images are kept."""
    cache = cache_of(kind, index)
    settings = {"cache": cache, "num_workers": 1, "prefetch": 0}
    batches, first = epochs_of(index, **settings)
    # One batch more than was taken may be under way.
    assert len(index) <= num_images(first)[0] <= len(index) + 8
    again, second = epochs_of(index, **settings)
    assert num_images(second)[0] == 0
    assert (num_images(second)[1] > 0) == (kind == "encoded")
    assert views_by_sample(again) == views_by_sample(batches)


@pytest.mark.parametrize("kind", ["encoded", "image"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_what_fits_is_the_first_ids(index: ShardIndex, kind: str, share: float) -> None:
    """Whatever came first and on any thread: the ids whose sizes add up to the bound, all others
    never, and the memory is that of these ids.
    """
    sizes = sizes_of(kind, index)
    bound = int(share * sizes.sum())
    expected = np.cumsum(sizes) <= bound
    assert 0 < expected.sum() < len(index)
    for seed in (0, 1):
        cache = cache_of(kind, index, bound)
        epochs_of(index, cache=cache, seed=seed, num_workers=3)
        kept = [item is not None for item in cache.get(np.arange(len(index)))]
        assert kept == expected.tolist()
        assert len(cache._slots) == expected.sum()
        assert cache._slots.num_bytes == sizes[expected].sum() <= bound


@pytest.mark.parametrize("kind", ["encoded", "image"])
@pytest.mark.parametrize("verify", [False, True])
def test_bad_samples_are_bad_every_time(new_shards: object, kind: str, verify: bool) -> None:
    """Neither damaged bytes nor a failed decode is kept: named and counted as without a cache."""
    index = ShardIndex.open(new_shards())
    ids = stream_ids(index, 20)
    overwrite(index, int(ids[5]))
    if verify:  # still decodes, but its crc32 is wrong
        overwrite(index, int(ids[12]), b"\x55", offset=index.entry(int(ids[12])).size - 3)
    settings = {"bad_budget": 1.0, "verify": verify}
    plain, without = epochs_of(index, **settings)
    cache = cache_of(kind, index)
    cached, within = epochs_of(index, cache=cache, **settings)
    assert views_by_sample(cached) == views_by_sample(plain)
    assert within.bad_samples == without.bad_samples
    assert len(within.bad_samples) == 1 + verify
    counts = [loader.meter.snapshot().bad_samples for loader in (within, without)]
    assert counts[0] == counts[1] >= NUM_EPOCHS - 1
    bad = {sample.id for sample in within.bad_samples}
    assert {id for id in range(len(index)) if cache.get(np.array([id]))[0] is None} == bad


@pytest.mark.parametrize("kind", ["encoded", "image"])
def test_the_budget_stops_at_the_same_batch(new_shards: object, kind: str) -> None:
    """Two bad samples of 37 stop the run in the third batch, cached or not."""
    index = ShardIndex.open(new_shards())
    ids = stream_ids(index, 24)
    overwrite(index, int(ids[1]))
    overwrite(index, int(ids[17]))
    with loader_of(index, cache=cache_of(kind, index)) as loader:
        next(loader)
        next(loader)
        with pytest.raises(DataError, match=rf"{ids[1]:08d}.*{ids[17]:08d}"):
            next(loader)


@pytest.mark.parametrize("name", ["fused", "dali", "kornia"])
def test_no_backend_writes_to_a_cached_image(index: ShardIndex, name: str) -> None:
    """After three epochs every kept pixel is what the decoder gave."""
    if name == "dali":
        pytest.importorskip("nvidia.dali")
    cache = cache_of("image", index)
    backend = create_backend(name, CPU, num_threads=2)
    batches, _ = epochs_of(index, cache=cache, backend=backend)
    ids = np.arange(len(index))
    with ShardReader(index) as reader:
        decoder = create_decoder("pillow", CPU)
        fresh = ImageSource(index, reader, decoder, Meter()).load(ids)
    for kept, image in zip(cache.get(ids), fresh, strict=True):
        assert torch.equal(kept, image)
    # The same once more from the cache alone: no view depends on who decoded.
    again, _ = epochs_of(index, cache=cache, backend=backend)
    assert views_by_sample(again) == views_by_sample(batches)


def test_images_of_a_cache_on_another_device_are_moved(index: ShardIndex) -> None:
    """Each image that is elsewhere: the first of a batch does not speak for the others."""
    cache = cache_of("image", index, int(sizes_of("image", index).sum()) // 2)
    moved = []

    class OnMeta:
        """Stands for a GPU, and notes where its images lie."""

        name, device, dtype = "meta", torch.device("meta"), torch.float32

        def __call__(self, images, plan):
            moved.append({image.device.type for image in images})
            return tuple(torch.empty(len(views), len(images), 3, 4, 4) for views in plan.groups)

    cache._image = lambda id: torch.empty(*cache._sizes[id], 3, dtype=torch.uint8, device="meta")
    epochs_of(index, cache=cache, backend=OnMeta())
    assert moved
    assert all(kinds == {"meta"} for kinds in moved)


def test_one_thread_fills_a_slot_and_no_one_reads_it_before() -> None:
    """Eight threads, a thousand items: each claimed once, and what is filled is whole."""
    ids = np.arange(1000)
    slots = Slots(np.full(1000, 64), ALL)
    claims, torn = [], []
    start = threading.Barrier(8)

    def work(seed: int) -> None:
        start.wait()
        for some in np.random.default_rng(seed).permutation(ids).reshape(-1, 10):
            for id in some[slots.filled(some)]:
                if not (slots.slot(id) == id % 251).all():
                    torn.append(int(id))
            rows = slots.claim(some)
            for row in rows:
                slots.slot(some[row])[:32] = some[row] % 251
                slots.slot(some[row])[32:] = some[row] % 251
            slots.publish(some[rows])
            claims.extend(some[rows].tolist())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert sorted(claims) == ids.tolist()
    assert not torn
    assert slots.filled(ids).all()


def test_a_claimed_slot_is_not_filled() -> None:
    """Between claim and publish nobody reads it, and nobody else gets it; twins share one."""
    slots = Slots(np.array([4, 4, 4]), 8)
    assert slots.claim(np.array([1, 1, 2])) == [0]  # 2 does not fit
    assert slots.claim(np.array([1, 0])) == [1]
    assert slots.filled(np.array([0, 1, 2])).tolist() == [False] * 3
    slots.publish([1])
    assert slots.filled(np.array([0, 1, 2])).tolist() == [False, True, False]


def test_slots_start_where_kernels_want_them() -> None:
    """Every image of a GPU begins at a multiple of 256 bytes and overlaps none."""
    cache = ImageCache(np.array([[1, 1], [3, 5], [20, 30], [1, 2]]), ALL, CPU)
    begin = [cache._slots.slot(id).storage_offset() for id in range(4)]
    assert begin == [0, 256, 512, 512 + 2048]


def test_too_large_an_image_has_no_slot() -> None:
    """What is refused by its size is never decoded, so nothing is kept free for it."""
    cache = ImageCache(np.array([[10, 10], [65_000, 65_000], [10, 10]]), 1024, CPU)
    assert len(cache._slots) == 3
    assert cache._slots.num_bytes == 1024
    assert cache._slots.claim(np.array([0, 1, 2])) == [0, 2]


def test_it_says_what_fits(index: ShardIndex) -> None:
    """In one line: all of the set, or how much of it and what becomes of the rest."""
    assert cache_of("encoded", index).note.startswith("cache: all 37 encoded images in host memory")
    sizes = sizes_of("image", index)
    note = cache_of("image", index, int(sizes[:9].sum())).note
    assert note.startswith("cache: the first 9 of 37 decoded images on cpu (24.3%; ")
    assert "read and decoded every epoch" in note
    assert "\n" not in note


def test_caches_by_name(index: ShardIndex) -> None:
    """`none` keeps nothing, `host` has half of the free memory, `gpu` needs a GPU."""
    assert create_cache("none", index, CPU).note is None
    assert create_cache("none", index, CPU).get(np.arange(3)) == [None] * 3
    assert "all 37" in create_cache("host", index, CPU).note
    assert "first 0 of 37" in create_cache("host", index, CPU, max_bytes=1).note
    with pytest.raises(UsageError, match=r"got device cpu; use data.cache=host"):
        create_cache("gpu", index, CPU)
    with pytest.raises(UsageError, match="got 'disk'"):
        create_cache("disk", index, CPU)


def test_more_memory_than_there_is_is_a_usage_error() -> None:
    """Known at the start, in one line, with the key to change."""
    with pytest.raises(UsageError, match=r"data\.cache_bytes"):
        Slots(np.array([1 << 60]), 1 << 61)


def test_free_memory_is_the_containers(tmp_path: Path) -> None:
    """The smaller of what the machine has and what is left of the limit, files read not counted."""

    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    assert _free_on_linux(tmp_path) is None
    write("proc/meminfo", "MemTotal: 100 kB\nMemAvailable:     60 kB\n")
    assert _free_on_linux(tmp_path) == 60 * 1024
    group = "sys/fs/cgroup"
    write(f"{group}/memory.max", "max\n")
    write(f"{group}/memory.current", "30000\n")
    write(f"{group}/memory.stat", "anon 5000\ninactive_file 10000\n")
    assert _free_on_linux(tmp_path) == 60 * 1024
    write(f"{group}/memory.max", "50000\n")
    assert _free_on_linux(tmp_path) == 30_000
    assert free_bytes(CPU) > 0


@pytest.mark.gpu
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_images_stay_on_the_gpu(index: ShardIndex, share: float) -> None:
    """Views from images kept on the GPU equal those of the images they were copied from."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    cuda = torch.device("cuda", 0)
    max_bytes = int(share * sizes_of("image", index).sum())
    cache = create_cache("gpu", index, cuda, max_bytes)
    settings = {
        "backend": create_backend("fused", cuda),
        "decoder": create_decoder("pillow", CPU),  # the same pixels every time
        "num_workers": 3,
    }
    plain, _ = epochs_of(index, **settings)
    cached, loader = epochs_of(index, cache=cache, **settings)
    for a, b in zip(plain, cached, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a.crops, b.crops, strict=True))
    kept = [item for item in cache.get(np.arange(37)) if item is not None]
    assert all(image.is_cuda for image in kept)
    assert num_images(loader)[1] < NUM_EPOCHS * 37
