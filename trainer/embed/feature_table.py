"""A file of features: written from parts in bounded memory, read by whoever works with it.

    FEATURES.npy       [N] records of id, name, key, shard, label, features
    FEATURES.npy.json  what they are of: encoder, views, set
    FEATURES.parquet   the same columns, a row group a part; what they are of in its own metadata

Texts of an .npy are UTF-8 bytes of one width, so that the file can be mapped.
"""

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shards.atomic import atomic_file, write_whole
from shards.errors import DataError, UsageError
from shards.plugins.optional_library import optional_library
from trainer.embed.feature_parts import FeatureParts

SUFFIXES = (".parquet", ".npy")
TEXTS = ("name", "key", "shard")
_FACTS = b"augengine"  # key of the metadata of a Parquet file
_NEEDED = ("id", *TEXTS, "label", "features")


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """Features with whose they are."""

    facts: Mapping[str, Any]  # encoder, data, classes, ...; empty where they got lost
    ids: np.ndarray  # [N] int64
    names: list[str]
    keys: list[str]
    shards: list[str]
    labels: np.ndarray  # [N] int32
    features: np.ndarray  # [N, D] float16 or float32, perhaps mapped

    def __len__(self) -> int:
        return len(self.ids)


def write_table(
    parts: FeatureParts, out: Path, facts: Mapping[str, Any], on_part: Callable[[int], None]
) -> int:
    """Write all parts as one file, whole or not at all; returns the number of rows."""
    neighbours = facts["neighbours"]
    widths: dict[str, int] = dict.fromkeys(TEXTS, 1)
    num_rows = 0
    for part in range(parts.num_parts):
        rows = parts.read(part)
        num_rows += len(rows)
        widths = {name: max(width, rows[name].dtype.itemsize) for name, width in widths.items()}
    write = _write_npy if out.suffix.lower() == ".npy" else _write_parquet
    write(parts, out, facts, _dtype(parts, widths, neighbours), num_rows, on_part)
    return num_rows


def read_facts(path: Path) -> Mapping[str, Any]:
    """The identity of features; DataError when the file is none of ours or torn."""
    return read_features(path).facts if path.suffix.lower() == ".npy" else _parquet_facts(path)


def read_features(path: Path) -> FeatureTable:
    """A file that `trainer.embed` has written.

    Raises:
        UsageError: no such file, another ending, or pyarrow is needed and absent.
        DataError: torn, or not written by trainer.embed.
    """
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        found = "which is not there" if not path.exists() else "which is not"
        raise UsageError(
            f"features are a file that ends with {' or '.join(SUFFIXES)}, got {path}, {found}; "
            "make one with python -m trainer.embed"
        )
    return _read_npy(path) if path.suffix.lower() == ".npy" else _read_parquet(path)


def require_pyarrow() -> Any:
    """The library; UsageError when it is not installed."""
    return optional_library("pyarrow", "a .parquet", "'pyarrow>=15', or let --out end with .npy")


def _dtype(parts: FeatureParts, widths: Mapping[str, int], neighbours: int) -> np.dtype:
    """Of a row, with texts as wide as the longest."""
    rows = parts.read(0)
    fields = [
        (name, f"S{widths[name]}" if name in widths else rows.dtype[name])
        for name in rows.dtype.names or ()
    ]
    near = parts.read(0, neighbours).dtype if neighbours else np.dtype([])
    return np.dtype([*fields, *((name, near[name]) for name in near.names or ())])


def _rows(parts: FeatureParts, part: int, dtype: np.dtype, neighbours: int) -> np.ndarray:
    rows = np.zeros(len(parts.read(part)), dtype)
    for source in (parts.read(part), *([parts.read(part, neighbours)] if neighbours else [])):
        for name in source.dtype.names or ():
            rows[name] = source[name]
    return rows


def _write_npy(
    parts: FeatureParts, out: Path, facts: Mapping[str, Any], dtype: np.dtype, num_rows: int,
    on_part: Callable[[int], None],
) -> None:  # fmt: skip
    head = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
    # No features lie there at any moment without saying, or by saying wrongly, whose they are.
    out.unlink(missing_ok=True)
    write_whole(_facts_path(out), json.dumps(facts, indent=1) + "\n")
    with atomic_file(out) as file:
        np.lib.format.write_array_header_1_0(file, {**head, "shape": (num_rows,)})
        for part in range(parts.num_parts):
            file.write(_rows(parts, part, dtype, facts["neighbours"]).tobytes())
            on_part(part)


def _write_parquet(
    parts: FeatureParts, out: Path, facts: Mapping[str, Any], dtype: np.dtype, num_rows: int,
    on_part: Callable[[int], None],
) -> None:  # fmt: skip
    arrow, names = require_pyarrow(), dtype.names or ()
    parquet = importlib.import_module("pyarrow.parquet")

    def type_of(name: str) -> Any:
        inner, shape = dtype[name].subdtype or (dtype[name], ())
        kind = arrow.string() if name in TEXTS else arrow.from_numpy_dtype(inner)
        return arrow.list_(kind, shape[0]) if shape else kind

    def column(name: str, values: np.ndarray) -> Any:
        if name in TEXTS:
            return arrow.array([_text(x) for x in values.tolist()], arrow.string())
        if values.ndim == 1:
            return arrow.array(values)
        flat = arrow.array(values.reshape(-1))
        return arrow.FixedSizeListArray.from_arrays(flat, values.shape[1])

    types = [(name, type_of(name)) for name in names]
    schema = arrow.schema(types, metadata={_FACTS: json.dumps(facts).encode()})
    with atomic_file(out) as file, parquet.ParquetWriter(file, schema) as writer:
        for part in range(parts.num_parts):
            rows = _rows(parts, part, dtype, facts["neighbours"])
            columns = [column(name, np.ascontiguousarray(rows[name])) for name in names]
            writer.write_table(arrow.Table.from_arrays(columns, schema=schema))
            on_part(part)


def _read_npy(path: Path) -> FeatureTable:
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
        names = rows.dtype.names or ()
        if rows.ndim != 1 or not set(_NEEDED) <= set(names) or rows["features"].ndim != 2:
            raise ValueError(f"it has {', '.join(names) or 'plain numbers'}")
        facts_path = _facts_path(path)
        facts = json.loads(facts_path.read_text("utf-8")) if facts_path.is_file() else {}
    except (OSError, ValueError, EOFError, TypeError, SyntaxError) as error:
        raise _torn(path, error) from error
    names, keys, shards = ([_text(text) for text in rows[name].tolist()] for name in TEXTS)
    labels, features = np.array(rows["label"]), rows["features"]
    return FeatureTable(facts, np.array(rows["id"]), names, keys, shards, labels, features)


def _read_parquet(path: Path) -> FeatureTable:
    arrow = require_pyarrow()
    parquet = importlib.import_module("pyarrow.parquet")
    try:
        table = parquet.read_table(path, columns=list(_NEEDED))
        facts = json.loads((table.schema.metadata or {})[_FACTS])
        kind = table.schema.field("features").type
        chunks = [chunk.flatten().to_numpy() for chunk in table["features"].chunks]
        empty = np.empty(0, kind.value_type.to_pandas_dtype())
        features = np.concatenate([empty, *chunks]).reshape(-1, kind.list_size)
    except (OSError, ValueError, KeyError, AttributeError, arrow.ArrowException) as error:
        raise _torn(path, error) from error
    names, keys, shards = (table[name].to_pylist() for name in TEXTS)
    ids, labels = (table[name].to_numpy() for name in ("id", "label"))
    return FeatureTable(facts, ids, names, keys, shards, labels, features)


def _parquet_facts(path: Path) -> Mapping[str, Any]:
    arrow = require_pyarrow()
    parquet = importlib.import_module("pyarrow.parquet")
    try:
        return json.loads((parquet.read_schema(path).metadata or {})[_FACTS])
    except (OSError, ValueError, KeyError, arrow.ArrowException) as error:
        raise _torn(path, error) from error


def _torn(path: Path, error: Exception) -> DataError:
    return DataError(
        f"features are a whole file of trainer.embed, got {path} ({type(error).__name__}: "
        f"{str(error).partition(chr(10))[0]}); make it again"
    )


def _facts_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _text(text: bytes) -> str:
    return text.decode("utf-8", "replace")
