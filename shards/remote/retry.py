"""Requests that may fail, asked again: exponential back-off with full jitter, and a stated end.

Full jitter is from M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: ranks
that failed together do not come back together.
"""

import asyncio
import errno
import itertools
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from shards.remote.failure import is_permanent, reason_of

Result = TypeVar("Result")
Request = Callable[[], Awaitable[Result]]
# Enough to hide the latency of small reads, few enough for a slow link.
MAX_REQUESTS = 16


@dataclass(frozen=True, slots=True)
class Limits:
    """Waiting times in seconds."""

    total_s: float = 60.0  # a read that has failed for so long is given up
    request_s: float = 20.0  # a request whose answer is not whole by then has failed
    first_pause_s: float = 0.1  # upper bound of the first pause, it doubles ...
    last_pause_s: float = 8.0  # ... up to this


class GaveUpError(OSError):
    """Nothing but passing failures for the whole time."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.ETIMEDOUT, reason)


class WrongBytesError(OSError):
    """An answer that is not what was asked for; it may come right once, not for ever."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EIO, reason)


class Retries:
    """Sends requests, a bounded number at once, on one event loop."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._slots = asyncio.Semaphore(MAX_REQUESTS)
        self._random = random.Random()
        self._last_answer = 0.0

    async def __call__(self, request: Request[Result], *, more_s: float = 0.0) -> Result:
        """The answer to a request.

        Args:
            request: makes and awaits one attempt.
            more_s: time that a long answer has on top of both limits.

        Raises:
            GaveUpError: it failed for `total_s`, or nothing at all was answered while it queued.
            OSError: it can never succeed, or its bytes were wrong twice; the text says why.
        """
        total_s = self._limits.total_s + more_s
        queued = time.monotonic()
        async with self._slots:
            # Behind others that wait in vain, each waiting its own time would add up to hours.
            if time.monotonic() - max(queued, self._last_answer) > total_s:
                raise GaveUpError("nothing was answered")
            end = time.monotonic() + total_s
            was_wrong = False
            for attempt in itertools.count():
                limit_s = min(self._limits.request_s + more_s, end - time.monotonic())
                try:
                    answer = await asyncio.wait_for(request(), limit_s)
                except WrongBytesError:
                    if was_wrong:
                        raise
                    was_wrong = True
                    continue
                except Exception as error:
                    reason = reason_of(error, limit_s)
                    if is_permanent(error):
                        raise OSError(errno.EIO, reason) from error
                else:
                    self._last_answer = time.monotonic()
                    return answer
                pause_s = self._random.uniform(0, self._longest_pause_s(attempt))
                if time.monotonic() + pause_s >= end:
                    raise GaveUpError(f"{reason}, after {attempt + 1} attempts in {total_s:g} s")
                await asyncio.sleep(pause_s)
        raise AssertionError  # the count has no end

    def _longest_pause_s(self, attempt: int) -> float:
        return min(self._limits.last_pause_s, self._limits.first_pause_s * 2.0 ** min(attempt, 30))
