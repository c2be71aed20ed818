"""Links in a tar are read at their target in the same tar, or named with the reason why not."""

import io
import os
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pictures import jpeg_of

from shards.index import ShardIndex, build_index
from shards.indexing.scan_tar import scan_tar
from shards.reader import ShardReader
from shards.samples.quarantine import read_quarantine
from shards.upkeep.folder_check import check_folder
from shards.upkeep.foreign_indexes import export_dali, export_wids

Entry = tuple[str, bytes] | tuple[str, bytes, str]


def write(path: Path, entries: Sequence[Entry], format: int = tarfile.GNU_FORMAT) -> Path:
    """(name, data) is a file; (name, type, target) a link, or a folder."""
    with tarfile.open(path, "w", format=format) as tar:
        for name, content, *target in entries:
            info = tarfile.TarInfo(name)
            if target:
                info.type, info.linkname = content, target[0]
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


HARD, SYMBOLIC, FOLDER = tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE
LED: list[Entry] = [
    ("d/a.jpg", jpeg_of(1)),
    ("d/a.cls", b"3"),
    ("hard.jpg", HARD, "d/a.jpg"),
    ("hard.cls", HARD, "./d/a.cls"),
    ("d/beside.jpg", SYMBOLIC, "a.jpg"),
    ("e/up.jpg", SYMBOLIC, "../d//a.jpg"),
    ("chain.jpg", SYMBOLIC, "d/beside.jpg"),
    ("hardtolink.jpg", HARD, "d/beside.jpg"),
    ("later.jpg", SYMBOLIC, "z.jpg"),
    ("plain.jpg", SYMBOLIC, "blobs/0123"),
    ("z.jpg", jpeg_of(2)),
    ("blobs/0123", jpeg_of(3)),
]
LOST: list[Entry] = [
    ("d", FOLDER, ""),
    ("d/a.jpg", jpeg_of(1)),
    ("note.txt", b"x"),
    ("gone.jpg", SYMBOLIC, "nothing.jpg"),
    ("outside.jpg", SYMBOLIC, "/etc/passwd"),
    ("above.jpg", SYMBOLIC, "../../d/a.jpg"),
    ("one.jpg", SYMBOLIC, "two.jpg"),
    ("two.jpg", SYMBOLIC, "one.jpg"),
    ("itself.jpg", SYMBOLIC, "itself.jpg"),
    ("before.jpg", HARD, "z.jpg"),
    ("missing.jpg", HARD, "nothing.jpg"),
    ("text.jpg", HARD, "note.txt"),
    ("latest", SYMBOLIC, "d"),
    ("z.jpg", jpeg_of(2)),
]


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_a_link_is_read_at_its_target(tmp_path: Path, format: int) -> None:
    """Index, reader, check and exports agree on it; its key is that of the bytes it leads to."""
    write(tmp_path / "x.tar", LED, format)
    scan = scan_tar(tmp_path / "x.tar")
    names = ["d/a", "hard", "d/beside", "e/up", "chain", "hardtolink", "later", "plain", "z"]
    assert list(scan.keys) == names
    assert scan.labels == (3, 3, *[None] * 7)
    index = ShardIndex.open(tmp_path)
    with ShardReader(index, verify=True) as reader:
        images = reader.read(np.arange(9))
    assert images == [jpeg_of(k) for k in (1, 1, 1, 1, 1, 1, 2, 3, 2)]
    assert [index.key(i) for i in range(9)] == ["d/a"] * 6 + ["z", "blobs/0123", "z"]
    report = check_folder(tmp_path)
    assert (report.problems, report.num_samples) == ((), 9)
    (path,) = export_dali(index)
    assert path.read_text().startswith("v1.2 9\n")
    export_wids(index)
    assert '"nsamples": 2' in (tmp_path / "wids.json").read_text()  # wids passes over links


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    """In the list of what is left out, and by the check, which is not content."""
    write(tmp_path / "x.tar", LOST)
    index = build_index(tmp_path)
    assert [index.key(i) for i in range(len(index))] == ["d/a", "z"]
    reasons = {item.name.removeprefix("x.tar:"): item.reason for item in read_quarantine(tmp_path)}
    assert reasons == {
        "note": "no member is an image (txt)",
        "gone.jpg": "a symbolic link whose target is not in the tar ('nothing.jpg')",
        "outside.jpg": "a symbolic link whose target is not in the tar ('/etc/passwd')",
        "above.jpg": "a symbolic link whose target is not in the tar ('../../d/a.jpg')",
        "one.jpg": "a symbolic link that leads in a circle ('two.jpg')",
        "two.jpg": "a symbolic link that leads in a circle ('one.jpg')",
        "itself.jpg": "a symbolic link that leads in a circle ('itself.jpg')",
        "before.jpg": "a hard link whose target comes after it in the tar ('z.jpg')",
        "missing.jpg": "a hard link whose target is not in the tar ('nothing.jpg')",
        "text": "not an image of a known format",
        "latest": "a symbolic link to a folder, which is not followed ('d')",
    }
    problems = check_folder(tmp_path).problems
    assert len(problems) == 10
    assert "x.tar: one.jpg: not in the index (a symbolic link that leads in a circle" in str(
        problems
    )


def test_a_label_behind_a_dead_link_is_counted(tmp_path: Path) -> None:
    """The image stays, without a class, and the index says so."""
    entries: list[Entry] = [("a.jpg", jpeg_of(1)), ("a.cls", SYMBOLIC, "gone.cls")]
    write(tmp_path / "x.tar", [*entries, ("b.jpg", jpeg_of(2)), ("b.cls", b"1")])
    index = build_index(tmp_path)
    assert index.labels(np.arange(2)).tolist() == [-1, 1]
    notes = index.manifest.made["notes"]
    assert notes == ["1 of 2 images has no label (1: a .cls that is a link to nothing here)"]


def test_links_as_gnu_tar_writes_them(tmp_path: Path) -> None:
    """Names of one file and links beside it: none is lost."""
    (tmp_path / "in").mkdir()
    for k in range(3):
        (tmp_path / f"in/a{k}.jpg").write_bytes(jpeg_of(k))
        os.link(tmp_path / f"in/a{k}.jpg", tmp_path / f"in/b{k}.jpg")
        os.symlink(f"a{k}.jpg", tmp_path / f"in/c{k}.jpg")
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-C", tmp_path / "in", "-cf", tmp_path / "out/x.tar", "."], check=True)
    assert len(ShardIndex.open(tmp_path / "out")) == 9
    assert check_folder(tmp_path / "out").problems == ()
