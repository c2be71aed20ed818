"""`trainer.embed --executor`: the bytes of one process, whichever machine made a part, and once."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from made_run import made_run
from tiny_sets import write_set

from shards.index import ShardIndex
from tests.ray_cluster import ROOT, SECONDS, nodes, run
from tests.twice_cluster import TwiceCluster
from trainer.embed import cluster_features, embed_run
from trainer.embed.__main__ import main as embed
from trainer.embed.feature_table import read_features

SMALL = ["--batch-size", "4", "--part-images", "8", "--device", "cpu", "--backend", "kornia"]
SMALL += ["data.decoder=pillow", "--neighbours", "3"]


@pytest.fixture(scope="module")
def trained(shard_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embed") / "run"
    made_run(folder, shard_folder)
    return folder


@pytest.fixture
def twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands get such a cluster."""

    @contextmanager
    def open_twice(text: str) -> Iterator[TwiceCluster]:
        assert text == "ray"
        yield TwiceCluster()

    monkeypatch.setattr(embed_run, "maybe_cluster", open_twice)


def embedded(trained: Path, data: Path, out: Path, *flags: str, code: int = 0) -> None:
    assert embed([str(trained), "--data", str(data), "--out", str(out), *SMALL, *flags]) == code


@pytest.mark.usefixtures("twice")
def test_parts_made_twice_are_taken_once(trained: Path, shard_folder: Path, tmp_path: Path) -> None:
    """Features and neighbours have the bytes of one process; no attempt's folder stays."""
    embedded(trained, shard_folder, tmp_path / "one.npy")
    embedded(trained, shard_folder, tmp_path / "f.npy", "--executor", "ray")
    assert (tmp_path / "f.npy").read_bytes() == (tmp_path / "one.npy").read_bytes()
    assert sorted(p.name for p in tmp_path.glob("f.npy*")) == ["f.npy", "f.npy.json"]


@pytest.mark.usefixtures("twice")
def test_bad_images_are_counted_over_all_parts(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: Any
) -> None:
    """As in one process: left out and named, and over the budget the command ends."""
    data = write_set(tmp_path / "set", [0, 1] * 14, torn=range(8, 16))
    flags = ("--executor", "ray", "data.bad_budget=1.0")
    embedded(trained, data, tmp_path / "f.npy", *flags)
    assert read_features(tmp_path / "f.npy").ids.tolist() == [*range(8), *range(16, 28)]
    assert "20 images, 512 features float16; 8 left out, since" in capsys.readouterr().out
    assert caplog.text.count("bad sample") == 8
    embedded(trained, data, tmp_path / "g.npy", *flags[:2], "data.bad_budget=0.0", code=1)
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"at most 0 of 16 samples of {data} may be bad (data.bad_budget 0), got 8" in line
    assert not (tmp_path / "g.npy").exists()


@pytest.mark.usefixtures("twice")
def test_another_set_elsewhere_is_refused(
    trained: Path,
    shard_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A machine that sees other files under the same name makes nothing."""
    original = ShardIndex.open
    seen: list[int] = []

    def opens_another(directory: Any, **options: Any) -> ShardIndex:
        seen.append(1)
        other = write_set(tmp_path / "other", [0, 1]) if len(seen) == 2 else directory
        return original(other, **options)

    monkeypatch.setattr(cluster_features, "_OPENED", [])
    monkeypatch.setattr(ShardIndex, "open", opens_another)
    embedded(trained, shard_folder, tmp_path / "f.npy", "--executor", "ray", code=1)
    line = capsys.readouterr().err.splitlines()[-1]
    assert "all machines of a cluster see the same files under the same names, got another" in line
    assert f"data_fingerprint for {trained} and {shard_folder}" in line


@pytest.mark.parametrize(
    ("executor", "said"),
    [
        ("dask", "--executor is ray, for the cores of this machine, or ray:HOST:PORT"),
        ("ray:127.0.0.1:1", "--executor names a cluster that answers, got ray:127.0.0.1:1 ("),
    ],
)
def test_what_is_no_cluster_is_one_line(
    executor: str,
    said: str,
    trained: Path,
    shard_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And nothing is written."""
    pytest.importorskip("ray")
    embedded(trained, shard_folder, tmp_path / "f.npy", "--executor", executor, code=2)
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_a_node_that_dies_costs_its_part_once(
    trained: Path, shard_folder: Path, tmp_path: Path
) -> None:
    """One of two is killed while both work: the other makes what it had, with the same bytes."""
    pytest.importorskip("ray")
    words = ["-m", "trainer.embed", str(trained), "--data", str(shard_folder), *SMALL]
    words += ["--batch-size", "2", "--part-images", "2"]
    done = run([sys.executable, *words, "--out", str(tmp_path / "one.npy")], tmp_path)
    assert done.returncode == 0, done.stderr
    with nodes() as (address, holder):
        assert holder.stdin is not None
        assert holder.stdout is not None
        words += ["--out", str(tmp_path / "f.npy"), "--executor", f"ray:{address}"]
        folder = tmp_path / "f.npy.parts"
        with subprocess.Popen([sys.executable, *words], cwd=ROOT) as making:
            while making.poll() is None and not list(folder.glob("part-*")):
                time.sleep(0.01)
            holder.stdin.write("kill\n")
            holder.stdin.flush()
            assert holder.stdout.readline() == "killed\n"
            assert making.poll() is None
            assert making.wait(SECONDS) == 0
    assert (tmp_path / "f.npy").read_bytes() == (tmp_path / "one.npy").read_bytes()
    assert not folder.exists()
