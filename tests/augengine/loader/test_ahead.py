import gc
import threading
import time
import weakref

import pytest

from augengine.loader.ahead import Ahead
from shards.errors import UsageError

TIMEOUT_S = 10


def maker(make):
    return lambda: make


@pytest.mark.parametrize("num_workers", [1, 4])
def test_items_come_in_order_whatever_their_speed(num_workers):
    """Items are delivered by number although later ones are often made first."""

    def make(number):
        time.sleep(0.004 * (number % 3 == 0))
        return number

    ahead = Ahead(maker(make), num_workers=num_workers, prefetch=2, num_items=40)
    assert list(ahead) == list(range(40))
    with pytest.raises(StopIteration):
        next(ahead)
    ahead.close()


def test_never_more_than_the_bound_ahead():
    """No item beyond delivered + num_workers + prefetch is begun while the consumer rests."""
    begun = []
    ahead = Ahead(maker(lambda number: begun.append(number)), num_workers=2, prefetch=3)
    time.sleep(0.1)
    assert sorted(begun) == [0, 1, 2, 3, 4]
    next(ahead)
    time.sleep(0.1)
    assert sorted(begun) == [0, 1, 2, 3, 4, 5]
    ahead.close()


@pytest.mark.parametrize("num_workers", [1, 4])
def test_failure_comes_after_the_items_before_it_and_stays(num_workers):
    """Items before the first failing number arrive; then its own exception, again and again."""

    def make(number):
        time.sleep(0.01 * (number == 5))  # number 6 fails first on several threads
        if number >= 5:
            raise OSError(f"item {number}")
        return number

    ahead = Ahead(maker(make), num_workers=num_workers, prefetch=4)
    assert [next(ahead) for _ in range(5)] == [0, 1, 2, 3, 4]
    for _ in range(2):
        with pytest.raises(OSError, match="item 5"):
            next(ahead)
    ahead.close()


def test_a_maker_that_cannot_be_made_fails_the_next_item():
    """An exception while a thread sets itself up reaches the consumer."""

    def new_maker():
        raise MemoryError("no device")

    ahead = Ahead(new_maker, num_workers=2, prefetch=1)
    with pytest.raises(MemoryError, match="no device"):
        next(ahead)
    ahead.close()


def test_every_thread_has_its_own_maker():
    """`new_maker` runs once on each thread, so a maker need not be thread-safe."""
    barrier = threading.Barrier(3)
    seen = set()

    def new_maker():
        own = threading.get_ident()
        barrier.wait(TIMEOUT_S)  # all three threads are here at once
        return lambda number: seen.add((own, threading.get_ident()))

    ahead = Ahead(new_maker, num_workers=3, prefetch=2, num_items=30)
    list(ahead)
    assert all(own == here for own, here in seen)
    ahead.close()


def test_close_ends_the_threads_and_forbids_more():
    """After `close` no thread lives, nothing is begun, and `next` says why; twice is once."""
    ahead = Ahead(maker(lambda number: number), num_workers=3, prefetch=2)
    next(ahead)
    threads = ahead._threads
    ahead.close()
    ahead.close()
    assert not any(thread.is_alive() for thread in threads)
    with pytest.raises(RuntimeError, match="closed"):
        next(ahead)


def test_close_wakes_a_blocked_consumer():
    """A consumer waiting in `next` on another thread gets RuntimeError, not an endless wait."""
    may_end = threading.Event()
    ahead = Ahead(maker(lambda number: may_end.wait(TIMEOUT_S)), num_workers=1, prefetch=1)
    caught = []

    def consume():
        try:
            next(ahead)
        except RuntimeError as error:
            caught.append(error)

    consumer = threading.Thread(target=consume)
    consumer.start()
    closer = threading.Thread(target=ahead.close)
    closer.start()
    consumer.join(TIMEOUT_S)
    assert len(caught) == 1
    assert closer.is_alive()  # waits for the item being made
    may_end.set()
    closer.join(TIMEOUT_S)
    assert not closer.is_alive()


def test_a_forgotten_loader_is_collected_and_stops_its_threads():
    """Dropping the last reference ends the threads: they hold no reference to the loader."""
    ahead = Ahead(maker(lambda number: number), num_workers=2, prefetch=2)
    threads, alive = ahead._threads, weakref.ref(ahead)
    del ahead
    gc.collect()
    assert alive() is None
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("settings", [(0, 2), (1, -1)])
def test_counts_are_checked(settings):
    """No worker, or a negative prefetch, is a usage error."""
    with pytest.raises(UsageError, match="at least"):
        Ahead(maker(lambda number: number), num_workers=settings[0], prefetch=settings[1])
