"""Array files that lie: odd and huge headers, objects that are pickles, zips that are bombs.

`fuzz_kinds.py` uses it for index.npy and for plans. Headers are written by hand, since numpy writes
none of these.
"""

import io
import pickle
import random
import struct
import zipfile
from collections.abc import Callable

import numpy as np

from shards.format import INDEX_DTYPE

_SHAPES = (
    *("()", "(0,)", "(-1,)", "(1,)", "(5,)", "(2, 2)", "(10**4,)", "(9999999999,)", "(2**70,)"),
    *("(9223372036854775807,)", "(4294967296, 4294967296)", "(1,) * 40", "(None,)", "('5',)", "5"),
    *("(5.0,)", "(True,)", "(5, 0)", "(1, 1, 1, 5)", "[5]", "(1" + ",1" * 90 + ")"),
)
_DTYPES = (
    *(
        "'<u1'",
        "'<f8'",
        "'>i8'",
        "'|O'",
        "'<U5'",
        "'<U999999999'",
        "'|V0'",
        "'|V32'",
        "'|V2147483647'",
    ),
    *("'<M8[ns]'", "'nonsense'", "[('a', '|O')]", "[('a', '<i4', (99999, 99999))]", "[]", "None"),
    *(
        "('<i4', (2**30,))",
        "[('a', '<u8'), ('a', '<u8')]",
        "{'names': []}",
        "'<c16'",
        "'|b1'",
        "'<i4,O'",
    ),
)
_ODD_RECORDS = (0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1)


class _Runs:
    """Unpickling it would be running code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("a pickle was run",))


def npy(header: str, data: bytes, version: bytes = b"\x01\x00") -> bytes:
    """An .npy file with any header."""
    text = header.encode("latin-1") + b"\n"
    form = "<H" if version == b"\x01\x00" else "<I"
    return b"\x93NUMPY" + version + struct.pack(form, len(text) & 0xFFFF) + text + data


def hostile_npy(good: bytes, rng: random.Random) -> tuple[str, bytes]:
    """An .npy file with something wrong in its header or its pickle, and what."""
    start = 10 + struct.unpack("<H", good[8:10])[0]
    data = good[start:]
    kind = rng.choice(("header", "header", "header", "object", "version", "zip", "long header"))
    if kind == "object":
        buffer = io.BytesIO()
        np.save(buffer, np.array([_Runs(), 1, "x"], dtype=object), allow_pickle=True)
        return kind, rng.choice((buffer.getvalue(), pickle.dumps(_Runs()), b"\x80\x04."))
    if kind == "version":
        version = bytes(rng.choice((0, 1, 2, 3, 4, 255)) for _ in range(2))
        length = struct.pack("<I", rng.choice((0, 100, 2**31, 2**32 - 1)))
        return kind, b"\x93NUMPY" + version + length + good[10:]
    if kind == "zip":
        return kind, _zip({rng.choice(("a.npy", "index.npy", "arr_0")): good}, zipfile.ZIP_STORED)
    if kind == "long header":
        text = rng.choice(("(" * 9_000, "{'a': " * 1_500, "'" * 9_999, "#" * 60_000, "-" * 9_900))
        return kind, npy(text, data)
    descr = rng.choice((repr(INDEX_DTYPE.descr), rng.choice(_DTYPES)))
    shape = rng.choice((f"({len(data) // INDEX_DTYPE.itemsize},)", rng.choice(_SHAPES)))
    order = rng.choice(("False", "False", "True", "None", "3"))
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"
    return kind, npy(rng.choice((header, header, header[:-3], header + "x", "{}")), data)


def lying_records(good: bytes, rng: random.Random) -> tuple[str, bytes]:
    """A whole index whose records say what is not so."""
    records = np.load(io.BytesIO(good))
    for _ in range(rng.choice((1, 1, 3))):
        name = rng.choice(records.dtype.names)
        values = records[name]
        value = rng.choice(_ODD_RECORDS) & ((1 << 8 * values.itemsize) - 1)
        values[rng.randrange(len(values))] = np.array(value, np.uint64).astype(values.dtype)
    buffer = io.BytesIO()
    np.save(buffer, records)
    return "records", buffer.getvalue()


def hostile_npz(good: bytes, rng: random.Random) -> tuple[str, bytes]:
    """A plan file with wrong members, and what is wrong."""
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    kind = rng.choice(list(_HOSTILE_NPZ))
    name = rng.choice(list(members))
    method = _HOSTILE_NPZ[kind](members, name, rng)
    return kind, _zip(members, method)


def _replace_array(members: dict[str, bytes], name: str, rng: random.Random) -> int:
    """Other values in an array: a border of its type, nan, another shape or another type."""
    array = np.load(io.BytesIO(members[name]))
    change = rng.choice(("value", "value", "value", "shape", "type"))
    if change == "shape":
        rows = np.atleast_1d(array)
        array = rng.choice((rows[:0], array[None], array.reshape(-1), np.concatenate([rows] * 2)))
    elif change == "type":
        kinds = ("<f8", "<i1", "<c16", "<U3", "|S2", "|V4", "<M8[s]", "|b1")
        array = np.zeros(array.shape, rng.choice(kinds))
    elif array.size and array.dtype.kind in "iuf":
        array = np.array(array)
        limits = np.finfo(array.dtype) if array.dtype.kind == "f" else np.iinfo(array.dtype)
        odd = [0, 1, -1 if array.dtype.kind != "u" else 2, limits.max, limits.min]
        odd += [np.nan, np.inf, -np.inf] if array.dtype.kind == "f" else [limits.max - 1]
        array.reshape(-1)[rng.randrange(array.size)] = rng.choice(odd)
    buffer = io.BytesIO()
    np.save(buffer, array)
    members[name] = buffer.getvalue()
    return zipfile.ZIP_STORED


def _replace_header(members: dict[str, bytes], name: str, rng: random.Random) -> int:
    members[name] = hostile_npy(members[name], rng)[1]
    return zipfile.ZIP_STORED


def _bomb(members: dict[str, bytes], name: str, rng: random.Random) -> int:
    """A thousand times the size of the file once it is unpacked."""
    count = rng.choice((10**6, 10**7))
    members[name] = npy(
        f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({count},), }}", bytes(count)
    )
    return zipfile.ZIP_DEFLATED


def _rename(members: dict[str, bytes], name: str, rng: random.Random) -> int:
    data = members.pop(name)
    if rng.random() < 0.7:
        members[rng.choice(("x.npy", "../../x.npy", name[:-4], name.upper(), "a/" + name))] = data
    return zipfile.ZIP_STORED


def _compress(members: dict[str, bytes], name: str, rng: random.Random) -> int:
    return rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))


_HOSTILE_NPZ: dict[str, Callable[[dict[str, bytes], str, random.Random], int]] = {
    "array": _replace_array,
    "header": _replace_header,
    "bomb": _bomb,
    "name": _rename,
    "compression": _compress,
}


def _zip(members: dict[str, bytes], method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()
