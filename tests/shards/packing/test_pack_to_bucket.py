"""OUT in a bucket: the bytes of a pack on a disk, whatever breaks on the way, and no half set."""

import asyncio
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from s3fs import S3FileSystem

from shards.errors import DataError
from shards.format import MANIFEST_NAME
from shards.index import ShardIndex
from shards.packing import bucket_home, cluster_parts, join_parts
from shards.packing.bucket_home import BucketHome, open_home
from shards.packing.cluster_parts import pack_on_cluster
from shards.packing.holdout import HoldOut
from shards.packing.part import Part
from shards.packing.recut import Cut, WrittenCut, write_cut
from shards.packing.scratch import scratch_root
from shards.processes import parallel
from shards.sources.source_words import SourceWords
from tests.s3_server import objects, s3_bucket
from tests.shards.packing.photo_parts import (
    SMALL,
    contents,
    make_parts,
    make_photos,
    packs,
    refused,
)
from tests.twice_cluster import TwiceCluster
from tools import make_shards

OUT = "s3://bucket/sets/photos"
# boto3 and moto still use what Python wants to be without.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scratch folders of other tests lie elsewhere: what is left there is counted."""
    monkeypatch.setenv("AUGENGINE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Of an empty bucket; what is connected to another is forgotten."""
    bucket_home._bucket.cache_clear()
    bucket_home._store.cache_clear()
    with s3_bucket(monkeypatch) as found:
        yield found


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Images of three classes, not all good."""
    return make_photos(tmp_path / "photos")


def set_in(client: Any) -> dict[str, bytes]:
    return objects(client, "sets/photos")


def break_put(monkeypatch: pytest.MonkeyPatch, call: int, error: BaseException) -> None:
    """Fail from a call on, before anything is uploaded."""
    original: Callable[..., Any] = S3FileSystem._put_file
    count = 0

    async def put(self: S3FileSystem, *args: Any, **kwargs: Any) -> None:
        nonlocal count
        count += 1
        if count >= call:
            raise error
        await original(self, *args, **kwargs)

    monkeypatch.setattr(S3FileSystem, "_put_file", put)


def test_a_bucket_gets_the_bytes_of_a_disk(
    client: Any, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every file, also both lists; readers take it; nothing of it stays on this machine; the same
    command is done at once, another is refused, and so is another's folder.
    """
    packs(photos, tmp_path / "one", *SMALL, "--hold-out", "5")
    packs(photos, OUT, *SMALL, "--hold-out", "5")
    assert set_in(client) == contents(tmp_path / "one")
    assert objects(client, "sets/photos-held-out") == contents(tmp_path / "one-held-out")
    told = capsys.readouterr().out
    assert f"next: python -m trainer.run --data {OUT} --eval-data {OUT}-held-out\n" in told
    assert f"listed in {OUT}/quarantine.jsonl" in told
    assert ShardIndex.open(OUT).fingerprint == ShardIndex.open(tmp_path / "one").fingerprint
    assert not list(scratch_root().iterdir())
    packs(photos, OUT, *SMALL, "--hold-out", "5")
    assert capsys.readouterr().out.count("is complete already, nothing was packed") == 2
    line = refused(capsys, 2, photos, OUT, *SMALL)
    assert line.startswith(f"error: OUT holds a set of another source or other options, got {OUT},")
    assert line.endswith("name another OUT, or remove it first")
    line = refused(capsys, 2, photos, "s3://bucket/sets", *SMALL)
    assert "OUT must be new, empty or made by" in line
    assert "got s3://bucket/sets with photos and 1 more" in line


@pytest.mark.parametrize("call", [1, 2, 5, 13, 15, 17])
def test_a_pack_that_breaks_off_goes_on(
    client: Any,
    photos: Path,
    tmp_path: Path,
    call: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At any upload: one line, no manifest, and readers refuse what is there. The same command
    ends with the bytes of a whole run, and does not pack again what had arrived; another is refused
    where shards had.
    """
    packs(photos, tmp_path / "one", *SMALL)
    with monkeypatch.context() as patch:
        break_put(patch, call, PermissionError("closed"))
        line = refused(capsys, 1, photos, OUT, *SMALL)
    assert line.startswith("error: the bucket of OUT must take ")
    assert f"got access denied (403) at {OUT}; check the address" in line
    left = set_in(client)
    assert len(left) == call - 1
    assert MANIFEST_NAME not in left
    with pytest.raises(DataError, match=r"got none; run"):
        ShardIndex.open(OUT)
    if call >= 5:  # the recipe, and what belongs to the first shard
        assert "OUT holds an unfinished set" in refused(capsys, 2, photos, OUT, *SMALL, "--seed", 1)
    packs(photos, OUT, *SMALL)
    told = capsys.readouterr().out
    assert ("continued an interrupted run" in told) == (call >= 5)
    assert set_in(client) == contents(tmp_path / "one")


def test_a_slow_bucket_is_asked_again(
    client: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload that fails in passing is repeated, and costs nothing."""
    original, seen = S3FileSystem._put_file, set[str]()

    async def put(self: S3FileSystem, path: str, *args: Any, **kwargs: Any) -> None:
        if path not in seen:
            seen.add(path)
            raise asyncio.TimeoutError
        await original(self, path, *args, **kwargs)

    monkeypatch.setattr(S3FileSystem, "_put_file", put)
    packs(photos, tmp_path / "one", *SMALL)
    packs(photos, OUT, *SMALL)
    assert len(seen) == 17
    assert set_in(client) == contents(tmp_path / "one")


def test_what_another_set_began_does_not_stay(
    client: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard that came without its journal is gone once a set of another name is there."""
    with monkeypatch.context() as patch:
        break_put(patch, 3, PermissionError())
        assert make_shards.main([str(photos), OUT, *SMALL]) == 1
    assert set(set_in(client)) == {".partial/recipe.json", "train-000000.tar"}
    packs(photos, tmp_path / "one", *SMALL, "--name", "other")
    packs(photos, OUT, *SMALL, "--name", "other")
    assert set_in(client) == contents(tmp_path / "one")


@pytest.mark.usefixtures("client")
def test_a_part_fetches_no_journals_of_others(photos: Path) -> None:
    """Or many parts would read all of them many times; its own it needs, to go on."""
    make_parts(photos, OUT, 2)  # type: ignore[arg-type]
    with open_home(OUT, brief=True, part=Part(1, 2)) as home:
        parts = home.folder / ".parts"
        told = {path.relative_to(parts).as_posix() for path in parts.rglob("*.*")}
    assert {"part-00001-of-00002/part.json", "part-00002-of-00002/part.json"} <= told
    assert "part-00001-of-00002/.partial/train-000000.records" in told
    assert "part-00002-of-00002/.partial/recipe.json" in told
    assert "part-00002-of-00002/.partial/train-000000.records" not in told


@pytest.mark.parametrize("call", [2, 6, 10_000])
def test_parts_are_joined_in_a_bucket(
    client: Any,
    photos: Path,
    tmp_path: Path,
    call: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """To the bytes of one process, also when the join broke off. Shards are cut by whoever gets
    them, in scratch folders that go.
    """
    packs(photos, tmp_path / "one", *SMALL)
    make_parts(photos, OUT, 2)  # type: ignore[arg-type]
    assert f"next: python -m tools.make_shards --join {OUT}\n" in capsys.readouterr().out
    assert not [name for name in set_in(client) if not name.startswith(".parts/")]
    line = refused(capsys, 2, photos, OUT, *SMALL)
    assert f"OUT holds parts of a set, got {OUT} with 1/2, 2/2" in line

    def cuts_elsewhere(cut: Cut) -> WrittenCut:
        sent = pickle.loads(pickle.dumps(cut))
        assert isinstance(sent.home, BucketHome)
        return write_cut(sent)

    monkeypatch.setattr(join_parts, "write_cut", cuts_elsewhere)
    with monkeypatch.context() as patch:
        break_put(patch, call, PermissionError())
        code = make_shards.main(["--join", OUT])
    if call < 10_000:
        assert code == 1
        assert MANIFEST_NAME not in set_in(client)
        packs("--join", OUT)
    assert set_in(client) == contents(tmp_path / "one")
    assert not list(scratch_root().iterdir())


def test_a_cluster_packs_into_a_bucket(
    client: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both sets of a hold-out, each job done twice: the bytes of one process, and nothing else."""
    monkeypatch.setattr(cluster_parts, "_LEAST_IMAGES", 10)
    monkeypatch.setattr(parallel, "_WORTH_PROCESSES_BYTES", 0)
    packs(photos, tmp_path / "one", *SMALL, "--hold-out", "5")
    words, cluster = SourceWords(spec=str(photos)), TwiceCluster()
    options = {"shard_size_bytes": 40 << 10, "hold_out": HoldOut(None, 5), "spec": str(photos)}
    pack_on_cluster(cluster, words, words.open(), OUT, f"{OUT}-held-out", options)  # type: ignore[arg-type]
    assert set_in(client) == contents(tmp_path / "one")
    assert objects(client, "sets/photos-held-out") == contents(tmp_path / "one-held-out")


def test_a_lost_shard_is_not_published(
    client: Any, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever removes one amid the pack gets no manifest."""
    original = BucketHome.look

    def look(home: BucketHome) -> None:
        client.delete_object(Bucket="bucket", Key="sets/photos/train-000001.tar")
        original(home)

    monkeypatch.setattr(BucketHome, "look", look)
    line = refused(capsys, 1, photos, OUT, *SMALL)
    assert f"got train-000001.tar missing or of another size in {OUT}; repeat the" in line
    assert MANIFEST_NAME not in set_in(client)


def test_bad_images_leave_nothing(
    client: Any, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --on-bad fail no shard stays, nor a journal."""
    assert "class" in refused(capsys, 1, photos, OUT, *SMALL, "--on-bad", "fail")
    assert not set_in(client)


def test_what_cannot_be_is_one_line(
    client: Any,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No such bucket, a web server, a set to replace, an address inside the other, no keys."""
    for out, words, code, said in (
        ("s3://none/set", (), 2, "got s3://none/set (not found NoSuchBucket (404)); make the"),
        ("https://host/set", (), 2, "got https://host/set, where nothing can be put; name a"),
        ("ftp://host/set", (), 2, "remote shards lie at s3://, gs://, https://, http://, got ftp"),
        (OUT, ("--overwrite",), 2, f"--overwrite replaces a set of a disk, got {OUT}, where"),
        (OUT, ("--hold-out", "5", "--held-out", f"{OUT}/held"), 2, "lies in a folder of its own"),
    ):
        assert said in refused(capsys, code, photos, out, *SMALL, *words)
    assert "got s3://bucket/none without any; make" in refused(
        capsys, 2, "--join", "s3://bucket/none"
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    S3FileSystem.clear_instance_cache()
    bucket_home._bucket.cache_clear()
    bucket_home._store.cache_clear()
    line = refused(capsys, 1, photos, OUT, *SMALL)
    assert "the bucket of OUT must be listed, got NoCredentialsError at" in line
    assert "the credentials that its provider's own tools use" in line
    assert not set_in(client)


def test_a_killed_commands_scratch_goes(client: Any, tmp_path: Path) -> None:
    """The next one removes it, and leaves that of one that runs."""
    packing = scratch_root()
    (packing / "making-dead").mkdir(parents=True)
    with open_home(OUT) as first, open_home(f"{OUT}2") as second:
        assert sorted(packing.iterdir()) == sorted([first.folder.parent, second.folder.parent])
    assert not list(packing.iterdir())
