"""A web server and an S3 server on the loopback, each a process of its own, for remote.py."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3

ROOT = Path(__file__).parents[2]


@contextmanager
def serving(source: str, bytes_per_s: float | None = None) -> Iterator[str]:
    """Address of a web server in a process of its own."""
    port = _free_port()
    command = [sys.executable, str(ROOT / "tests" / "faulty_server.py"), source]
    command += ["--port", str(port)]
    if bytes_per_s is not None:
        command += ["--bytes-per-s", str(bytes_per_s)]
    with _process(command, port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def s3_serving(shards: Path) -> Iterator[str]:
    """host:port of an S3 server in a process of its own that has the shards."""
    port = _free_port()
    keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    os.environ.update(keys, AWS_DEFAULT_REGION="us-east-1")
    os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
    with _process([sys.executable, "-m", "moto.server", "-p", str(port)], port):
        client = boto3.client("s3")
        client.create_bucket(Bucket="bucket")
        for path in shards.iterdir():
            client.put_object(Bucket="bucket", Key=f"train/{path.name}", Body=path.read_bytes())
        yield f"127.0.0.1:{port}"


@contextmanager
def _process(command: list[str], port: int) -> Iterator[None]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    try:
        end = time.monotonic() + 60
        while socket.socket().connect_ex(("127.0.0.1", port)):
            if time.monotonic() > end or process.poll() is not None:
                raise RuntimeError(f"no server came up: {' '.join(command)}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
