"""Every Arrow type of a label becomes a class or a counted reason; every type of bytes an image."""

import datetime
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shards.errors import UsageError
from shards.sources.detect import open_source
from shards.sources.parquet import ParquetSource

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

BYTES = [b"image %d" % k for k in range(4)]
ROWS = [{"bytes": data, "path": f"{k}.jpg"} for k, data in enumerate(BYTES)]
IMAGE = pa.array(ROWS, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
NAMES = ["dog", "cat", None, "dog"]
NUMBERS = [1, 0, None, 1]


def write(path: Path, **columns: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return str(path)


def labels_of(source: Any) -> list[int]:
    return [source[i].label for i in range(len(source))]


NAMED = {
    "string": pa.array(NAMES),
    "large_string": pa.array(NAMES, pa.large_string()),
    "string_view": pa.array(NAMES, pa.string_view()),
    "dictionary": pa.array(NAMES).dictionary_encode(),
    "dictionary of large strings": pa.array(NAMES, pa.large_string()).dictionary_encode(),
    "binary": pa.array([None if name is None else name.encode() for name in NAMES]),
    "list of one": pa.array([None if name is None else [name] for name in NAMES]),
}
NUMBERED = {
    **{str(kind): pa.array(NUMBERS, kind) for kind in (pa.int8(), pa.int16(), pa.int32())},
    **{str(kind): pa.array(NUMBERS, kind) for kind in (pa.int64(), pa.uint8(), pa.uint64())},
    "float": pa.array(NUMBERS, pa.float32()),
    "double": pa.array(NUMBERS, pa.float64()),
    "halffloat": pa.array(np.array([1, 0, np.nan, 1], np.float16)),
    "decimal": pa.array(
        [None if n is None else decimal.Decimal(n) for n in NUMBERS], pa.decimal128(5, 2)
    ),
    "bool": pa.array([None if n is None else bool(n) for n in NUMBERS]),
    "dictionary of numbers": pa.array(NUMBERS).dictionary_encode(),
    "list of one": pa.array([None if n is None else [n] for n in NUMBERS]),
    "fixed list of one": pa.array(
        [None if n is None else [n] for n in NUMBERS], pa.list_(pa.int64(), 1)
    ),
}


@pytest.mark.parametrize("kind", NAMED)
def test_names_of_any_type_are_classes(tmp_path: Path, kind: str) -> None:
    """Sorted, and what is null is counted."""
    source = ParquetSource(write(tmp_path / "x.parquet", image=IMAGE, label=NAMED[kind]))
    assert source.classes == ("cat", "dog")
    assert labels_of(source) == [1, 0, -1, 1]
    assert "1 of 4 images has no label (1: nothing there)" in source.notes[1]


@pytest.mark.parametrize("kind", NUMBERED)
def test_whole_numbers_of_any_type_are_classes(tmp_path: Path, kind: str) -> None:
    """Also truths, and numbers with a point."""
    source = ParquetSource(write(tmp_path / "x.parquet", image=IMAGE, label=NUMBERED[kind]))
    assert source.classes == ("0", "1")
    assert labels_of(source) == [1, 0, -1, 1]
    assert "1 of 4 images has no label" in source.notes[1]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (pa.array([0.5, 0.25, 0.125, 1.5]), "4: a fraction"),
        (pa.nulls(4), "4: nothing there"),
        (pa.array([[1, 2]] * 4), "4: no number or name but a list"),
        (pa.array([{"a": 1}] * 4), "4: no number or name but a dict"),
        (pa.array([datetime.date(2020, 1, 1)] * 4), "4: no number or name but a date"),
        (pa.array([-1] * 4), "4: a number below 0"),
        (pa.array([1 << 40] * 4), "4: its label must be at most"),
    ],
)
def test_what_is_no_class_is_counted(tmp_path: Path, values: Any, why: str) -> None:
    """With the column and its type."""
    source = ParquetSource(write(tmp_path / "x.parquet", image=IMAGE, label=values))
    assert labels_of(source) == [-1] * 4
    assert why in source.notes[1]
    kind = str(values.type).partition("<")[0]
    assert f"the labels are a column 'label' of type {kind}" in source.notes[1]


BINARY = {
    "binary": pa.array(BYTES),
    "large_binary": pa.array(BYTES, pa.large_binary()),
    "binary_view": pa.array(BYTES, pa.binary_view()),
    "fixed_size_binary": pa.array(BYTES, pa.binary(len(BYTES[0]))),
    "dictionary": pa.array(BYTES).dictionary_encode(),
    "struct of large ones": pa.array(
        ROWS, pa.struct([("bytes", pa.large_binary()), ("path", pa.large_string())])
    ),
    "struct of views": pa.array(
        ROWS, pa.struct([("bytes", pa.binary_view()), ("path", pa.string_view())])
    ),
}


@pytest.mark.parametrize("column", ["image", "photo"])
@pytest.mark.parametrize("kind", BINARY)
def test_bytes_of_any_type_are_images(tmp_path: Path, kind: str, column: str) -> None:
    """Whatever the column is called, when there is one only."""
    source = ParquetSource(
        write(tmp_path / "x.parquet", **{column: BINARY[kind], "label": [0] * 4})
    )
    assert [source[i].load() for i in range(4)] == BYTES


def test_two_columns_of_bytes_are_not_guessed(tmp_path: Path) -> None:
    """One that is called image is."""
    columns = {"mask": pa.array(BYTES), "photo": pa.array(BYTES)}
    with pytest.raises(UsageError, match=r"got mask \(binary\), photo \(binary\) in"):
        ParquetSource(write(tmp_path / "x.parquet", **columns))
    assert len(ParquetSource(write(tmp_path / "x.parquet", image=pa.array(BYTES), **columns))) == 4


@pytest.mark.parametrize(
    "name",
    ["0000.parquet", "default/train/0000.parquet", "a/b/c/d/e.PARQUET", "en/partial-train/0.pq"],
)
def test_files_are_found_at_any_depth(tmp_path: Path, name: str) -> None:
    """As Hugging Face's conversions have them; hidden folders are not seen."""
    write(tmp_path / name, image=IMAGE)
    write(tmp_path / ".cache/x.parquet", image=IMAGE)
    source = open_source(str(tmp_path))
    assert (source.kind, len(source)) == ("parquet", 4)


def test_columns_that_are_not_read_are_named(tmp_path: Path) -> None:
    """When no column is called as labels are; `Class` is."""
    source = ParquetSource(write(tmp_path / "x.parquet", image=IMAGE, caption=["a"] * 4))
    assert source.notes[1].startswith("no column is called label: caption are not read")
    source = ParquetSource(write(tmp_path / "x.parquet", image=IMAGE, Class=NAMES))
    assert source.classes == ("cat", "dog")
