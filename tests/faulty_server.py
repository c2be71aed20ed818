"""Serves a folder, or another server, over HTTP on this machine as badly as asked for.

To see what a run does on a bad network: requests fail, stall, break off, or all share a bandwidth.
Tests and benchmarks use `FaultyServer`; `python tests/faulty_server.py DIR --fail 0.2` runs one.
"""

import argparse
import http.client
import http.server
import os
import random
import re
import socket
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import unquote

from shards.errors import UsageError, run_command
from shards.terminal.commandline import CommandParser

_PIECE_BYTES = 64 << 10
_NOT_FORWARDED = ("host", "connection", "transfer-encoding", "content-length", "date", "server")


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong, as shares of the requests, and how fast what goes right is."""

    fail: float = 0.0  # status 503, or the connection is reset, in turns
    stall: float = 0.0  # nothing comes for `stall_s`
    cut: float = 0.0  # the body ends early
    stall_s: float = 30.0
    bytes_per_s: float | None = None  # over all connections together
    ranges: bool = True  # without: whole files only


class FaultyServer:
    """A server on a free port of the loopback, in threads; use it in a `with` block."""

    def __init__(
        self, source: Path | str, faults: Faults | None = None, seed: int = 0, port: int = 0
    ) -> None:
        """Begin to serve.

        Args:
            source: a folder, or host:port of the server behind this one.
            faults: may be replaced at any time.
            seed: of which requests they hit.
            port: to listen at; 0 takes a free one.
        """
        self.source = source
        self.faults = faults or Faults()
        self.counts: Counter[str] = Counter()  # requests, and those that each fault hit
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._free_at = 0.0
        self._stopped = threading.Event()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = _Server(("127.0.0.1", port), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        """Address of the folder, or endpoint of the server behind."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop; requests that stall end."""
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> "FaultyServer":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def is_stopped(self) -> bool:
        """Whether `close` was called: connections that are still open get no answer."""
        return self._stopped.is_set()

    def fault(self, path: str) -> str:
        """What happens to a request: "", fail, reset, stall or cut."""
        with self._lock:
            self.counts["requests"] += 1
            drawn = self._random.random()
            for name in ("fail", "stall", "cut"):
                drawn -= getattr(self.faults, name)
                if drawn < 0:
                    if name == "fail" and self.counts["fail"] > self.counts["reset"]:
                        name = "reset"
                    self.counts[name] += 1
                    return name
        return ""

    def wait(self, num_bytes: int) -> None:
        """Until so many bytes may be sent."""
        if self.faults.bytes_per_s is None:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(now, self._free_at) + num_bytes / self.faults.bytes_per_s
            pause_s = self._free_at - now
        self._stopped.wait(pause_s)

    def stall(self) -> None:
        """As long as the faults say, or until the server stops."""
        self._stopped.wait(self.faults.stall_s)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    # With the usual 5, some of many connections at once wait a second for their second try.
    request_queue_size = 128


class _Handler(http.server.BaseHTTPRequestHandler):
    owner: FaultyServer
    protocol_version = "HTTP/1.1"
    # Or a body would wait 40 ms for the acknowledgement of its headers.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        if "Authorization" in self.headers:
            self.owner.counts["authorized"] += 1
        fault = self.owner.fault(self.path)
        if fault == "reset" or self.owner.is_stopped:
            # A close with data unread, and no time to linger, is a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.close_connection = True
            self.connection.close()
            return
        if fault == "stall":
            self.owner.stall()
        if fault in ("fail", "stall"):
            return self._send(503, {}, b"")
        source = self.owner.source
        found = self._from_folder(source) if isinstance(source, Path) else self._from_server(source)
        self._send(*found, cut=fault == "cut")

    def _from_folder(self, folder: Path) -> tuple[int, dict[str, str], bytes]:
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        try:
            with open(folder / unquote(self.path).lstrip("/"), "rb") as file:
                size = file.seek(0, 2)
                tag = {"ETag": f'"{os.fstat(file.fileno()).st_mtime_ns:x}-{size:x}"'}
                if asked is None or not self.owner.faults.ranges:
                    file.seek(0)
                    return 200, tag, file.read()
                start, end = file.seek(int(asked[1])), min(int(asked[2]) + 1, size)
                if start >= size:
                    return 416, {}, b""
                where = tag | {"Content-Range": f"bytes {start}-{end - 1}/{size}"}
                return 206, where, file.read(end - start)
        except OSError:
            return 404, {}, b""

    def _from_server(self, place: str) -> tuple[int, dict[str, str], bytes]:
        behind = http.client.HTTPConnection(place)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _NOT_FORWARDED}
        behind.request(self.command, self.path, headers=headers)
        answer = behind.getresponse()
        body = answer.read()
        behind.close()
        kept = {k: v for k, v in answer.getheaders() if k.lower() not in _NOT_FORWARDED}
        return answer.status, kept, body

    def _send(
        self, status: int, headers: dict[str, str], body: bytes, *, cut: bool = False
    ) -> None:
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            if cut:
                body, self.close_connection = body[: len(body) // 2], True
            for start in range(0, len(body), _PIECE_BYTES):
                piece = body[start : start + _PIECE_BYTES]
                self.owner.wait(len(piece))
                self.wfile.write(piece)
        except OSError:  # the one who asked has gone
            self.close_connection = True


def main(argv: list[str] | None = None) -> int:
    """Serve until Ctrl-C; returns the exit code."""
    return run_command(lambda: _serve(_parser().parse_args(argv)))


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="faulty_server.py",
        description=__doc__,
        epilog="example: python tests/faulty_server.py sets/train --fail 0.2 --stall 0.01, then "
        "python -m trainer.run --data http://127.0.0.1:8000",
    )
    add = parser.add_argument
    add("source", metavar="DIR", help="folder of shards, or host:port of the server behind")
    for name, what in (("fail", "fail"), ("stall", "stall"), ("cut", "break off")):
        add(f"--{name}", type=float, default=0.0, metavar="SHARE", help=f"requests that {what}")
    add("--stall-s", type=float, default=30.0, metavar="S", help="default: %(default)s")
    add("--bytes-per-s", type=float, metavar="N", help="over all connections (default: no limit)")
    add("--no-ranges", dest="ranges", action="store_false", help="send whole files only")
    add("--port", type=int, default=8000, metavar="N", help="default: %(default)s")
    return parser


def _serve(options: argparse.Namespace) -> int:
    folder = Path(options.source)
    source = folder if folder.is_dir() else options.source
    if isinstance(source, str) and not re.fullmatch(r"[\w.-]+:\d+", options.source):
        raise UsageError(
            f"a folder is served, or another server, got {options.source}; give a folder that "
            f"exists or host:port"
        )
    faults = Faults(**{field.name: getattr(options, field.name) for field in fields(Faults)})
    try:
        server = FaultyServer(source, faults, port=options.port)
    except OSError as error:
        reason = f"--port is free, got {options.port} ({error.strerror}); try another"
        raise UsageError(reason) from None
    with server:
        sys.stderr.write(f"serving {options.source} at {server.url} until Ctrl-C\n")
        threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
