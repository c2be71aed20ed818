"""An S3 server on this machine, with one empty bucket that is called bucket."""

import logging
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem


@contextmanager
def s3_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """boto3's client for it; commands find the server and its keys in the environment."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        for name, value in (
            ("AWS_ACCESS_KEY_ID", "AKIANOBODY"),
            ("AWS_SECRET_ACCESS_KEY", "nothing"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL", url),
        ):
            monkeypatch.setenv(name, value)
        S3FileSystem.clear_instance_cache()
        # What it was told before lives as long as this process.
        urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST"))
        client = boto3.client("s3", endpoint_url=url)
        client.create_bucket(Bucket="bucket")
        yield client
    finally:
        server.stop()


def objects(client: Any, below: str) -> dict[str, bytes]:
    """What lies below a key of the bucket, by its name there."""
    listing = client.list_objects_v2(Bucket="bucket", Prefix=f"{below}/").get("Contents", [])
    return {
        entry["Key"].removeprefix(f"{below}/"): client.get_object(
            Bucket="bucket", Key=entry["Key"]
        )["Body"].read()
        for entry in listing
    }
