"""Attempts at a part: whoever else still writes, one of them becomes the part, and stays it."""

import threading
from pathlib import Path
from typing import Any

import pytest

from shards.format import PARTIAL_NAME, PARTS_NAME
from shards.packing import cluster_parts, join_parts
from shards.packing.attempts import accept_attempt, attempt_folder
from shards.packing.cluster_parts import PartJob, make_part, pack_on_cluster
from shards.packing.part import Part
from shards.packing.staging import FinishedShard, Staging
from shards.processes import parallel
from shards.sources.source_words import SourceWords
from tests.shards.packing.photo_parts import SMALL, contents, make_photos, packs
from tests.twice_cluster import TwiceCluster

OPTIONS = {"shard_size_bytes": 40 << 10, "spec": "photos"}


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images, and the set of one process beside them; a part may be small."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster_parts, "_LEAST_IMAGES", 10)
    monkeypatch.setattr(parallel, "_WORTH_PROCESSES_BYTES", 0)
    make_photos(Path("photos"))
    packs("photos", "one", *SMALL)
    return tmp_path / "photos"


def packed(out: Path) -> dict[str, bytes]:
    words, cluster = SourceWords(spec="photos"), TwiceCluster()
    pack_on_cluster(cluster, words, words.open(), out, None, OPTIONS)  # type: ignore[arg-type]
    return contents(out)


@pytest.mark.usefixtures("photos")
def test_jobs_that_are_done_twice_leave_one_set(tmp_path: Path) -> None:
    """Parts, checks and cuts of the join too; the bytes are one process's, and nothing stays."""
    assert packed(tmp_path / "set") == contents(tmp_path / "one")


@pytest.mark.usefixtures("photos")
def test_cuts_have_names_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two attempts at a shard are two files; the one that is accepted gets the name."""
    original, seen = join_parts.write_cut, list[set[str]]()

    def writes(cut: Any) -> Any:
        made = original(cut)
        seen.append({path.name for path in cut.path.parent.glob(f"{cut.path.name}*")})
        return made

    monkeypatch.setattr(join_parts, "write_cut", writes)
    monkeypatch.setattr("pickle.dumps", lambda job: job)
    monkeypatch.setattr("pickle.loads", lambda job: job)
    assert packed(tmp_path / "set") == contents(tmp_path / "one")
    assert [len(names) for names in seen] == [1, 2] * 4
    assert not {name for names in seen for name in names if name.endswith(".tar")}


@pytest.mark.usefixtures("photos")
def test_who_comes_back_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that stands still after a shard, goes on when the part is accepted, and once more
    when the set is whole: it ends with an error of its own, and the set is what it was.
    """
    out, commit = tmp_path / "set", Staging.commit
    job = PartJob(SourceWords(spec="photos"), out, None, OPTIONS, Part(1, 1))
    stands, goes = threading.Event(), threading.Event()
    ended: list[BaseException] = []

    def slow_commit(self: Staging, shard: FinishedShard) -> None:
        commit(self, shard)
        if threading.current_thread() is lost:
            stands.set()
            goes.wait(60)

    def work() -> None:
        try:
            make_part(job)
        except BaseException as error:
            ended.append(error)

    lost = threading.Thread(target=work)
    monkeypatch.setattr(Staging, "commit", slow_commit)
    lost.start()
    assert stands.wait(60)
    made = make_part(job)
    folder = attempt_folder(out, job.part, made.attempt)
    taken = (folder / PARTIAL_NAME / "train-000000.tar").stat()
    assert taken.st_nlink == 2  # the shard that the other one had finished
    accept_attempt(out, job.part, made.attempt)
    assert [path.name for path in (out / PARTS_NAME).iterdir()] == ["part-00001-of-00001"]
    join_parts.join_parts(out)
    goes.set()
    lost.join(60)
    assert len(ended) == 1
    assert contents(out) == contents(tmp_path / "one")
    assert not (out / PARTS_NAME).exists()


@pytest.mark.usefixtures("photos")
def test_the_first_that_is_accepted_stays(tmp_path: Path) -> None:
    """A second result of one part is dropped; what was begun by hand gives way."""
    out, part = tmp_path / "set", Part(2, 2)
    (part.folder(out) / PARTIAL_NAME).mkdir(parents=True)
    job = PartJob(SourceWords(spec="photos"), out, None, OPTIONS, part)
    first, second = make_part(job), make_part(job)
    accept_attempt(out, part, first.attempt)
    inode = (part.folder(out) / "part.json").stat().st_ino
    accept_attempt(out, part, second.attempt)
    assert (part.folder(out) / "part.json").stat().st_ino == inode
    assert [path.name for path in (out / PARTS_NAME).iterdir()] == ["part-00002-of-00002"]
    assert make_part(job).num_images == first.num_images  # it is there: nothing is begun
    assert len(list((out / PARTS_NAME).iterdir())) == 1
