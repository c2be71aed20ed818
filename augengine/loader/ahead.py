"""Makes item 0, 1, 2, ... on threads, ahead of a consumer who gets them in order.

The pipeline's only concurrency. Every item depends on its number alone, so the number of threads
changes when an item is ready, never what it is.

The contract. Code that differs is the bug.

Success. `next()` returns item 0, 1, 2, ..., each once; after the last it raises StopIteration.
    At most `num_workers + prefetch` items beyond the last one delivered are being made or wait.
Failure. When making item n raises, the items before n are still delivered; then `next()` raises
    that very exception, and again each time it is called. No item is begun once n has failed; those
    already begun are finished and dropped. Which failure is seen does not depend on timing: it is
    the one with the lowest number.
Cancel. `close()`, from any thread and any number of times: no item is begun after it, the ones
    being made are finished and dropped, and it returns when every thread has ended. `interrupt` is
    called first, for makers that may wait for long. A consumer
    blocked in `next()`, and every later call, gets RuntimeError: an endless stream that ends in
    silence would hide a mistake. Losing the last reference closes too, and so does the
    interpreter's end.
Stall. When the next item is not there `stall_s` seconds after it was asked for, `next()` raises
    Stalled, and again each time. Nothing can end a thread from outside, so `close()` does not wait
    for threads that stall; `any_stalled()` says that some are left.
"""

import threading
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

from shards.errors import UsageError

Item = TypeVar("Item")
MakerOf = Callable[[], Callable[[int], Item]]
_STALLED = weakref.WeakSet[threading.Thread]()  # that nobody waits for


class Stalled(RuntimeError):
    """No item was ready in time."""


class Ahead(Generic[Item]):
    """An ordered iterator whose items are made by `num_workers` threads.

    `new_maker` is called once on each thread and gives the function from a number to its item, so a
    maker may own what is not thread-safe.
    """

    def __init__(
        self,
        new_maker: MakerOf[Item],
        *,
        num_workers: int,
        prefetch: int,  # finished items kept ready, beyond the one each worker is making
        num_items: int | None = None,  # None: endless
        interrupt: Callable[[], None] | None = None,  # makes items that wait fail soon
        stall_s: float | None = None,  # longest wait for an item; None: for ever
    ) -> None:
        if num_workers < 1 or prefetch < 0:
            raise UsageError(
                "num_workers is at least 1 and prefetch at least 0, "
                f"got {num_workers} and {prefetch}"
            )
        self._shared = _Shared[Item](num_workers + prefetch, num_items, stall_s)
        # The threads know `_shared`, not `self`: a forgotten loader is collected, and stops them.
        self._threads = [
            threading.Thread(
                target=_work,
                args=(self._shared, new_maker),
                name=f"views-{i}",
                daemon=True,
            )
            for i in range(num_workers)
        ]
        self._finalizer = weakref.finalize(self, _stop, self._shared, self._threads, interrupt)
        for thread in self._threads:
            thread.start()

    def __iter__(self) -> "Ahead[Item]":
        return self

    def __next__(self) -> Item:
        try:
            return self._shared.take()
        except Stalled:
            _STALLED.update(self._threads)
            raise

    def close(self) -> None:
        """Stop the threads and wait for them; see the contract."""
        self._finalizer()


def any_stalled() -> bool:
    """Whether threads that stalled are still alive.

    They are daemons, but the pools they use are not: Python would wait for those at its end.
    """
    return any(thread.is_alive() for thread in _STALLED)


class _Shared(Generic[Item]):
    """State that the threads and the consumer share, under one lock."""

    def __init__(self, ahead: int, end: int | None, stall_s: float | None) -> None:
        self._changed = threading.Condition()
        self._ahead = ahead
        self._end = end
        self._stall_s = stall_s
        self.stalled = False
        self._next_number = 0  # to be begun
        self._delivered = 0
        self._ready: dict[int, Item] = {}
        self._failures: dict[int, BaseException] = {}
        self._closed = False

    def begin(self) -> int | None:
        """A number to make, when there is room for it; None when the thread should end."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_over() or self._has_room())
            if self._is_over():
                return None
            self._next_number += 1
            return self._next_number - 1

    def put(self, number: int, item: Item) -> None:
        with self._changed:
            if not self._closed:
                self._ready[number] = item
            self._changed.notify_all()

    def fail(self, number: int | None, error: BaseException) -> None:
        """Item `number` failed; None: a maker could not be made, so the next item cannot be."""
        with self._changed:
            self._failures.setdefault(self._next_number if number is None else number, error)
            self._changed.notify_all()

    def take(self) -> Item:
        with self._changed:
            if self.stalled or not self._changed.wait_for(self._can_take, self._stall_s):
                self.stalled = True
                raise Stalled(f"no item within {self._stall_s:g} s")
            if self._closed:
                raise RuntimeError("the loader is closed; make another from its cursor")
            if self._delivered in self._ready:
                self._delivered += 1
                self._changed.notify_all()
                return self._ready.pop(self._delivered - 1)
            if self._delivered == self._end:
                raise StopIteration
            raise self._failures[min(self._failures)]

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._ready.clear()
            self._changed.notify_all()

    def _has_room(self) -> bool:
        return self._next_number < self._delivered + self._ahead

    def _is_over(self) -> bool:
        return self._closed or bool(self._failures) or self._next_number == self._end

    def _can_take(self) -> bool:
        failed = bool(self._failures) and min(self._failures) <= self._delivered
        is_end = self._delivered == self._end
        return self._closed or failed or is_end or self._delivered in self._ready


def _work(shared: _Shared[Item], new_maker: MakerOf[Item]) -> None:
    number = None
    try:
        make = new_maker()
        while (number := shared.begin()) is not None:
            shared.put(number, make(number))
    except BaseException as error:  # the consumer decides what any failure means
        shared.fail(number, error)


def _stop(
    shared: _Shared[Item], threads: list[threading.Thread], interrupt: Callable[[], None] | None
) -> None:
    shared.close()
    if interrupt is not None:
        interrupt()
    # A worker's own garbage pass may collect the loader, even while it holds the lock: never wait
    # then.
    if threading.current_thread() not in threads and not shared.stalled:
        for thread in threads:
            thread.join()
