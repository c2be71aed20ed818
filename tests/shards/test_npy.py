"""Array files are believed as far as their bytes go: anything else is one kind of error."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from shards.format import INDEX_DTYPE
from shards.npy import ArrayError, map_array, read_npz

HEADER = "{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + data


def index_header(descr: object = INDEX_DTYPE.descr, fortran: str = "False", shape: str = "(2,)"):
    return HEADER.format(descr=descr, fortran=fortran, shape=shape)


DATA = bytes(2 * INDEX_DTYPE.itemsize)
WRONG = {
    "too long": npy(index_header(shape="(3,)"), DATA),
    "too short": npy(index_header(shape="(1,)"), DATA),
    "huge": npy(index_header(shape="(9223372036854775807,)"), DATA),
    "negative": npy(index_header(shape="(-1,)"), DATA),
    "two axes": npy(index_header(shape="(2, 1)"), DATA),
    "columns first": npy(index_header(fortran="True"), DATA),
    "objects": npy(index_header(descr="'|O'"), bytes(16)),
    "another type": npy(index_header(descr="'<u4'"), bytes(8)),
    "a cut header": npy(index_header()[:-4], DATA),  # a TokenError in numpy
    "a deep header": npy("(" * 9000, DATA),  # a MemoryError there
    "another version": npy(index_header(), DATA, b"\x02\x00"),
    "a pickle": b"\x80\x04N.",
    "a zip": b"PK\x03\x04" + DATA,  # no array at all for numpy
    "nothing": b"",
}


def test_a_whole_file_is_mapped(tmp_path: Path) -> None:
    """What numpy saves comes back, without being read."""
    records = np.zeros(5, INDEX_DTYPE)
    records["size"] = np.arange(5)
    np.save(tmp_path / "x.npy", records)
    mapped = map_array(tmp_path / "x.npy", INDEX_DTYPE)
    assert mapped["size"].tolist() == [0, 1, 2, 3, 4]
    assert not mapped.flags.owndata


@pytest.mark.parametrize("kind", WRONG)
def test_anything_else_is_refused(kind: str, tmp_path: Path) -> None:
    """Whatever the header says, it is an ArrayError."""
    (tmp_path / "x.npy").write_bytes(WRONG[kind])
    with pytest.raises(ArrayError):
        map_array(tmp_path / "x.npy", INDEX_DTYPE)


def write_zip(path: Path, members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_an_npz_is_read(tmp_path: Path) -> None:
    """Arrays of any shape come back equal and may be written to."""
    np.savez(tmp_path / "x.npz", a=np.arange(6).reshape(2, 3), b=np.float32(1.5))
    arrays = read_npz(tmp_path / "x.npz", ["a", "b"])
    assert arrays["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert arrays["b"].shape == ()
    arrays["a"][0, 0] = 7


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """A packed array is refused for being packed, before any of it is."""
    path = tmp_path / "x.npz"
    write_zip(path, [("a.npy", saved(np.zeros(10**6)))], zipfile.ZIP_DEFLATED)
    with pytest.raises(ArrayError, match="not be compressed"):
        read_npz(path, ["a"])


@pytest.mark.parametrize("names", [["b.npy"], ["a.npy", "b.npy"], ["../a.npy"], ["a"], []])
def test_other_members_are_named(names: list[str], tmp_path: Path) -> None:
    """Missing, more and misnamed arrays."""
    write_zip(tmp_path / "x.npz", [(name, saved(np.zeros(2))) for name in names])
    with pytest.raises(ArrayError, match=r"must hold 1 arrays, differs in"):
        read_npz(tmp_path / "x.npz", ["a"])


@pytest.mark.parametrize("size", [0, 10, 100, 200, -1])
def test_a_damaged_zip_is_refused(size: int, tmp_path: Path) -> None:
    """Cut anywhere, or with a flipped byte in the data."""
    path = tmp_path / "x.npz"
    write_zip(path, [("a.npy", saved(np.arange(9)))])
    data = path.read_bytes()
    path.write_bytes(data[:size] if size >= 0 else data.replace(b"\x05\0\0", b"\x06\0\0"))
    with pytest.raises(ArrayError, match=r"no whole \.npz"):
        read_npz(path, ["a"])
