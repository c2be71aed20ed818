"""An address is opened by its index, which follows it; nothing secret is in it or said of it."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
from afar import ALL, Serve, corrupt, open_at

from shards.errors import DataError, UsageError
from shards.index import ShardIndex
from shards.reader import ShardReader
from shards.remote.address import RemoteFolder, remote_folder


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
    with pytest.raises(DataError, match=r"got none; run `python -m tools.make_shards DIR`"):
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
    with pytest.raises(DataError, match="that of a file in the folder, got"):
        open_at(server)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=f"at {server.url}"):
        open_at(server)


def test_the_manifest_is_kept_byte_for_byte(folder: Path, serve: Serve) -> None:
    """So that a change of it is a change of the text."""
    open_at(serve(folder))
    kept = next((Path(os.environ["AUGENGINE_CACHE"]) / "indexes").rglob("manifest.json"))
    assert kept.read_bytes() == (folder / "manifest.json").read_bytes()
    assert json.loads(kept.read_text())["num_samples"] == 37


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


def test_importing_costs_nothing() -> None:
    """What speaks to a network is imported when there is an address to speak to."""
    code = (
        "import sys, shards.index, shards.files; "
        "assert not {'fsspec', 'aiohttp', 's3fs', 'botocore'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
