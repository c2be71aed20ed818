"""Parquet in the Hugging Face image layout: columns, splits, labels, row groups."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from shards.errors import DataError, UsageError
from shards.format import NO_LABEL
from shards.samples.image_header import ImageError
from shards.sources.detect import open_source
from shards.sources.parquet import ParquetSource

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def write(
    path: Path, start: int, count: int, *, names: list[str] | None = None, **columns: list[Any]
) -> Path:
    """Rows `start`.. with bytes that say which row they are."""
    rows = [{"bytes": b"row %d" % i, "path": f"{i}.jpg"} for i in range(start, start + count)]
    table = pa.table({"image": rows, **columns})
    if names is not None:
        features = {"label": {"names": names, "_type": "ClassLabel"}}
        content = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": content})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=3)
    return path


def test_rows_over_files_and_row_groups(tmp_path: Path) -> None:
    """Rows are numbered over files in name order, labels named by the metadata."""
    write(tmp_path / "data/train-00001.parquet", 7, 2, label=[1, 0], names=["cat", "dog"])
    write(tmp_path / "data/train-00000.parquet", 0, 7, label=[0] * 7, names=["cat", "dog"])
    write(tmp_path / "data/test-00000.parquet", 50, 1, label=[1], names=["cat", "dog"])
    source = ParquetSource(str(tmp_path))
    assert source.classes == ("cat", "dog")
    assert source.block_sizes.tolist() == [3, 3, 1, 2]
    for number in (8, 0, 3, 6, 7, 2):
        sample = source[number]
        assert (sample.load(), sample.name) == (b"row %d" % number, f"{number}.jpg")
    assert [source[i].label for i in (6, 7, 8)] == [0, 1, 0]
    assert len(ParquetSource(str(tmp_path), "test")) == 1
    with pytest.raises(UsageError, match="train, test"):
        ParquetSource(str(tmp_path), "validation")


def test_rows_go_by_their_paths_in_lists(tmp_path: Path) -> None:
    """Lists of files, classes and skipped images name rows as packed samples are named."""
    write(tmp_path / "set/a.parquet", 0, 7, label=[0] * 7)
    write(tmp_path / "set/b.parquet", 7, 4, label=[0] * 4)
    spec, listed = str(tmp_path / "set"), tmp_path / "list.csv"
    listed.write_text(
        "file,class\n" + "".join(f"{i}.jpg,{'odd' * (i % 2)}\n" for i in range(1, 9, 2))
    )
    labelled = open_source(spec, labels=listed)
    assert labelled.classes == ("odd",)
    assert labelled.labels.tolist() == [0 if i in (1, 3, 5, 7) else -1 for i in range(11)]
    taken = open_source(spec, files=listed)
    assert [taken[i].name for i in range(4)] == ["1.jpg", "3.jpg", "5.jpg", "7.jpg"]
    assert taken.block_sizes is not None  # rows of a group are read together still
    assert taken.block_sizes.tolist() == [1, 2, 0, 1, 0]
    skipped = tmp_path / "skip.txt"
    skipped.write_text("# set 0123\n9.jpg\t4\n0.jpg\t8\n")
    left = open_source(spec, skip_list=skipped)
    assert [left[i].name for i in range(len(left))] == [f"{i}.jpg" for i in (*range(1, 9), 10)]


def test_rows_without_paths_go_by_file_and_row(tmp_path: Path) -> None:
    """Each name once, also over row groups, and where some rows have a path."""
    rows = [{"bytes": b"x"}] * 4
    pq.write_table(pa.table({"image": rows}), tmp_path / "a.parquet", row_group_size=2)
    rows = [{"bytes": b"x", "path": path} for path in (None, "", "cat.jpg", None)]
    pq.write_table(pa.table({"image": rows}), tmp_path / "b.parquet", row_group_size=3)
    pq.write_table(pa.table({"image": [b"x", b"y"]}), tmp_path / "c.parquet")
    names = {name: ParquetSource(str(tmp_path / f"{name}.parquet")) for name in "abc"}
    assert list(names["a"].names) == [f"a.parquet row {i}" for i in range(4)]
    assert list(names["b"].names) == [
        "b.parquet row 0", "b.parquet row 1", "cat.jpg", "b.parquet row 3",
    ]  # fmt: skip
    assert list(names["c"].names) == ["c.parquet row 0", "c.parquet row 1"]
    for source in names.values():
        assert [source[i].name for i in range(len(source))] == list(source.names)


def test_files_are_found_as_every_folder_is_walked(tmp_path: Path) -> None:
    """Through a link, inside a folder that is called like a file; what is hidden is not seen."""
    write(tmp_path / "elsewhere/b.parquet", 3, 2)
    write(tmp_path / "set/a.parquet/part-0.parquet", 0, 3)
    (tmp_path / "set/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set/._a.parquet").write_bytes(b"of macOS")
    source = open_source(str(tmp_path / "set"))
    assert source.kind == "parquet"
    assert sorted(source[i].name for i in range(len(source))) == [f"{i}.jpg" for i in range(5)]
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/1.jpg").write_bytes(b"an image")
    (tmp_path / "photos/._a.parquet").write_bytes(b"of macOS")
    assert open_source(str(tmp_path / "photos")).kind == "folder"


def test_only_a_window_of_row_groups_stays_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set larger than memory can be packed."""
    monkeypatch.setattr("shards.sources.parquet.WINDOW_SAMPLES", 6)
    source = ParquetSource(str(write(tmp_path / "x.parquet", 0, 30)))
    assert [source[i].load() for i in range(30)] == [b"row %d" % i for i in range(30)]
    assert len(source._tables) == 2


def test_labels_of_other_kinds(tmp_path: Path) -> None:
    """Names are sorted into classes; numbers without names are their own; nothing is no label."""
    named = ParquetSource(str(write(tmp_path / "a.parquet", 0, 3, label=["b", None, "a"])))
    assert named.classes == ("a", "b")
    assert [named[i].label for i in range(3)] == [1, NO_LABEL, 0]
    plain = ParquetSource(str(write(tmp_path / "b.parquet", 0, 3, fine_label=[2, -1, 0])))
    assert plain.classes == ("0", "1", "2")
    assert [plain[i].label for i in range(3)] == [2, NO_LABEL, 0]
    none = ParquetSource(str(write(tmp_path / "c.parquet", 0, 2, caption=["x", "y"])))
    assert none.classes == ()
    assert none[1].label == NO_LABEL


def test_what_is_no_image_set_is_refused(tmp_path: Path) -> None:
    """No image column; a file that is no Parquet; files of several schemas; no rows."""
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "text.parquet")
    with pytest.raises(UsageError, match=r"got text \(string\) in .*; write the images as bytes"):
        ParquetSource(str(tmp_path / "text.parquet"))
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match=r"torn\.parquet"):
        ParquetSource(str(tmp_path / "torn.parquet"))
    write(tmp_path / "s/0.parquet", 0, 1, label=[0])
    write(tmp_path / "s/1.parquet", 0, 1)
    with pytest.raises(DataError, match="one schema"):
        ParquetSource(str(tmp_path / "s"))
    pq.write_table(pq.read_table(tmp_path / "s/0.parquet")[:0], tmp_path / "none.parquet")
    with pytest.raises(DataError, match="got none"):
        ParquetSource(str(tmp_path / "none.parquet"))


def test_without_pyarrow_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An optional package is asked for by its install line."""
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UsageError, match="pip install pyarrow"):
        ParquetSource(str(tmp_path))


def test_a_row_without_bytes_says_why(tmp_path: Path) -> None:
    """Sets that were written without their files have paths alone, or nothing."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"bytes": None, "path": "a.png"}, None]
    pq.write_table(pa.table({"image": pa.array(rows, kind)}), tmp_path / "x.parquet")
    source = ParquetSource(str(tmp_path))
    for number, said in ((0, "its row names a file and holds no bytes: write"), (1, "no image")):
        with pytest.raises(ImageError, match=said):
            source[number].load()
