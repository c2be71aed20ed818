"""A request that may succeed is asked again, one that cannot is not, and every wait has an end."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from shards.remote.failure import is_permanent, reason_of
from shards.remote.retry import MAX_REQUESTS, GaveUpError, Limits, Retries, WrongBytesError

QUICK = Limits(total_s=0.4, request_s=0.1, first_pause_s=0.001, last_pause_s=0.01)


class Flaky:
    """A request that fails with these errors in turn, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.num_attempts = 0

    async def __call__(self) -> str:
        self.num_attempts += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


async def never() -> None:
    await asyncio.sleep(60)


def ask(request: Callable[[], Awaitable[Any]], limits: Limits = QUICK) -> Any:
    return asyncio.run(Retries(limits)(request))


def status(number: int) -> Exception:
    error = Exception(f"https://key:secret@host?signature=secret {number}")
    error.status = number  # type: ignore[attr-defined]
    return error


def test_passing_failures_are_asked_again() -> None:
    """Resets, 5xx and slow-downs pass."""
    request = Flaky(ConnectionResetError(), status(500), status(503), status(429), OSError())
    assert ask(request) == "answer"
    assert request.num_attempts == 6


@pytest.mark.parametrize(
    "error", [FileNotFoundError(), PermissionError(), status(404), status(403), status(416)]
)
def test_what_cannot_succeed_is_asked_once(error: Exception) -> None:
    """The reason names the status and nothing else."""
    request = Flaky(error, error)
    with pytest.raises(OSError, match=r"\(4\d\d\)$") as caught:
        ask(request)
    assert request.num_attempts == 1
    assert not isinstance(caught.value, GaveUpError)
    assert "secret" not in str(caught.value)


def test_wrong_bytes_are_asked_for_once_more() -> None:
    """A second time may be right; more would not help."""
    assert ask(Flaky(WrongBytesError("short"))) == "answer"
    request = Flaky(*[WrongBytesError("short")] * 9)
    with pytest.raises(WrongBytesError):
        ask(request)
    assert request.num_attempts == 2


def test_a_stalled_request_ends_in_its_time() -> None:
    """Each attempt is cut, all together are given up, and the reason says so."""
    start = time.monotonic()
    with pytest.raises(GaveUpError, match=r"no whole answer within .* attempts in 0\.4 s"):
        ask(never)
    assert time.monotonic() - start < 30  # of 60


def test_many_in_a_queue_are_given_up_together() -> None:
    """Those that waited behind others in vain do not begin their own time."""

    begun: set[int] = set()

    async def all_of_them() -> list[object]:
        retries = Retries(QUICK)

        def request(number: int) -> Awaitable[None]:
            begun.add(number)
            return never()

        return await asyncio.gather(
            *[retries(partial(request, i)) for i in range(8 * MAX_REQUESTS)],
            return_exceptions=True,
        )

    found = asyncio.run(all_of_them())
    assert all(isinstance(error, GaveUpError) for error in found)
    # The first give up when a pause would be too long: a little early, so that others begin.
    assert len(begun) <= 3 * MAX_REQUESTS


def test_pauses_are_drawn_below_a_doubling_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full jitter: from zero up, uniformly, to a bound that doubles to the last one."""
    drawn: list[float] = []

    async def sleep(pause_s: float) -> None:
        drawn.append(pause_s)

    limits = Limits(total_s=60, request_s=1, first_pause_s=0.1, last_pause_s=2)
    for _ in range(200):
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "sleep", sleep)
            ask(Flaky(*[OSError()] * 8), limits)
    for attempt in range(8):
        bound = min(2, 0.1 * 2**attempt)
        pauses = drawn[attempt::8]
        assert max(pauses) <= bound
        assert min(pauses) < 0.1 * bound
        assert 0.4 * bound < sum(pauses) / len(pauses) < 0.6 * bound


def test_statuses_behind_other_errors_count() -> None:
    """fsspec calls every failure to look at a file a missing file; S3's are in the cause."""
    hidden = FileNotFoundError("https://key:secret@host")
    hidden.__cause__ = status(503)
    assert not is_permanent(hidden)
    translated = OSError("secret")
    translated.__cause__ = SimpleError({"Code": "SlowDown"}, 503)
    assert not is_permanent(translated)
    assert reason_of(translated, 1) == "HTTP status SlowDown (503)"
    no_credentials = type("NoCredentialsError", (Exception,), {})("secret")
    assert is_permanent(no_credentials)
    assert reason_of(no_credentials, 1) == "NoCredentialsError"
    # aiohttp's parser numbers a body that broke off as if a server had said 400.
    broken = Exception()
    broken.__cause__ = type("ContentLengthError", (Exception,), {"code": 400})()
    assert not is_permanent(broken)


class SimpleError(Exception):
    """As botocore's."""

    def __init__(self, error: dict[str, str], http_status: int) -> None:
        super().__init__("secret")
        self.response = {"Error": error, "ResponseMetadata": {"HTTPStatusCode": http_status}}


def test_a_full_disk_is_not_the_networks_fault() -> None:
    """Writing again would fail again."""
    assert is_permanent(OSError(28, "No space left on device"))
