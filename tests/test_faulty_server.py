"""The bad server is as bad as asked for, so that what passes against it has passed something."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import IncompleteRead, RemoteDisconnected
from pathlib import Path

import pytest
from faulty_server import Faults, FaultyServer, main

ROOT = Path(__file__).parents[1]
BODY = bytes(range(256)) * 400


@pytest.fixture
def server(tmp_path: Path, serve: Callable[..., FaultyServer]) -> FaultyServer:
    """A folder with one file."""
    (tmp_path / "file").write_bytes(BODY)
    return serve(tmp_path)


def get(server: FaultyServer, headers: dict[str, str] | None = None, name: str = "file") -> bytes:
    request = urllib.request.Request(f"{server.url}/{name}", headers=headers or {})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


def outcomes(server: FaultyServer, count: int) -> list[str]:
    found = []
    for _ in range(count):
        try:
            found.append("whole" if get(server) == BODY else "wrong")
        except urllib.error.HTTPError as error:
            found.append(str(error.code))
        except (ConnectionResetError, RemoteDisconnected, urllib.error.URLError):
            found.append("reset")
        except IncompleteRead:
            found.append("cut")
    return found


def test_files_and_parts_of_them(server: FaultyServer) -> None:
    """Without faults; and whole files only, where ranges are off."""
    part = {"Range": "bytes=1000-1009"}
    assert get(server) == BODY
    assert get(server, part) == BODY[1000:1010]
    assert get(server, {"Range": f"bytes={len(BODY) - 2}-{len(BODY) + 9}"}) == BODY[-2:]
    server.faults = Faults(ranges=False)
    assert get(server, part) == BODY
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(server, name="none")


def test_each_fault_comes_as_often_as_asked_for(server: FaultyServer) -> None:
    """Failures are half errors and half resets; the rest is whole."""
    server.faults = Faults(fail=0.4, cut=0.2)
    found = outcomes(server, 100)
    counts = {name: found.count(name) for name in ("whole", "503", "reset", "cut")}
    assert sum(counts.values()) == 100
    assert abs(counts["503"] - counts["reset"]) <= 1
    assert 25 <= counts["503"] + counts["reset"] <= 55
    assert 10 <= counts["cut"] <= 32
    assert server.counts["requests"] == 100


def test_a_stall_keeps_still(server: FaultyServer) -> None:
    """For its time, then there is an error."""
    server.faults = Faults(stall=1.0, stall_s=0.3)
    start = time.monotonic()
    assert outcomes(server, 1) == ["503"]
    assert time.monotonic() - start >= 0.3


def test_a_bandwidth_is_shared_out(server: FaultyServer) -> None:
    """No faster than allowed."""
    server.faults = Faults(bytes_per_s=4 * len(BODY))
    start = time.monotonic()
    assert outcomes(server, 3) == ["whole"] * 3
    assert time.monotonic() - start >= 0.7


def test_it_stands_before_another_server(
    server: FaultyServer, serve: Callable[..., FaultyServer]
) -> None:
    """With the headers of the one who asks."""
    front = serve(server.url.removeprefix("http://"))
    assert get(front, {"Range": "bytes=5-6"}) == BODY[5:7]
    assert server.counts["requests"] == front.counts["requests"] == 1


def test_wrong_use_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is not there, a port that is taken."""
    assert main([str(tmp_path / "none")]) == 2
    assert "give a folder that exists or host:port" in capsys.readouterr().err
    with FaultyServer(tmp_path) as taken:
        assert main([str(tmp_path), "--port", taken.url.rpartition(":")[2]]) == 2
    assert "--port is free" in capsys.readouterr().err


def test_the_command_serves(tmp_path: Path) -> None:
    """And says where."""
    (tmp_path / "file").write_bytes(BODY)
    command = [sys.executable, str(ROOT / "tests" / "faulty_server.py"), str(tmp_path), "--port=0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        url = process.stderr.readline().split()[-3]
        with urllib.request.urlopen(f"{url}/file", timeout=10) as answer:
            assert answer.read() == BODY
        process.terminate()
