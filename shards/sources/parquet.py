"""Parquet files in the Hugging Face image layout: images as struct{bytes, path}, maybe labels.

    data/train-00000-of-00002.parquet     the split is the file name's or the folder's first word
    default/train/0000.parquet            at any depth
    image: struct<bytes: binary, path: string>, label: int64    other types: parquet_columns.py

Class names come from the schema's `huggingface` metadata when it has them. A row is only cheap to
read with its whole row group, so these are the source's blocks, and the latest stay in memory.
"""

import glob
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from shards.errors import DataError, UsageError
from shards.format import NO_LABEL
from shards.plugins.optional_library import optional_library
from shards.samples.image_header import ImageError
from shards.sources.parquet_columns import (
    choose_columns,
    class_names,
    has_images,
    has_paths,
    image_bytes,
    number_labels,
)
from shards.sources.raw import WINDOW_SAMPLES, Payload, RawSample, fingerprint_of
from shards.sources.splits import choose_split
from shards.sources.walk import is_folder, is_special, list_folder, walk_files

PARQUET_ENDINGS = (".parquet", ".parq", ".pq")


class ParquetSource:
    """One split of a data set in Parquet files."""

    kind = "parquet"
    stores_names = True

    def __init__(self, spec: str, split: str | None = None) -> None:
        parquet = optional_library("pyarrow.parquet", "a Parquet file", "pyarrow")
        every = find_parquet_files(spec)
        paths = choose_split(every, split, spec, "Parquet files")
        try:
            self._files = [parquet.ParquetFile(path) for path in paths]
            schema = self._files[0].schema_arrow
            self._image_column, label_column = choose_columns(schema, paths[0])
            self._has_paths = has_paths(schema.field(self._image_column).type)
            if any(self._image_column not in file.schema_arrow.names for file in self._files):
                raise KeyError(f"not every file has a column {self._image_column!r}")
            values = [] if label_column is None else self._read_labels(label_column)
        except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are kinds of these
            if isinstance(error, UsageError):
                raise
            raise DataError(
                f"Parquet files must be whole and of one schema, got {spec} ({error}); fetch them "
                f"again, or name the ones that belong together"
            ) from None
        groups = [(i, g) for i, file in enumerate(self._files) for g in range(file.num_row_groups)]
        self._groups = groups
        self.block_sizes = np.array(
            [self._files[i].metadata.row_group(g).num_rows for i, g in groups], dtype=np.int64
        )
        self._starts = np.concatenate([[0], np.cumsum(self.block_sizes)])
        if not self._starts[-1]:
            raise DataError(f"Parquet files to pack hold rows, got none in {spec}; check the path")
        self.classes, told = (), None
        self.labels = np.full(len(self), NO_LABEL, np.int32)
        if label_column is not None:
            names = class_names(schema, label_column)
            self.classes, self.labels, told = number_labels(values, names)
        self.notes = tuple(_notes(len(paths), len(every), self._image_column, label_column, schema))
        if told:
            self.notes += (
                f"{told}; the labels are a column {label_column!r} of type "
                f"{schema.field(label_column).type}",
            )
        self.fingerprint = fingerprint_of(
            f"{path.name}\0{path.stat().st_size}\0{file.metadata.num_rows}"
            for path, file in zip(paths, self._files, strict=True)
        )
        self._paths = paths
        self._first_of_file: dict[int, int] = {}
        for (file, _), start in zip(groups, self._starts.tolist(), strict=False):
            self._first_of_file.setdefault(file, start)
        self._names: list[str] | None = None
        self._tables: OrderedDict[int, Any] = OrderedDict()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, number: int) -> RawSample:
        block = int(np.searchsorted(self._starts, number, side="right")) - 1
        row = number - int(self._starts[block])
        value = self._table(block).column(self._image_column)[row].as_py()
        data, path = image_bytes(value)
        file = self._groups[block][0]
        label = int(self.labels[number])
        return RawSample(self._name(file, number, path), label, data or partial(_refuse, path))

    @property
    def names(self) -> Sequence[str]:
        """Of each row its image's path, else its file and number; read when first asked for."""
        if self._names is None:
            self._names = list(self._read_names())
        return self._names

    def _read_names(self) -> Iterator[str]:
        numbers = iter(range(len(self)))
        for block, (file, group) in enumerate(self._groups):
            paths: Iterable[str | None] = [None] * int(self.block_sizes[block])
            if self._has_paths:
                table = self._read_group(file, group, f"{self._image_column}.path")
                values = table.column(self._image_column).to_pylist()
                paths = (image_bytes(value)[1] for value in values)
            for path in paths:
                yield self._name(file, next(numbers), path)

    def _name(self, file: int, number: int, path: str | None) -> str:
        row = number - self._first_of_file[file]
        return str(path) if path else f"{self._paths[file].name} row {row}"

    def _table(self, block: int) -> Any:
        table = self._tables.get(block)
        if table is None:
            file, group = self._groups[block]
            table = self._read_group(file, group, self._image_column)
            self._tables[block] = table
            mean_size = len(self) / len(self._groups)
            if len(self._tables) > max(1, round(WINDOW_SAMPLES / mean_size)):
                self._tables.popitem(last=False)
        self._tables.move_to_end(block)
        return table

    def _read_group(self, file: int, group: int, column: str) -> Any:
        try:
            return self._files[file].read_row_group(group, columns=[column])
        except (OSError, ValueError) as error:
            raise DataError(
                f"a Parquet file must be whole, got {self._paths[file]} ({error}); fetch it again"
            ) from None

    def _read_labels(self, column: str) -> list[Any]:
        tables = (file.read(columns=[column]) for file in self._files)
        return [value for table in tables for value in table.column(column).to_pylist()]


def _refuse(path: str | None) -> Payload:
    if path is None:
        raise ImageError("its row holds no image")
    raise ImageError(
        "its row names a file and holds no bytes: write the Parquet files with the bytes in them, "
        "or pack the folder of the files"
    )


def find_parquet_files(spec: str) -> list[Path]:
    """The Parquet files of a folder (at any depth), a glob, or a single path; sorted."""
    path = Path(spec)
    if path.is_dir():
        return sorted(path / name for name, entry in walk_files(path) if _is_parquet(entry))
    if path.is_file():
        return [path]
    matches = (Path(match) for match in glob.glob(spec) if is_parquet_name(match))
    return sorted(match for match in matches if match.is_file())


def is_parquet_name(name: str) -> bool:
    """Whether a file is called like a Parquet file."""
    return name.lower().endswith(PARQUET_ENDINGS)


def is_parquet_folder(folder: Path) -> bool:
    """Whether Parquet files of images lie in a folder, or where Hugging Face's repositories do.

    A table about images, `metadata.parquet` or one without a column of them, is none.
    """
    inner = (folder / name for name in (".", "data", "train"))
    entries = [entry for place in inner if place.is_dir() for entry in list_folder(place)]
    paths = [Path(entry) for entry in entries if not is_folder(entry) and _is_parquet(entry)]
    return any(_holds_images(path) for path in paths if path.stem.lower() != "metadata")


def _is_parquet(entry: os.DirEntry[str]) -> bool:
    # macOS leaves a hidden ._x.parquet on foreign disks.
    return is_parquet_name(entry.name) and entry.name[0] != "." and not is_special(entry)


def _holds_images(path: Path) -> bool:
    """Also where it cannot be told, so that reading it says why."""
    parquet = optional_library("pyarrow.parquet", "a Parquet file", "pyarrow")
    try:
        return has_images(parquet.read_schema(path))
    except (OSError, ValueError):  # pyarrow's errors are kinds of these
        return True


def _notes(
    num_files: int, num_all: int, image: str, label: str | None, schema: Any
) -> Iterator[str]:
    of_all = f"{num_files}{f' of {num_all}' if num_all > num_files else ''}"
    labels = "no labels" if label is None else f"labels in {label!r}"
    yield f"{of_all} file{'s' * (num_all > 1)}, images in {image!r}, {labels}"
    others = [name for name in schema.names if name not in (image, label)]
    if label is None and others:
        yield (
            f"no column is called label: {', '.join(others[:4])} are not read; rename the one that "
            f"holds the class"
        )
