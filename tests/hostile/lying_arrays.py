"""Array files that lie: odd and huge headers, objects that are pickles, zips that are bombs.

Headers are written by hand, since numpy writes none of these.
"""

import io
import pickle
import struct
import zipfile
from typing import Any

import numpy as np
from hostile.damaged_bytes import Draw, picker
from hypothesis import strategies as st

from shards.format import INDEX_DTYPE

_SHAPES = "() (0,) (-1,) (1,) (5,) (10**4,) (9999999999,) (2**70,) (None,) ('5',) 5 (5.0,) (True,)"
_SHAPES += " (9223372036854775807,) (4294967296,4294967296) (1,)*40 [5] (5,0) (2,2)"
_DTYPES = "'<u1' '<f8' '>i8' '|O' '<U5' '<U999999999' '|V0' '|V32' '|V2147483647' '<M8[ns]' None []"
_DTYPES += " [('a','|O')] [('a','<i4',(99999,99999))] ('<i4',(2**30,)) [('a','<u8'),('a','<u8')]"
_DTYPES += " {'names':[]} '<c16' '|b1' '<i4,O' 'nonsense'"
_LONG = ("(" * 9_000, "{'a': " * 1_500, "'" * 9_999, "#" * 60_000, "-" * 9_900, "(1" + ",1" * 90)
_ODD_RECORDS = (0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1)


class _Runs:
    """Unpickling it would be running code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("a pickle was run",))


def npy_bytes(array: np.ndarray) -> bytes:
    """The array as numpy saves it."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@st.composite
def lying_npy(draw: Draw, good: bytes) -> tuple[str, bytes]:
    """An .npy file with something wrong in its header or its pickle, and what."""
    pick, data = picker(draw), good[10 + struct.unpack("<H", good[8:10])[0] :]
    kind = pick("header", "header", "header", "object", "version", "zip", "long header")
    if kind == "object":
        objects = np.array([_Runs(), 1, "x"], dtype=object)
        return kind, pick(npy_bytes(objects), pickle.dumps(_Runs()), b"\x80\x04.")
    if kind == "version":
        version = bytes(pick(0, 1, 2, 3, 4, 255) for _ in range(2))
        return kind, b"\x93NUMPY" + version + struct.pack("<I", pick(0, 100, 2**32 - 1)) + good[10:]
    if kind == "zip":
        return kind, zipped({pick("a.npy", "index.npy", "arr_0"): good})
    if kind == "long header":
        return kind, _npy(pick(*_LONG), data)
    descr = pick(repr(INDEX_DTYPE.descr), pick(*_DTYPES.split()))
    shape = pick(f"({len(data) // INDEX_DTYPE.itemsize},)", pick(*_SHAPES.split()))
    order = pick("False", "False", "True", "None", "3")
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"
    return kind, _npy(pick(header, header, header[:-3], header + "x", "{}"), data)


@st.composite
def lying_records(draw: Draw, good: bytes) -> tuple[str, bytes]:
    """A whole index whose records say what is not so."""
    pick, records = picker(draw), np.load(io.BytesIO(good))
    for _ in range(pick(1, 1, 3)):
        values = records[pick(*records.dtype.names)]
        value = pick(*_ODD_RECORDS) & ((1 << 8 * values.itemsize) - 1)
        at = draw(st.integers(0, len(values) - 1))
        values[at] = np.array(value, np.uint64).astype(values.dtype)
    return "records", npy_bytes(records)


@st.composite
def lying_npz(draw: Draw, good: bytes) -> tuple[str, bytes]:
    """A plan file with wrong members, and what is wrong."""
    pick = picker(draw)
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = pick(*members)
    kind = pick("array", "array", "header", "bomb", "name", "compression")
    method = zipfile.ZIP_STORED
    if kind == "array":
        members[name] = npy_bytes(_other_array(draw, np.load(io.BytesIO(members[name]))))
    elif kind == "header":
        members[name] = draw(lying_npy(members[name]))[1]
    elif kind == "bomb":  # a thousand times the size of the file once it is unpacked
        count, method = pick(10**6, 10**7), zipfile.ZIP_DEFLATED
        header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({count},), }}"
        members[name] = _npy(header, bytes(count))
    elif kind == "name":
        data = members.pop(name)
        members[pick("x.npy", "../../x.npy", name[:-4], name.upper(), "a/" + name)] = data
    else:
        method = pick(zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    return kind, zipped(members, method)


def _other_array(draw: Draw, array: np.ndarray) -> Any:
    """Another value: a border of its type or nan; or another shape, or another type."""
    pick = picker(draw)
    change = pick("value", "value", "value", "shape", "type")
    rows = np.atleast_1d(array)
    if change == "shape":
        how = pick("none", "nested", "flat", "twice")
        return {"none": rows[:0], "nested": array[None], "flat": array.reshape(-1)}.get(
            how, np.concatenate([rows] * 2)
        )
    if change == "type":
        kinds = ("<f8", "<i1", "<c16", "<U3", "|S2", "|V4", "<M8[s]", "|b1")
        return np.zeros(array.shape, pick(*kinds))
    if array.size and array.dtype.kind in "iuf":
        array, is_float = np.array(array), array.dtype.kind == "f"
        limits = np.finfo(array.dtype) if is_float else np.iinfo(array.dtype)
        odd = (np.nan, np.inf, -np.inf, -1) if is_float else (limits.max - 1,)
        at = draw(st.integers(0, array.size - 1))
        array.reshape(-1)[at] = pick(0, 1, limits.max, limits.min, *odd)
    return array


def _npy(header: str, data: bytes) -> bytes:
    """An .npy file with any header."""
    text = header.encode("latin-1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) & 0xFFFF) + text + data
