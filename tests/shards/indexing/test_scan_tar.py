"""A scan finds every image, its label, and says what it leaves out."""

import zlib
from pathlib import Path

import numpy as np
import pytest

from shards.errors import DataError
from shards.indexing.scan_tar import scan_tar, scan_tars
from shards.processes import parallel
from shards.samples.labels import number_classes


def test_a_record_describes_the_image(tmp_path: Path, make_tar, encode) -> None:
    """Offset, size, checksum and upright dimensions are those of the image's bytes."""
    jpeg, png = encode(20, 30, orientation=6), encode(8, 9, "PNG")
    path = make_tar(tmp_path / "x.tar", [("a.cls", b"3"), ("a.jpg", jpeg), ("b/c.PNG", png)])
    scan = scan_tar(path)
    data = path.read_bytes()
    for record, image in zip(scan.records, (jpeg, png), strict=True):
        assert data[record["offset"] :][: record["size"]] == image
        assert record["crc32"] == zlib.crc32(image)
    sizes = np.stack([scan.records["height"], scan.records["width"]], axis=-1)
    assert sizes.tolist() == [[30, 20], [8, 9]]
    assert scan.keys == ("a", "b/c")
    assert scan.labels == (3, None)
    assert scan.refused == ()


def test_what_is_left_out_is_named(tmp_path: Path, make_tar, encode) -> None:
    """Empty, broken, imageless and mislabelled samples are refused with tar, key and reason."""
    members = [
        ("a.jpg", encode(9, 9)),
        ("b.jpg", b""),
        ("c.jpg", b"nonsense"),
        ("d.txt", b"words"),
        ("e.jpg", encode(9, 9)),
        ("e.json", b"{torn"),
        ("f.jpg", encode(9, 9)),
        ("f.cls", b"99999999999"),
    ]
    scan = scan_tar(make_tar(tmp_path / "x.tar", members))
    assert scan.keys == ("a",)
    assert [item.name for item in scan.refused] == [f"x.tar:{key}" for key in "bcdef"]
    reasons = " ".join(item.reason for item in scan.refused)
    for part in (
        "empty",
        "known format",
        "no member is an image (txt)",
        "cannot be read",
        "at most",
    ):
        assert part in reasons


@pytest.mark.parametrize(
    ("name", "text", "label"),
    [
        ("a.cls", b" 7\n", 7),
        ("a.cls", b"-1", None),
        ("a.cls", b"cat", "cat"),
        ("a.cls", b"", None),
        ("a.json", b'{"label": 5}', 5),
        ("a.json", b'{"label": 5.0}', 5),
        ("a.json", b'{"label": "dog"}', "dog"),
        ("a.json", b'{"label": [1, 2]}', None),
        ("a.json", b'{"label": true}', None),
        ("a.json", b'{"url": "x"}', None),
        ("a.json", b"[5]", None),
    ],
)
def test_labels(tmp_path: Path, make_tar, encode, name: str, text: bytes, label) -> None:
    """A class is a number or a name, from .cls or .json."""
    path = make_tar(tmp_path / "x.tar", [("a.jpg", encode(9, 9)), (name, text)])
    assert scan_tar(path).labels == (label,)


def test_classes_are_numbered() -> None:
    """Numbers stay, names are numbered in sorted order, known names are kept where they suffice."""
    numbers, classes = number_classes([2, None, 0])
    assert (numbers.tolist(), classes) == ([2, -1, 0], ("0", "1", "2"))
    numbers, classes = number_classes(["dog", None, "cat", 3])
    assert (numbers.tolist(), classes) == ([2, -1, 1, 0], ("3", "cat", "dog"))
    assert number_classes([1], ["x", "y", "z"])[1] == ("x", "y", "z")
    assert number_classes([None, None])[1] == ()
    assert number_classes([2**31 - 1])[1] == ()


def test_processes_change_nothing(
    tmp_path: Path, make_tar, encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scanned in spawned processes or here, a tar gives the same; a torn one gives its error."""
    paths = [
        make_tar(tmp_path / f"{i}.tar", [(f"{i}{k}.jpg", encode(9 + i, 9 + k)) for k in range(3)])
        for i in range(3)
    ]
    paths[1].write_bytes(paths[1].read_bytes()[:700])
    here = dict(scan_tars(paths))
    monkeypatch.setattr(parallel, "_WORTH_PROCESSES_BYTES", 0)
    there = dict(scan_tars(paths, workers=2))
    assert isinstance(here[1], DataError)
    assert str(there[1]) == str(here[1])
    for i in (0, 2):
        assert there[i].keys == here[i].keys
        np.testing.assert_array_equal(there[i].records, here[i].records)
