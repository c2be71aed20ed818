"""A packer that dies at any step leaves nothing that looks whole, and the next run continues."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from noise import Noise, contents, pack_small

from shards import atomic
from shards.errors import DataError, UsageError
from shards.format import MANIFEST_NAME, PARTIAL_NAME
from shards.index import ShardIndex
from shards.packing import staging


def kill_at(monkeypatch: pytest.MonkeyPatch, module: object, name: str, call: int) -> None:
    """Make the `call`-th call of a function end the run there, as a kill would."""
    original: Callable[..., object] = getattr(module, name)
    count = 0

    def dying(*args: object, **kwargs: object) -> object:
        nonlocal count
        count += 1
        if count == call:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    monkeypatch.setattr(module, name, dying)


def test_a_run_killed_before_any_rename_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers refuse what is left, and the same command ends in the bytes of a whole run."""
    source = Noise(size=30, bad=(3, 20))
    pack_small(source, tmp_path / "whole")
    for call in range(1, 100):
        out = tmp_path / str(call)
        try:
            with monkeypatch.context() as patch:
                kill_at(patch, os, "replace", call)
                pack_small(source, out)
        except KeyboardInterrupt:
            if out.is_dir() and not (out / MANIFEST_NAME).exists():
                with pytest.raises(DataError, match=r"interrupted|got none"):
                    ShardIndex.open(out)
            pack_small(source, out)
            assert contents(out) == contents(tmp_path / "whole")
        else:
            break
    num_shards = len(list((tmp_path / "whole").glob("*.tar")))
    # The recipe; tar, records and journal of each shard; moving them; quarantine, index, manifest.
    assert call == 1 + 1 + 4 * num_shards + 3
    assert num_shards >= 2


def test_finished_shards_are_not_packed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the journal holds is kept, samples and refusals."""
    with monkeypatch.context() as patch:
        kill_at(patch, staging.Staging, "commit", 3)
        with pytest.raises(KeyboardInterrupt):
            pack_small(Noise(bad=(3, 30)), tmp_path / "out")
    source = Noise(bad=(3, 30))
    report = pack_small(source, tmp_path / "out")
    assert report.num_resumed > 20
    assert len(source.asked) < 60 - 20
    assert len(report.refused) == 2


def test_the_old_set_stays_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while replacing: first the old set is usable, later the same command finishes."""
    for module, name in ((atomic, "_sync_folder"), (Path, "unlink"), (os, "replace")):
        for call in (2, 5, 11):
            out = tmp_path / f"{name}{call}"
            pack_small(Noise(20), out, name="old")
            with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
                kill_at(patch, module, name, call)
                pack_small(Noise(21), out, overwrite=True)
            if call == 2 and name == "replace":
                assert len(ShardIndex.open(out)) == 20
            pack_small(Noise(21), out, overwrite=True)
            assert len(ShardIndex.open(out)) == 21
            assert not list(out.glob("old-*"))


def test_an_unfinished_set_of_another_make_is_not_lost_by_accident(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when half of it was published: it takes --overwrite, and nothing of it stays."""
    pack_small(Noise(), tmp_path / "whole")
    num_shards = len(list((tmp_path / "whole").glob("*.tar")))
    # Killed while the second shard is packed, and when one of the shards is in its place already.
    for call in (5, 1 + 3 * num_shards + 2):
        out = tmp_path / str(call)
        with monkeypatch.context() as patch:
            kill_at(patch, os, "replace", call)
            with pytest.raises(KeyboardInterrupt):
                pack_small(Noise(), out, name="old")
        with pytest.raises(UsageError, match="unfinished"):
            pack_small(Noise(), out)
        pack_small(Noise(), out, overwrite=True)
        assert contents(out) == contents(tmp_path / "whole")


def test_an_unfinished_set_of_other_versions_is_not_lost_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its versions are asked for, since no one process packs by two; or --overwrite."""
    with monkeypatch.context() as patch:
        kill_at(patch, staging.Staging, "commit", 3)
        with pytest.raises(KeyboardInterrupt):
            pack_small(Noise(), tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr("shards.packing.pack_run.version_of", lambda package: f"{package}-2")
        with pytest.raises(
            UsageError, match=r"other versions: .*pillow .* and pillow-2.*overwrite"
        ):
            pack_small(Noise(), tmp_path / "out")
    assert pack_small(Noise(), tmp_path / "out").num_resumed > 20


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No shard with half its bytes is left, and what was whole is used later."""

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match="No space left"):
            pack_small(Noise(), tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.tar*"))
    pack_small(Noise(), tmp_path / "out")
    assert len(ShardIndex.open(tmp_path / "out")) == 60


@pytest.mark.slow
def test_a_kill_ends_the_workers_and_the_next_run_continues(tmp_path: Path) -> None:
    """SIGKILL in the middle: no process stays behind, and the set ends up as if undisturbed."""
    command = [sys.executable, "tools/make_shards.py", "demo:test", str(tmp_path / "out")]
    command += ["--shard-size", "1MiB", "--workers", "2"]
    root = Path(__file__).parents[3]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL)
    journal = tmp_path / "out" / PARTIAL_NAME / "train-000001.json"
    deadline = time.monotonic() + 60
    while not journal.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out" / MANIFEST_NAME).exists()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert workers
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    command[-1] = "1"
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert "continued an interrupted run" in done.stdout
    assert len(ShardIndex.open(tmp_path / "out")) == 1200


@pytest.mark.parametrize("left", [None, b"torn"])
def test_a_finished_set_whose_index_is_lost_gets_it_again(
    tmp_path: Path, left: bytes | None
) -> None:
    """The same command makes it of the tars, as the first reader would."""
    pack_small(Noise(), tmp_path / "out")
    whole = contents(tmp_path / "out")
    path = tmp_path / "out" / "index.npy"
    path.unlink() if left is None else path.write_bytes(left)
    assert pack_small(Noise(), tmp_path / "out").was_complete
    assert contents(tmp_path / "out")["index.npy"] == whole["index.npy"]
