"""Threads that fetch what will be read next; a newer list replaces what has not been begun.

The threads end with `close`, with the owner of what they call, or with the interpreter.
"""

import threading
import weakref
from collections.abc import Callable, Sequence

_NUM_THREADS = 2


class Prefetch:
    """Calls a method for each item of the newest list, in its order."""

    def __init__(self, fetch: Callable[[int], None]) -> None:
        """Start nothing yet.

        Args:
            fetch: a method; its object is not kept alive. It deals with its errors.
        """
        self._fetch = weakref.WeakMethod(fetch)
        self._changed = threading.Condition()
        self._items: list[int] = []
        self._busy: set[int] = set()
        self._started = self._closed = False

    def replace(self, items: Sequence[int]) -> None:
        """From now on these; what is being fetched is finished."""
        with self._changed:
            self._items = [item for item in items if item not in self._busy]
            self._changed.notify_all()
            if self._started or self._closed or not self._items:
                return
            self._started = True
        for number in range(_NUM_THREADS):
            threading.Thread(target=self._work, name=f"shards-{number}", daemon=True).start()

    def close(self) -> None:
        """Begin nothing more; does not wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _work(self) -> None:
        while (item := self._next()) is not None:
            fetch = self._fetch()
            try:
                if fetch is not None:
                    fetch(item)
            finally:
                # Held while waiting, it would keep its object alive.
                del fetch
                with self._changed:
                    self._busy.discard(item)

    def _next(self) -> int | None:
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed)
            if self._closed:
                return None
            item = self._items.pop(0)
            self._busy.add(item)
            return item
