"""Parquet files in the Hugging Face image layout: images as struct{bytes, path}, maybe labels.

    data/train-00000-of-00002.parquet     the split is the file name's or the folder's first word
    image: struct<bytes: binary, path: string>, label: int64

Class names come from the schema's `huggingface` metadata when it has them. A row is only cheap to
read with its whole row group, so these are the source's blocks, and the latest stay in memory.
"""

import glob
import json
import re
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shards.errors import DataError, UsageError
from shards.format import NO_LABEL
from shards.sources.raw import WINDOW_SAMPLES, RawSample, fingerprint_of

_IMAGE_COLUMNS = ("image", "img")
_LABEL_COLUMNS = ("label", "labels", "fine_label")
_SPLITS = {"train": ("train",), "test": ("test",), "validation": ("validation", "valid", "val")}


class ParquetSource:
    """One split of a data set in Parquet files."""

    kind = "parquet"
    stores_names = True

    def __init__(self, spec: str, split: str | None = None) -> None:
        parquet = _import_parquet()
        paths = _choose_split(find_parquet_files(spec), split, spec)
        try:
            self._files = [parquet.ParquetFile(path) for path in paths]
            schema = self._files[0].schema_arrow
            self._image_column, label_column = _choose_columns(schema, paths[0])
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
        self.classes, self._labels = _number_labels(values, _class_names(schema, label_column))
        self.notes = (
            f"{len(paths)} files, images in {self._image_column!r}, labels in {label_column!r}",
        )
        self.fingerprint = fingerprint_of(
            f"{path.name}\0{path.stat().st_size}\0{file.metadata.num_rows}"
            for path, file in zip(paths, self._files, strict=True)
        )
        self._paths = paths
        self._tables: OrderedDict[int, Any] = OrderedDict()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, number: int) -> RawSample:
        block = int(np.searchsorted(self._starts, number, side="right")) - 1
        row = number - int(self._starts[block])
        value = self._table(block).column(self._image_column)[row].as_py()
        path = None
        if isinstance(value, dict):
            value, path = value.get("bytes"), value.get("path")
        name = path or f"{self._paths[self._groups[block][0]].name} row {number}"
        label = NO_LABEL if self._labels is None else int(self._labels[number])
        # A row that only names a file elsewhere has no bytes, and is refused as an empty image.
        return RawSample(str(name), label, value or b"")

    def _table(self, block: int) -> Any:
        table = self._tables.get(block)
        if table is None:
            file, group = self._groups[block]
            table = self._read_group(file, group)
            self._tables[block] = table
            mean_size = len(self) / len(self._groups)
            if len(self._tables) > max(1, round(WINDOW_SAMPLES / mean_size)):
                self._tables.popitem(last=False)
        self._tables.move_to_end(block)
        return table

    def _read_group(self, file: int, group: int) -> Any:
        try:
            return self._files[file].read_row_group(group, columns=[self._image_column])
        except (OSError, ValueError) as error:
            raise DataError(
                f"a Parquet file must be whole, got {self._paths[file]} ({error}); fetch it again"
            ) from None

    def _read_labels(self, column: str) -> list[Any]:
        tables = (file.read(columns=[column]) for file in self._files)
        return [value for table in tables for value in table.column(column).to_pylist()]


def find_parquet_files(spec: str) -> list[Path]:
    """The Parquet files of a folder (at any depth), a glob, or a single path; sorted."""
    path = Path(spec)
    if path.is_dir():
        return sorted(path.rglob("*.parquet"))
    if path.is_file():
        return [path]
    return sorted(Path(match) for match in glob.glob(spec) if match.endswith(".parquet"))


def is_parquet_folder(folder: Path) -> bool:
    """Whether Parquet files lie in a folder, or where Hugging Face's repositories have them."""
    return any(next((folder / inner).glob("*.parquet"), None) for inner in (".", "data", "train"))


def _import_parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise UsageError(
            "Parquet files need pyarrow, which is not installed; pip install pyarrow"
        ) from None
    return pyarrow.parquet


def _choose_split(paths: list[Path], split: str | None, spec: str) -> list[Path]:
    """The files of a split; without splits in their names, all of them."""
    if split is not None and split not in _SPLITS:
        raise UsageError(f"Parquet files have the splits {', '.join(_SPLITS)}, got {split!r}")
    of_split = {name: [p for p in paths if _split_of(p) == name] for name in _SPLITS}
    wanted = of_split[split or "train"]
    if wanted:
        return wanted
    found = [name for name, files in of_split.items() if files]
    if split is None and len(found) <= 1:
        return paths
    raise UsageError(
        f"--split must name a part of SOURCE, got {split or 'none'} for {spec} with "
        f"{', '.join(found) or 'no splits in the file names'}; give one of these"
    )


def _split_of(path: Path) -> str | None:
    """The split a file is of, by the first word of its name, else of its folder's."""
    for name in (path.stem, path.parent.name):
        word = re.split(r"[-_.]", name.lower(), maxsplit=1)[0]
        for split, words in _SPLITS.items():
            if word in words:
                return split
    return None


def _choose_columns(schema: Any, path: Path) -> tuple[str, str | None]:
    """The image column and the label column, if any."""
    import pyarrow.types as types

    images = [
        field.name
        for field in schema
        if (types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0)
        or (types.is_binary(field.type) and field.name in _IMAGE_COLUMNS)
    ]
    named = [name for name in _IMAGE_COLUMNS if name in images]
    if not named and len(images) != 1:
        raise UsageError(
            f"a Parquet file of images has a column image of struct(bytes, path), got the columns "
            f"{', '.join(schema.names)} in {path}; rename the one you mean"
        )
    plain = {f.name for f in schema if types.is_integer(f.type) or types.is_string(f.type)}
    label = next((name for name in _LABEL_COLUMNS if name in plain), None)
    return (named or images)[0], label


def _class_names(schema: Any, label_column: str | None) -> tuple[str, ...]:
    """Names from the metadata that Hugging Face's `datasets` writes, empty without them."""
    try:
        content = json.loads((schema.metadata or {})[b"huggingface"])
        return tuple(map(str, content["info"]["features"][label_column]["names"]))
    except (KeyError, TypeError, ValueError):
        return ()


def _number_labels(
    values: Sequence[Any], names: tuple[str, ...]
) -> tuple[tuple[str, ...], np.ndarray | None]:
    """Class names and class numbers [N] int32 of a label column's values."""
    if not values:
        return (), None
    if any(isinstance(value, str) for value in values):
        names = tuple(sorted({value for value in values if value is not None}))
        number = {name: i for i, name in enumerate(names)}
        values = [None if value is None else number[value] for value in values]
    numbers = [NO_LABEL if value is None or value < 0 else value for value in values]
    labels = np.array(numbers, dtype=np.int32)
    num_classes = int(labels.max(initial=NO_LABEL)) + 1
    return names if num_classes <= len(names) else tuple(map(str, range(num_classes))), labels
