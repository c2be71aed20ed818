"""The cache keeps its bound, shares files between processes, and never takes one from a reader."""

import contextlib
import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shards.errors import DataError
from shards.remotecache import shard_cache
from shards.remotecache.shard_cache import ShardCache

SIZE = 1000
ROOT = Path(__file__).parents[3]
# Reads 30 files of 1000 bytes in its own order, with room for four; says how often it fetched.
PROCESS = """
import os, random, sys, time
from pathlib import Path
from shards.remotecache.shard_cache import ShardCache
cache, fetched = ShardCache(Path(sys.argv[1]), 4000, 30), 0
def fill(part):
    global fetched
    fetched += 1
    time.sleep(0.002)
    os.pwrite(part, bytes([number]) * 1000, 0)
numbers = list(range(30)) * 5
random.Random(int(sys.argv[2])).shuffle(numbers)
for number in numbers:
    descriptor = cache.fetch(str(number), 1000, fill)
    assert os.pread(descriptor, 1000, 0) == bytes([number]) * 1000
    os.close(descriptor)
print(fetched)
"""


def new_cache(folder: Path, max_bytes: int = 3 * SIZE) -> ShardCache:
    return ShardCache(folder, max_bytes, stalled_s=30)


def filler(number: int) -> Callable[[int], None]:
    def fill(part: int) -> None:
        os.pwrite(part, bytes([number]) * SIZE, 0)

    return fill


def forbidden(part: int) -> None:
    raise AssertionError("it is here already")


def get(cache: ShardCache, number: int, fill: Callable[[int], None] | None = None) -> bytes:
    descriptor = cache.fetch(str(number), SIZE, fill or filler(number))
    assert descriptor is not None
    try:
        return os.pread(descriptor, SIZE, 0)
    finally:
        os.close(descriptor)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"lock"}


def age(folder: Path, *numbers: int) -> None:
    """Make files look read longer ago, the first the longest."""
    for place, number in enumerate(numbers):
        os.utime(folder / str(number), (1000 + place, 1000 + place))


def test_a_file_is_fetched_once(tmp_path: Path) -> None:
    """Then it is there, also for another cache of the same folder."""
    assert get(new_cache(tmp_path), 7) == bytes([7]) * SIZE
    assert get(new_cache(tmp_path), 7, forbidden) == bytes([7]) * SIZE
    assert names(tmp_path) == {"7"}


def test_those_read_longest_ago_go_first(tmp_path: Path) -> None:
    """Room is made for exactly what comes; a read counts, not only the fetch."""
    cache = new_cache(tmp_path)
    for number in range(3):
        get(cache, number)
    age(tmp_path, 0, 1, 2)
    get(new_cache(tmp_path), 0, forbidden)  # as another process reads it
    get(cache, 3)
    assert names(tmp_path) == {"0", "2", "3"}


def test_an_open_file_outlives_its_name(tmp_path: Path) -> None:
    """Who reads what is removed reads on."""
    cache = new_cache(tmp_path, SIZE)
    descriptor = cache.fetch("1", SIZE, filler(1))
    assert descriptor is not None
    get(cache, 2)
    assert names(tmp_path) == {"2"}
    assert os.pread(descriptor, SIZE, 0) == bytes([1]) * SIZE
    os.close(descriptor)


def test_the_bound_holds_at_every_moment(tmp_path: Path) -> None:
    """Files that are being fetched count in full, by eight threads with room for three files."""
    cache, most, stop = new_cache(tmp_path), [0], threading.Event()

    def watch() -> None:
        while not stop.is_set():
            with cache._locked():
                most[0] = max(most[0], sum(size for _, size, _ in cache._files()))

    def slow(number: int) -> bytes:
        def fill(part: int) -> None:
            time.sleep(0.002)
            filler(number)(part)

        return get(cache, number, fill)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(8) as pool:
        numbers = list(range(10)) * 12
        found = list(pool.map(slow, numbers))
    stop.set()
    watcher.join()
    assert found == [bytes([number]) * SIZE for number in numbers]
    assert 2 * SIZE < most[0] <= 3 * SIZE


def test_processes_share_a_cache(tmp_path: Path) -> None:
    """Two at once, with room for less than they read: right bytes, in bounds, nothing left over."""
    command = [sys.executable, "-c", PROCESS, str(tmp_path)]
    running = [
        subprocess.Popen([*command, str(seed)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for seed in range(2)
    ]
    fetched = [int(process.communicate(timeout=60)[0]) for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert 30 <= sum(fetched) < 300
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4000
    assert not [name for name in names(tmp_path) if name.endswith(".part")]


def test_one_waits_for_the_other(tmp_path: Path) -> None:
    """Two that want the same file fetch it once; without waiting, one goes on without."""
    cache, begun = new_cache(tmp_path), threading.Event()

    def slow(part: int) -> None:
        begun.set()
        time.sleep(0.1)
        filler(1)(part)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(get, cache, 1, slow)
        assert begun.wait(10)
        other = new_cache(tmp_path)
        assert other.fetch("1", SIZE, forbidden, wait=False) is None
        assert get(other, 1, forbidden) == first.result()


def test_what_a_dead_process_left_is_removed(tmp_path: Path) -> None:
    """A part that nobody has locked neither blocks its file nor takes room."""
    cache = new_cache(tmp_path, SIZE)
    (tmp_path / "1.part").write_bytes(bytes(SIZE))
    (tmp_path / "2.part").write_bytes(bytes(SIZE))
    assert get(cache, 1) == bytes([1]) * SIZE
    assert names(tmp_path) == {"1"}


def test_a_stalled_owner_is_not_waited_for(tmp_path: Path) -> None:
    """A part that does not grow is named after its time."""
    owner, begun, end = new_cache(tmp_path), threading.Event(), threading.Event()

    def stall(part: int) -> None:
        begun.set()
        end.wait(10)
        filler(1)(part)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(get, owner, 1, stall)
        assert begun.wait(10)
        with pytest.raises(OSError, match="another process stalls"):
            ShardCache(tmp_path, SIZE, stalled_s=0.1).fetch("1", SIZE, forbidden)
        end.set()


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    """It comes out, and the next try begins anew."""

    def fail(part: int) -> None:
        os.pwrite(part, b"half", 0)
        raise OSError("gone")

    cache = new_cache(tmp_path)
    with pytest.raises(OSError, match="gone"):
        get(cache, 1, fail)
    assert names(tmp_path) == set()
    assert get(cache, 1) == bytes([1]) * SIZE


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """One line says which setting."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match=r"file.*data\.remote_cache"):
        new_cache(tmp_path / "file")


def test_the_default_bound_follows_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of what is free or cached already, so that it does not shrink as it fills."""
    get(new_cache(tmp_path), 1)
    for free, bound in ((9 * SIZE, 5 * SIZE), (1 << 50, 64 << 30)):
        usage = type("Usage", (), {"free": free})
        monkeypatch.setattr(
            "shards.remotecache.shard_cache.shutil.disk_usage", lambda folder, u=usage: u
        )
        assert ShardCache(tmp_path, None, 1).max_bytes == bound


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("call", range(1, 7))
@pytest.mark.parametrize(
    "step", ["open", "ftruncate", "rename", "unlink", "utime", "scandir", "mkdir", "flock"]
)
def test_a_step_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, call: int
) -> None:
    """Whichever step: no descriptor, no lock, no part; the next try need not wait for anything."""
    cache = ShardCache(tmp_path, SIZE, stalled_s=1.0)
    get(cache, 1)  # has to go when room is made
    before, calls = descriptors(), [0]
    module = shard_cache.fcntl if step == "flock" else os
    real = getattr(module, step)

    def fail(*args: object, **more: object) -> object:
        calls[0] += 1
        if calls[0] == call:
            raise OSError(errno.EIO, "Input/output error")
        return real(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(module, step, fail)
        with contextlib.suppress(OSError, DataError):
            get(ShardCache(tmp_path, SIZE, stalled_s=1.0), 2)
    assert descriptors() == before
    assert not [name for name in names(tmp_path) if name.endswith(".part")]
    start = time.monotonic()
    assert get(cache, 2) == bytes([2]) * SIZE
    assert time.monotonic() - start < 0.5


def test_files_of_another_user_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder that several share, what may not be opened or removed counts and stays."""
    cache = new_cache(tmp_path, 3 * SIZE)
    get(cache, 1)
    (tmp_path / "2.part").write_bytes(bytes(SIZE))
    kept = {str(tmp_path / "1"), str(tmp_path / "2.part")}
    real_open, real_unlink = os.open, os.unlink

    def open_own(path: object, *args: int, **more: int) -> int:
        if str(path) == str(tmp_path / "2.part"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real_open(path, *args, **more)  # type: ignore[arg-type]

    def unlink_own(path: object) -> None:
        if str(path) in kept:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        real_unlink(path)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", open_own)
    monkeypatch.setattr(os, "unlink", unlink_own)
    assert get(cache, 3) == bytes([3]) * SIZE
    assert get(cache, 4) == bytes([4]) * SIZE
    assert names(tmp_path) == {"1", "2.part", "4"}
