"""Shards behind a web server, good or bad: the bytes of the disk, or a name and a reason."""

import hashlib
import json
import logging
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from shards.cachedfiles import CachedFiles
from shards.errors import DataError, UsageError
from shards.format import Manifest, ShardInfo
from shards.index import ShardIndex, write_index
from shards.reader import SampleError, ShardReader
from shards.remote import RemoteFolder, remote_folder
from shards.remotecache import note_on_window
from tools.faulty_server import Faults, FaultyServer

ALL = np.arange(37)
Serve = Callable[..., FaultyServer]


@pytest.fixture
def folder(new_shards: Callable[..., Path]) -> Path:
    """Three indexed shards with hashes, as one that was packed has."""
    return seal(new_shards())


def seal(folder: Path) -> Path:
    index = ShardIndex.open(folder)
    shards = [
        ShardInfo(s.name, s.num_samples, s.size_bytes, hashlib.sha256(data).hexdigest())
        for s in index.shards
        for data in [(folder / s.name).read_bytes()]
    ]
    write_index(folder, np.array(index.records), Manifest(tuple(shards), index.classes))
    return folder


def images_of(folder: Path) -> list[bytes | SampleError]:
    with ShardReader(ShardIndex.open(folder)) as reader:
        return reader.read(ALL)


def open_at(server: FaultyServer, mode: str = "cache", **options: Any) -> ShardIndex:
    return ShardIndex.open(RemoteFolder(server.url, mode, **{"timeout_s": 6.0, **options}))


def counts_of(reader: ShardReader) -> dict[str, int]:
    assert isinstance(reader._files, CachedFiles)
    return dict(reader._files.counts)


def corrupt(path: Path, place: int) -> None:
    """Flip a byte, the size stays."""
    data = bytearray(path.read_bytes())
    data[place] ^= 255
    path.write_bytes(data)


@pytest.mark.parametrize("mode", ["cache", "range"])
@pytest.mark.parametrize("expected", [True, False])
def test_bytes_and_keys_are_those_of_the_disk(
    folder: Path, serve: Serve, mode: str, expected: bool
) -> None:
    """By either mode, announced or not, and by the same fingerprint."""
    index = open_at(serve(folder), mode)
    assert index.fingerprint == ShardIndex.open(folder).fingerprint
    assert index.key(20) == "00000020"
    with ShardReader(index) as reader:
        if expected:
            reader.expect(None)
        assert reader.read(ALL) == images_of(folder)
        assert reader.read(ALL[::-1]) == images_of(folder)[::-1]
    assert pickle.loads(pickle.dumps(index)).fingerprint == index.fingerprint


def test_announced_shards_are_fetched_once_and_ahead(folder: Path, serve: Serve) -> None:
    """From the first read on; afterwards, and in a second run, nothing is asked of the server."""
    server = serve(folder)
    index = open_at(server)
    with ShardReader(index) as reader:
        reader.expect(np.array([2, 0]))
        time.sleep(0.1)
        assert not counts_of(reader)
        reader.read(np.array([], dtype=np.int64))
        wait_for(lambda: counts_of(reader).get("shards") == 2)
        num_requests = server.counts["requests"]
        shards = index.rows(ALL)["shard"]
        assert all(isinstance(found, bytes) for found in reader.read(ALL[shards != 1]))
        assert server.counts["requests"] == num_requests
        reader.read(ALL[shards == 1])  # not announced: image by image
        assert counts_of(reader) == {
            "shards": 2,
            "bytes": index.shards[0].size_bytes + index.shards[2].size_bytes,
            "hit": int(np.sum(shards != 1)),
            "alone": int(np.sum(shards == 1)),
        }
    with ShardReader(open_at(server)) as reader:
        reader.expect(np.array([2, 0]))
        reader.read(ALL[shards != 1])
        assert set(counts_of(reader)) == {"hit"}


@pytest.mark.parametrize("mode", ["cache", "range"])
def test_a_bad_network_changes_no_byte(folder: Path, serve: Serve, mode: str) -> None:
    """A fifth of the requests fail or are reset, some break off, some stall."""
    server = serve(folder, fail=0.2, cut=0.05, stall=0.01)
    index = open_at(server, mode, timeout_s=3)
    for part in range(3):
        with ShardReader(index) as reader:
            reader.expect(None)
            assert reader.read(ALL) == images_of(folder)
        shutil.rmtree(Path(os.environ["AUGENGINE_CACHE"]) / "shards", ignore_errors=True)
        assert server.counts["requests"] >= 3 * (part + 1)
    assert server.counts["fail"] + server.counts["reset"] + server.counts["cut"]


def test_a_server_of_whole_files_serves_the_cache(folder: Path, serve: Serve) -> None:
    """Range mode is refused when opened; the cache fetches whole shards also for single images."""
    server = serve(folder, ranges=False, cut=0.2, fail=0.1)
    with pytest.raises(UsageError, match=r"sends whole ones; read it with data\.remote=cache"):
        open_at(server, "range")
    with ShardReader(open_at(server)) as reader:
        assert reader.read(ALL) == images_of(folder)
        assert counts_of(reader)["waited"] == 3


def test_the_index_follows_the_folder(folder: Path, serve: Serve, make_tar, encode) -> None:
    """It is fetched once, and again when the manifest says something new."""
    server = serve(folder)
    index = open_at(server)
    num_requests = server.counts["requests"]
    open_at(server)
    # The manifest, and a byte of it to learn whether parts can be had.
    assert server.counts["requests"] == num_requests + 2
    # As many samples, one of them another: only the manifest's text tells.
    (folder / "manifest.json").unlink()
    number = len(index.shards) - 1
    kept = index.rows(ALL)["shard"] == number
    members = [(f"{i:08d}.jpg", encode(9, 9 + i % 7)) for i in ALL[kept]]
    make_tar(folder / index.shards[number].name, members)
    ShardIndex.open(folder)
    index = open_at(server)
    assert len(index) == 37
    with ShardReader(index) as reader:
        reader.expect(None)
        assert reader.read(ALL[kept]) == [image for _, image in members]


def test_a_folder_without_an_index_is_refused(new_shards, serve: Serve) -> None:
    """Nothing is scanned from afar; the line says what to do."""
    with pytest.raises(DataError, match=r"got none; run `python tools/make_shards\.py DIR`"):
        open_at(serve(new_shards()))


def test_an_index_that_is_not_the_manifests_is_refused(folder: Path, serve: Serve) -> None:
    """Also when it has the right length; and half an index, and a name that leaves the folder."""
    server = serve(folder)
    corrupt(folder / "index.npy", -20)
    with pytest.raises(DataError, match="upload both again, together"):
        open_at(server)
    os.truncate(folder / "index.npy", 300)
    with pytest.raises(DataError, match=r"whole, got .* bytes came.*upload both"):
        open_at(server)
    (folder / "index.npy").unlink()
    with pytest.raises(DataError, match=r"whole, got not found \(404\); upload both"):
        open_at(server)
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace("train-000000", "../train-000000"))
    with pytest.raises(DataError, match="a plain file name, got"):
        open_at(server)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=f"at {server.url}"):
        open_at(server)


@pytest.mark.parametrize("mode", ["cache", "range"])
def test_a_deleted_shard_costs_its_samples_only(folder: Path, serve: Serve, mode: str) -> None:
    """Each is named with its shard and the reason, at once."""
    index, images = open_at(serve(folder), mode), images_of(folder)
    (folder / "train-000001.tar").unlink()
    with ShardReader(index) as reader:
        reader.expect(None)
        start = time.monotonic()
        found = reader.read(ALL)
    assert time.monotonic() - start < 15
    for row, shard in zip(ALL, index.rows(ALL)["shard"], strict=True):
        error = found[row]
        if shard != 1:
            assert error == images[row]
        else:
            assert isinstance(error, SampleError)
            assert error.reason == "cannot be read: not found (404) (train-000001.tar)"


@pytest.mark.parametrize("mode", ["cache", "range"])
@pytest.mark.parametrize("size", [-600, 600])
def test_a_shard_of_another_size(folder: Path, serve: Serve, mode: str, size: int) -> None:
    """A cached one is refused by its size; of a cut one, range reads give what is still there."""
    index, images = open_at(serve(folder), mode), images_of(folder)
    path = folder / "train-000002.tar"
    # The end of a tar is zeros up to 10,240 bytes: cut into the last image.
    last = index.entry(36)
    os.truncate(path, last.offset + last.size // 2 if size < 0 else path.stat().st_size + size)
    with ShardReader(index) as reader:
        reader.expect(None)
        bad = [error for error in reader.read(ALL) if isinstance(error, SampleError)]
    num_of_shard = int(np.sum(index.rows(ALL)["shard"] == 2))
    if mode == "cache":
        assert len(bad) == num_of_shard
        assert "bytes came, must be" in bad[0].reason
    else:
        assert [error.id for error in bad] == ([36] if size < 0 else [])
    assert not [error for error in bad if error in images]


def test_a_wrong_checksum_is_asked_for_again(folder: Path, serve: Serve) -> None:
    """Of a whole shard its sha256, of an image its crc32; what stays wrong is named."""
    server = serve(folder)
    index = open_at(server)
    entry = index.entry(36)
    corrupt(folder / "train-000002.tar", entry.offset + 50)
    with ShardReader(open_at(server, "range")) as reader:
        num_requests = server.counts["requests"]
        (found,) = reader.read(np.array([36]))
        assert isinstance(found, SampleError)
        assert found.key == "00000036"
        assert "crc32 is" in found.reason
        assert server.counts["requests"] == num_requests + 3  # twice, then its name
    with ShardReader(index) as reader:
        reader.expect(None)
        (found,) = reader.read(np.array([36]))
        assert isinstance(found, SampleError)
        assert "sha256 is" in found.reason
        wait_for(lambda: counts_of(reader).get("shards", 0) >= 4)


def test_a_damaged_cache_mends_itself(folder: Path, serve: Serve) -> None:
    """A byte that rotted on the local disk is read from the server, and its shard forgotten."""
    index = open_at(serve(folder))
    with ShardReader(index) as reader:
        reader.expect(None)
        reader.read(ALL)
        entry = index.entry(36)
        cached = next((Path(os.environ["AUGENGINE_CACHE"]) / "shards").glob("train-000002*"))
        corrupt(cached, entry.offset + 50)
        assert reader.read(ALL) == images_of(folder)
        assert not cached.exists() or counts_of(reader)["shards"] == 4


@pytest.mark.parametrize("mode", ["cache", "range"])
def test_an_outage_stops_within_its_time(folder: Path, serve: Serve, mode: str) -> None:
    """Nothing answers any more: one line, not a bad sample for each; opening says the same."""
    server = serve(folder)
    index = open_at(server, mode, timeout_s=0.6)
    server.faults = Faults(stall=1.0)
    with ShardReader(index) as reader:
        reader.expect(None)
        start = time.monotonic()
        with pytest.raises(DataError, match=r"must answer within 0\.6 s, got nothing from http"):
            reader.read(np.tile(ALL, 5))
        assert time.monotonic() - start < 15  # of 30 that it stalls
    with pytest.raises(DataError, match="must answer within"):
        open_at(server, mode, timeout_s=0.6)
    server.close()
    with pytest.raises(DataError, match="must answer within"):
        open_at(server, mode, timeout_s=0.6)


@pytest.mark.parametrize("mode", ["cache", "range"])
def test_one_file_that_always_fails_is_no_outage(
    folder: Path, serve: Serve, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its samples are bad, in their time; the others are there."""
    server = serve(folder)
    index = open_at(server, mode, timeout_s=1.5)
    monkeypatch.setattr(server, "fault", lambda path: "fail" if "000001" in path else "")
    with ShardReader(index) as reader:
        reader.expect(None)
        found = reader.read(ALL)
    bad = [error.reason for error in found if isinstance(error, SampleError)]
    assert len(bad) == int(np.sum(index.rows(ALL)["shard"] == 1))
    assert all(" attempts in 1.5 s (train-000001.tar)" in reason for reason in bad)


def test_cancelled_reads_end_at_once(folder: Path, serve: Serve) -> None:
    """From another thread, while a request stalls; what comes later fails too."""
    server = serve(folder)
    index = open_at(server, "range", timeout_s=60)
    server.faults = Faults(stall=1.0)
    reader = ShardReader(index)
    threading.Timer(0.2, reader.cancel).start()
    start = time.monotonic()
    for _ in range(2):
        (found,) = reader.read(ALL[:1])
        assert isinstance(found, SampleError)
        assert "the reader is closed" in found.reason
    assert time.monotonic() - start < 15


def test_a_bound_below_what_is_needed_is_refused(folder: Path, serve: Serve) -> None:
    """Below the largest shard, or below what is shuffled together: one line with both sizes."""
    server = serve(folder)
    largest = max(path.stat().st_size for path in folder.glob("*.tar"))
    with pytest.raises(UsageError, match=r"holds the largest.*data\.remote_cache_bytes"):
        open_at(server, cache_bytes=largest - 1)
    index = open_at(server, cache_bytes=2 * largest)
    ask = (index.directory, index.shards)
    assert note_on_window(*ask, 1)
    assert "less than two windows" in str(note_on_window(*ask, 2))
    for window in (3, None):
        with pytest.raises(UsageError, match=f"loop.window_shards={window}, got"):
            note_on_window(*ask, window)
    with ShardReader(index) as reader:
        reader.expect(None)
        assert reader.read(ALL) == images_of(folder)


def test_a_full_disk_is_one_line(
    folder: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops the run: every further shard would fail as well."""
    index = open_at(serve(folder))

    def full(descriptor: int, data: bytes, offset: int) -> int:
        raise OSError(28, "No space left on device")

    with ShardReader(index) as reader:
        monkeypatch.setattr("shards.remotestore.os.pwrite", full)
        reader.expect(np.array([1]))
        with pytest.raises(DataError, match=r"No space left.*data\.remote_cache_bytes"):
            reader.read(ALL)
    assert not list((Path(os.environ["AUGENGINE_CACHE"]) / "shards").glob("*.tar*"))


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@host/shards",
        "https://host/shards?X-Amz-Signature=hunter2",
        "https://host/shards#hunter2",
        "https://user:hunter2/shards",
        "s3://key:hunter2@bucket/shards",
        "hunter2://bucket",
        "s3://",
    ],
)
def test_addresses_with_secrets_are_refused(url: str) -> None:
    """The line does not repeat them."""
    with pytest.raises(UsageError) as caught:
        ShardIndex.open(url)
    assert "hunter2" not in str(caught.value).replace("hunter2://", "")


def test_what_is_an_address() -> None:
    """A path is none; a slash at the end does not count."""
    assert remote_folder("data/x") is None
    assert remote_folder(Path("data/x")) is None
    assert remote_folder(None) is None
    found = remote_folder("s3://bucket/a b/train/")
    assert (str(found), found and found.name) == ("s3://bucket/a b/train", "train")
    for options in ({"mode": "fast"}, {"timeout_s": 0.0}):
        with pytest.raises(UsageError):
            RemoteFolder("s3://bucket/x", **options)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to type."""

    def missing(scheme: str, **options: object) -> None:
        raise ImportError("Please install gcsfs")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    with pytest.raises(UsageError, match=r"gs:// needs .* gcsfs, got none; pip install gcsfs"):
        ShardIndex.open("gs://bucket/x")


def test_nothing_secret_is_said(
    folder: Path, serve: Serve, tmp_path: Path, monkeypatch, caplog
) -> None:
    """A password from ~/.netrc reaches the server, but no log, error or file."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server = serve(folder)
    with caplog.at_level(logging.DEBUG):
        index = open_at(server)
        (folder / "train-000001.tar").unlink()
        with ShardReader(index) as reader:
            reader.expect(None)
            found = reader.read(ALL)
        server.close()
        with pytest.raises(DataError) as caught:
            open_at(server, timeout_s=0.3)
    assert server.counts["authorized"]
    texts = [caplog.text, str(caught.value), repr(index), *map(str, found)]
    files = [p for p in (tmp_path / "user-cache").rglob("*") if p.is_file()]
    assert not [text for text in texts if "hunter2" in text]
    assert not [path for path in files if b"hunter2" in path.read_bytes()]


def test_the_manifest_is_kept_byte_for_byte(folder: Path, serve: Serve) -> None:
    """So that a change of it is a change of the text."""
    open_at(serve(folder))
    kept = next((Path(os.environ["AUGENGINE_CACHE"]) / "indexes").rglob("manifest.json"))
    assert kept.read_bytes() == (folder / "manifest.json").read_bytes()
    assert json.loads(kept.read_text())["num_samples"] == 37


def test_importing_costs_nothing() -> None:
    """What speaks to a network is imported when there is an address to speak to."""
    code = (
        "import sys, shards.index, shards.files; "
        "assert not {'fsspec', 'aiohttp', 's3fs', 'botocore'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
