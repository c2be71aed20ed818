"""Shards in a bucket, over the S3 protocol, from a server that fails, stalls and breaks off."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from faulty_server import FaultyServer
from moto.server import ThreadedMotoServer

from shards.errors import DataError
from shards.format import TIMES_NAME
from shards.index import ShardIndex
from shards.reader import SampleError, ShardReader
from shards.remote.address import RemoteFolder

ALL = np.arange(37)
SECRET = "hunter2-the-secret-key"
# boto3 and moto still use what Python wants to be without.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """host:port of an S3 server."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    yield ":".join(map(str, server.get_host_and_port()))
    server.stop()


@pytest.fixture
def bucket(
    s3: str,
    indexed_folder: Path,
    serve: Callable[..., FaultyServer],
    monkeypatch: pytest.MonkeyPatch,
) -> FaultyServer:
    """A server in front of one that has the shards at s3://bucket/train; its clients start anew."""
    import boto3
    from s3fs import S3FileSystem

    front = serve(s3)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAHUNTER2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", front.url)
    S3FileSystem.clear_instance_cache()
    client = boto3.client("s3", endpoint_url=f"http://{s3}")
    client.create_bucket(Bucket="bucket")
    for path in indexed_folder.iterdir():
        client.put_object(Bucket="bucket", Key=f"train/{path.name}", Body=path.read_bytes())
    return front


def images_of(folder: Path) -> list[bytes | SampleError]:
    with ShardReader(ShardIndex.open(folder)) as reader:
        return reader.read(ALL)


@pytest.mark.parametrize("mode", ["cache", "range"])
def test_a_bucket_is_a_folder(bucket: FaultyServer, indexed_folder: Path, mode: str) -> None:
    """The same index and the same bytes, whatever goes wrong on the way."""
    bucket.faults = type(bucket.faults)(fail=0.3, stall=0.01, cut=0.05)
    index = ShardIndex.open(RemoteFolder("s3://bucket/train/", mode, timeout_s=9))
    assert index.fingerprint == ShardIndex.open(indexed_folder).fingerprint
    with ShardReader(index) as reader:
        reader.expect(None)
        assert reader.read(ALL) == images_of(indexed_folder)
        assert reader.read(ALL[::-1]) == images_of(indexed_folder)[::-1]
    assert bucket.counts["fail"] + bucket.counts["reset"]


def test_what_is_not_there_is_named(bucket: FaultyServer) -> None:
    """A folder, a bucket, a shard; none of it is waited for."""
    for url in ("s3://bucket/none", "s3://no-such-bucket/x"):
        with pytest.raises(DataError, match=f"at {url}: .*got none; run"):
            ShardIndex.open(url)
    index = ShardIndex.open(RemoteFolder("s3://bucket/train", "range"))
    import boto3

    behind = boto3.client("s3", endpoint_url=f"http://{bucket.source}")
    behind.delete_object(Bucket="bucket", Key="train/train-000001.tar")
    with ShardReader(index) as reader:
        found = reader.read(ALL)
    bad = [error for error in found if isinstance(error, SampleError)]
    assert len(bad) == int(np.sum(index.rows(ALL)["shard"] == 1))
    assert {error.reason for error in bad} == {
        "cannot be read: not found NoSuchKey (404) (train-000001.tar)"
    }


def test_credentials_are_in_no_log_error_or_file(
    bucket: FaultyServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of ours; what the provider's own library logs at its debug level is its own affair."""
    logging.getLogger("botocore").setLevel(logging.WARNING)
    with caplog.at_level(logging.DEBUG):
        index = ShardIndex.open(RemoteFolder("s3://bucket/train", timeout_s=20))
        with ShardReader(index) as reader:
            reader.expect(None)
            reader.read(ALL)
        bucket.close()
        with pytest.raises(DataError) as caught:
            ShardIndex.open(RemoteFolder("s3://bucket/train", timeout_s=0.5))
    assert bucket.counts["authorized"]
    assert SECRET not in caplog.text + str(caught.value) + repr(index)
    cache = Path(os.environ["AUGENGINE_CACHE"])
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert len(files) > 3
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_no_credentials_is_one_line(
    bucket: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and with where to look."""
    from s3fs import S3FileSystem

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    S3FileSystem.clear_instance_cache()
    with pytest.raises(DataError, match=r"got NoCredentialsError; check the address, and the cred"):
        ShardIndex.open("s3://bucket/train")


def test_a_buckets_tags_are_of_the_content(bucket: FaultyServer, tmp_path: Path) -> None:
    """What a tar that was uploaded again is known by: equal bytes have one tag, others another."""
    import boto3

    def tags() -> dict[str, str]:
        ShardIndex.open(RemoteFolder("s3://bucket/train", timeout_s=20))
        (path,) = (tmp_path / "user-cache").rglob(TIMES_NAME)
        kept = json.loads(path.read_text())["tars"]
        path.unlink()
        return kept

    before = tags()
    assert len(before) == 4
    client = boto3.client("s3", endpoint_url=f"http://{bucket.source}")
    body = client.get_object(Bucket="bucket", Key="train/train-000001.tar")["Body"].read()
    client.put_object(Bucket="bucket", Key="train/train-000001.tar", Body=body)
    assert tags() == before
    client.put_object(Bucket="bucket", Key="train/train-000001.tar", Body=body[:-1] + b"x")
    after = tags()
    assert {name for name in after if after[name] != before[name]} == {"train-000001.tar"}
