"""`--executor ray`: a pack and a check on a cluster of nodes, and what is refused beforehand."""

import subprocess
import time
from pathlib import Path

import pytest

from shards.format import PARTS_NAME
from tests.ray_cluster import ROOT, SECONDS, command, nodes, run
from tests.s3_server import objects, s3_bucket
from tests.shards.packing.photo_parts import SMALL, contents, make_photos, packs, refused
from tools import check_shards

pytest.importorskip("ray")


def test_a_cluster_packs_the_bytes_of_one_process(tmp_path: Path) -> None:
    """Parts that were begun by hand are taken; bad images are in one list, held-out ones in their
    set; paths are as they were typed; the check runs there too. With --on-bad fail the job's error
    is the command's one line, and nothing of the set stays.
    """
    photos, one, out = make_photos(tmp_path / "photos"), tmp_path / "one", tmp_path / "set"
    held = ("--hold-out", "25%")
    packs(photos, one, *SMALL, *held)
    packs(photos, out, *SMALL, *held, "--part", "2/3")
    with nodes() as (address, _):
        on = ("--executor", f"ray:{address}")
        words = command("tools.make_shards", photos, "set", *SMALL, *held, *on)
        done = run(words, tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert "next: python -m trainer.run --data set --eval-data set-held-out" in done.stdout
        for name in ("one", "one-held-out"):
            assert contents(tmp_path / name.replace("one", "set")) == contents(tmp_path / name)
        assert not (out / PARTS_NAME).exists()
        done = run(command("tools.check_shards", "set", *on), tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        bad = run([*words[:4], "other", *SMALL, "--on-bad", "fail", *on], tmp_path)
        assert bad.returncode == 1
        [line] = bad.stderr.splitlines()
        assert line.startswith("error: every image must decode with --on-bad fail, got ")
        assert not list(tmp_path.glob("other/*.tar"))


@pytest.mark.long
def test_a_node_that_dies_costs_nothing(tmp_path: Path) -> None:
    """One of two is killed amid the work: its part is made by the other, the bytes are the same."""
    one, out = tmp_path / "one", tmp_path / "set"
    few = ("demo", "--limit", "4000", "--workers", "2")
    packs(*few[:1], one, *few[1:], "--shard-size", "2MiB")
    with nodes() as (address, holder):
        assert holder.stdin is not None
        assert holder.stdout is not None
        words = ("demo", out, *few[1:], "--shard-size", "2MiB", "--executor", f"ray:{address}")
        with subprocess.Popen(command("tools.make_shards", *words), cwd=ROOT) as packing:
            while packing.poll() is None and len(begun(out)) < 2:
                time.sleep(0.02)
            assert packing.poll() is None
            assert len(begun(out)) == 2  # one a node, and neither is whole
            holder.stdin.write("kill\n")
            holder.stdin.flush()
            assert holder.stdout.readline() == "killed\n"
            assert packing.poll() is None
            assert packing.wait(SECONDS) == 0
    assert contents(out) == contents(one)
    assert check_shards.main([str(out)]) == 0


def begun(out: Path) -> list[Path]:
    """Tars that are being written, or were."""
    return [part for part in (out / PARTS_NAME).glob("*") if list(part.rglob("*.tar*"))]


@pytest.mark.long
def test_a_cluster_packs_into_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its machines upload what they make, and one is killed amid that: the bytes of one process."""
    photos, one = make_photos(tmp_path / "photos"), tmp_path / "one"
    packs(photos, one, *SMALL)
    with s3_bucket(monkeypatch) as client, nodes() as (address, holder):
        assert holder.stdin is not None
        assert holder.stdout is not None
        words = (photos, "s3://bucket/set", *SMALL[2:])
        packs(*words, "--workers", "1", "--part", "2/4")
        words = (*words, "--executor", f"ray:{address}")
        by_hand = objects(client, "set")
        with subprocess.Popen(command("tools.make_shards", *words), cwd=ROOT) as packing:
            while packing.poll() is None and objects(client, "set") == by_hand:
                time.sleep(0.05)
            holder.stdin.write("kill\n")
            holder.stdin.flush()
            assert holder.stdout.readline() == "killed\n"
            assert packing.wait(SECONDS) == 0
        assert objects(client, "set") == contents(one)


def test_what_cannot_be_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another engine, an address where nobody listens, options that do not go with it; nothing is
    written.
    """
    for words, said in (
        (("--executor", "dask"), "--executor is ray, for the cores of this machine, or ray:HOST"),
        (("--executor", "ray:127.0.0.1:1"), "names a cluster that answers, got ray:127.0.0.1:1 ("),
        (("--executor", "ray", "--part", "1/2"), "got --part beside it; leave one out"),
        (("--executor", "ray", "--overwrite"), "got --overwrite beside it; leave one out"),
    ):
        assert said in refused(capsys, 2, "demo", tmp_path / "set", *words)
    assert not list(tmp_path.iterdir())
