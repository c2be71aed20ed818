"""Packs that start together into one folder: one works, the others wait for it."""

import fcntl
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from noise import Noise, contents, pack_small

from shards import store
from shards.errors import UsageError
from shards.packing.part import Part
from shards.sources.raw import RawSample
from shards.store import locked


def is_locked(folder: Path) -> bool:
    """Whether somebody holds the lock of the folder that lies at this path now."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@dataclass
class Watched(Noise):
    """Notes at every sample whether the folder it goes to is locked."""

    watched: Path = Path()
    seen: list[bool] = field(default_factory=list)

    def __getitem__(self, number: int) -> RawSample:
        self.seen.append(is_locked(self.watched))
        return super().__getitem__(number)


@pytest.mark.parametrize("is_there", [False, True])
def test_the_lock_is_of_the_folder_that_is_filled(tmp_path: Path, is_there: bool) -> None:
    """A new OUT, as an empty one, is locked from the first sample on: two packs never mix."""
    out = tmp_path / "out"
    if is_there:
        out.mkdir()
    source = Watched(size=12, watched=out)
    pack_small(source, out)
    assert source.seen == [True] * 12
    assert not is_locked(out)


def test_a_part_is_locked_while_it_is_filled(tmp_path: Path) -> None:
    """The same of a part of a set."""
    part = Part(1, 1)
    source = Watched(size=12, watched=part.folder(tmp_path / "out"))
    pack_small(source, tmp_path / "out", part=part)
    assert source.seen == [True] * 12


@dataclass
class Slow(Noise):
    """Waits in its first sample until another pack wants the lock."""

    wanted: threading.Event = field(default_factory=threading.Event)
    began: threading.Event = field(default_factory=threading.Event)

    def __getitem__(self, number: int) -> RawSample:
        self.began.set()
        assert self.wanted.wait(60)
        return super().__getitem__(number)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_second_pack_waits_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """It finds its own set complete, or is refused for another one; the first is what it was."""
    pack_small(Noise(), tmp_path / "alone")
    source, out = Slow(), tmp_path / "out"
    first = threading.Thread(target=pack_small, args=(source, out))
    first.start()
    assert source.began.wait(60)
    real = fcntl.flock

    def told(descriptor: int, kind: int) -> None:
        source.wanted.set()
        real(descriptor, kind)

    monkeypatch.setattr(store.fcntl, "flock", told)
    if seed:
        with pytest.raises(UsageError, match="another source or other options"):
            pack_small(Noise(), out, seed=seed)
    else:
        assert pack_small(Noise(), out).was_complete
    first.join(60)
    assert contents(out) == contents(tmp_path / "alone")


def test_a_folder_made_anew_is_locked_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waited for a folder that was removed locks the one that is there then, or makes it."""
    folder, found = tmp_path / "folder", []
    folder.mkdir()
    waits, real = threading.Event(), fcntl.flock

    def told(descriptor: int, kind: int) -> None:
        waits.set()
        real(descriptor, kind)

    def wait() -> None:
        with locked(folder, make=True):
            found.append(is_locked(folder))

    with locked(folder):
        monkeypatch.setattr(store.fcntl, "flock", told)
        thread = threading.Thread(target=wait)
        thread.start()
        assert waits.wait(60)
        folder.rmdir()
    thread.join(60)
    assert found == [True]


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """Unless it is asked for."""
    with pytest.raises(FileNotFoundError), locked(tmp_path / "folder"):
        pass
