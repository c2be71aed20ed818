"""A file is whole or as before, whatever a disk cannot do and whatever it fails to do."""

import ast
import contextlib
import errno
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shards import atomic
from shards.atomic import atomic_file, write_whole
from shards.errors import DataError

ROOT = Path(__file__).parents[2]
REFUSED = [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES, errno.EPERM]
Fail = Callable[..., Any]


def failing(real: Fail, number: int, *, when: Callable[..., bool], times: int = 10**9) -> Fail:
    """`real`, which fails with an error number where `when` says so, the first few times."""
    left = [times]

    def call(*args: Any, **more: Any) -> Any:
        if left[0] and when(*args, **more):
            left[0] -= 1
            raise OSError(number, os.strerror(number))
        return real(*args, **more)

    return call


def is_folder(descriptor: int) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def open_in(folder: Path) -> list[str]:
    """Files of a folder that this process holds open, deleted ones too."""
    links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    files = [os.readlink(link) for link in links if os.path.lexists(link)]
    return [file for file in files if Path(file).is_relative_to(folder)]


def only(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("number", REFUSED)
@pytest.mark.parametrize("what", ["sync a folder", "open a folder", "sync anything"])
def test_a_disk_that_cannot_sync_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, what: str
) -> None:
    """The file is whole and has its name; nobody is told that it failed."""
    write_whole(tmp_path / "a", b"before")
    if what == "open a folder":
        opening = failing(os.open, number, when=lambda path, *_: Path(path).is_dir())
        monkeypatch.setattr(os, "open", opening)
    else:
        when = is_folder if what == "sync a folder" else lambda descriptor: True
        monkeypatch.setattr(os, "fsync", failing(os.fsync, number, when=when))
    write_whole(tmp_path / "a", b"after")
    with atomic_file(tmp_path / "b") as file:
        file.write(b"new")
    assert (tmp_path / "a").read_bytes() == b"after"
    assert only(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_folder_that_fails_to_sync_is_told_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The file has been replaced, so nothing is said of what was before."""
    write_whole(tmp_path / "a", b"before")
    monkeypatch.setattr(os, "fsync", failing(os.fsync, number, when=is_folder))
    with pytest.raises(DataError, match="the file is whole and may be gone after") as caught:
        write_whole(tmp_path / "a", b"after")
    assert "intact" not in str(caught.value)
    assert (tmp_path / "a").read_bytes() == b"after"
    assert only(tmp_path) == ["a"]


class Refusing:
    """A file that fails at one of its steps."""

    def __init__(self, file: Any, step: str, number: int) -> None:
        self.file, self.step, self.number = file, step, number

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def _do(self, step: str, *args: Any) -> Any:
        if step == self.step:
            self.file.close()
            raise OSError(self.number, os.strerror(self.number))
        return getattr(self.file, step)(*args)

    def write(self, data: bytes) -> int:
        return self._do("write", data)

    def flush(self) -> None:
        self._do("flush")

    def __enter__(self) -> "Refusing":
        return self

    def __exit__(self, *exception: object) -> None:
        self._do("close")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free space and go on"),
        (errno.EDQUOT, "free space and go on"),
        (errno.EFBIG, "free space and go on"),
        (errno.EIO, "let the folder be written, or name another one, and go on"),
        (errno.EROFS, "let the folder be written, or name another one, and go on"),
    ],
)
@pytest.mark.parametrize("step", ["open", "write", "flush", "fsync", "close", "rename"])
def test_what_was_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int, remedy: str
) -> None:
    """At whichever step the disk gives up: one line, the former file, no other, no descriptor."""
    path = tmp_path / "a"
    write_whole(path, b"before")
    real_open = open

    def open_refusing(name: Any, *args: Any, **more: Any) -> Any:
        if Path(name).parent != tmp_path:
            return real_open(name, *args, **more)
        if step == "open":
            raise OSError(number, os.strerror(number))
        return Refusing(real_open(name, *args, **more), step, number)

    with monkeypatch.context() as patch:
        if step == "fsync":
            fails = failing(os.fsync, number, when=lambda d: not is_folder(d))
            patch.setattr(os, "fsync", fails)
        elif step == "rename":
            patch.setattr(os, "replace", failing(os.replace, number, when=lambda *a: True))
        else:
            patch.setattr("builtins.open", open_refusing)
        with pytest.raises(DataError, match="what was there before is intact") as caught:
            write_whole(path, b"after")
    assert remedy in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"before"
    assert only(tmp_path) == ["a"]
    assert not open_in(tmp_path)


def test_an_open_file_is_replaced(tmp_path: Path) -> None:
    """Whoever reads it reads on what it was."""
    write_whole(tmp_path / "a", b"before")
    with open(tmp_path / "a", "rb") as file:
        write_whole(tmp_path / "a", b"after")
        assert file.read() == b"before"
    assert (tmp_path / "a").read_bytes() == b"after"


@pytest.mark.parametrize(("times", "is_written"), [(3, True), (10**9, False)])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EBUSY, errno.ETXTBSY])
def test_a_share_that_holds_open_files_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, times: int, is_written: bool
) -> None:
    """Those of Windows refuse to rename over a file that is read: tried again, not for ever."""
    monkeypatch.setattr(atomic, "_PAUSES_S", (0.01, 0.01, 0.01))
    write_whole(tmp_path / "a", b"before")
    fails = failing(os.replace, number, when=lambda *paths: True, times=times)
    monkeypatch.setattr(os, "replace", fails)
    with contextlib.nullcontext() if is_written else pytest.raises(DataError, match="intact"):
        write_whole(tmp_path / "a", b"after")
    assert (tmp_path / "a").read_bytes() == (b"after" if is_written else b"before")
    assert only(tmp_path) == ["a"]


def test_what_a_killed_writer_left_goes_with_the_next(tmp_path: Path) -> None:
    """When it is old: a younger one may belong to a process that is writing, here or elsewhere."""
    for name, age_s in ((".a.77.tmp", 7200), (".a.77-5.tmp", 7200), (".a.78.tmp", 10)):
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (0, time.time() - age_s))
    for name in (".ab.77.tmp", ".a.b.tmp", "a.77.tmp"):
        (tmp_path / name).write_bytes(b"of another")
        os.utime(tmp_path / name, (0, 0))
    write_whole(tmp_path / "a", b"whole")
    assert only(tmp_path) == [".a.78.tmp", ".a.b.tmp", ".ab.77.tmp", "a", "a.77.tmp"]


KILLED = """
import os, signal, sys
from pathlib import Path
from shards.atomic import atomic_file
with atomic_file(Path(sys.argv[1])) as file:
    file.write(b"half of it")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_leaves_what_was_there(tmp_path: Path) -> None:
    """And a scrap under another name, which no reader takes for the file."""
    write_whole(tmp_path / "a", "before")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "a")], check=False, cwd=ROOT
    )
    assert done.returncode == -9
    assert (tmp_path / "a").read_text() == "before"
    (scrap,) = [name for name in only(tmp_path) if name != "a"]
    assert scrap.startswith(".a.")
    atomic.remove_leftovers(tmp_path)
    assert only(tmp_path) == ["a"]


def test_an_error_of_the_writer_is_its_own(tmp_path: Path) -> None:
    """What has nothing to do with the disk comes out as it is, and leaves nothing."""
    for error in (ValueError("mine"), RuntimeError("mine"), KeyboardInterrupt()):
        with pytest.raises(type(error)), atomic_file(tmp_path / "a"):
            raise error

    def fill(file: object) -> None:
        try:
            raise OSError(errno.EIO, "of a download")
        except OSError:
            raise DataError("the address is wrong") from None

    with (
        pytest.raises(DataError, match=r"^the address is wrong$"),
        atomic_file(tmp_path / "a") as f,
    ):
        fill(f)
    assert only(tmp_path) == []


def test_links_and_devices_are_what_they_lead_to(tmp_path: Path) -> None:
    """A link stays one, and its target is replaced; a pipe gets the bytes."""
    write_whole(tmp_path / "a", b"before")
    (tmp_path / "link").symlink_to("a")
    write_whole(tmp_path / "link", b"after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a").read_bytes() == b"after"
    write_whole(Path("/dev/null"), b"nothing")
    command = "from pathlib import Path; from shards.atomic import write_whole; "
    command += "write_whole(Path('/dev/stdout'), 'printed')"
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, check=True, cwd=ROOT
    )
    assert done.stdout == b"printed"
    with pytest.raises(DataError, match="directory"):
        write_whole(tmp_path, b"a folder")


# Files that are appended to, or that a journal makes whole: everything else is written atomically.
FOLDERS = ("shards", "augengine", "trainer", "tools")
OTHERS = {
    "shards/atomic.py": "it is the place",
    "shards/packing/shard_writer.py": "a tar that grows for minutes, renamed when it is whole",
    "shards/packing/recut.py": "the same, of parts that are joined",
    "shards/packing/bucket_home.py": "a shard fetched to be read, in a folder that goes away",
    "trainer/record/jsonlines.py": "appends lines",
    "trainer/record/events.py": "appends records",
    "tools/profiling/peers.py": "what another process is asked, in a folder that goes away",
    "tools/profiling/augment_stock.py": "many images, in a folder that goes away",
}


@pytest.mark.parametrize(
    "path",
    sorted(p for name in FOLDERS for p in (ROOT / name).rglob("*.py")),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_every_file_is_written_in_one_place(path: Path) -> None:
    """No library file opens one for writing by itself."""
    if str(path.relative_to(ROOT)) in OTHERS:
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        assert name not in ("write_text", "write_bytes", "tofile"), f"line {node.lineno}"
        if isinstance(node.func, ast.Name) and node.func.id == "open" and len(node.args) > 1:
            mode = node.args[1]
            assert isinstance(mode, ast.Constant)
            assert not set(str(mode.value)) & set("wax+"), f"line {node.lineno}"
