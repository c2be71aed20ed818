"""Arrays from files that may lie about themselves: a header counts for as much as lies behind it.

`store.py` maps index.npy through here and `augengine/plan.py` reads its .npz. numpy's own readers
allocate whatever a header claims, unpack what is packed a thousandfold, and raise nearly anything.
"""

import math
import mmap
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

import numpy as np

# A larger file is looked up here and there, and should not be read ahead; a smaller one soon lies
# in memory as a whole.
_LARGE_BYTES = 1 << 30
_MAGIC = b"\x93NUMPY\x01\x00"  # the version that numpy writes for any plain array


class ArrayError(ValueError):
    """A file that holds no such arrays; the message is the reason."""


def map_array(path: Path, dtype: np.dtype) -> np.ndarray:
    """Map the one-dimensional array of an .npy file without reading it; raises as `read_npz`."""
    with open(path, "rb") as file:
        shape, found, start = _read_header(file)
        size_bytes = file.seek(0, 2)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if found != dtype or len(shape) != 1 or shape[0] * dtype.itemsize != size_bytes - start:
        raise ArrayError(f"it must hold whole records, got {shape} in {size_bytes} bytes")
    if size_bytes > _LARGE_BYTES and hasattr(mmap, "MADV_RANDOM"):
        mapped.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(mapped, dtype, offset=start)


def read_npz(path: Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """The arrays of an uncompressed .npz that holds exactly these names.

    Raises:
        ArrayError: anything else, or a file that is damaged.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _read_members(archive, names)
        except (ArrayError, OSError):
            raise
        except Exception as error:  # zipfile raises nearly anything at damage
            raise ArrayError(f"it is no whole .npz file ({error})") from None


def _read_members(archive: zipfile.ZipFile, names: Collection[str]) -> dict[str, np.ndarray]:
    found = sorted(info.filename for info in archive.infolist())
    if found != sorted(f"{name}.npy" for name in names):
        odd = set(found) ^ {f"{name}.npy" for name in names}
        raise ArrayError(f"it must hold {len(names)} arrays, differs in {', '.join(sorted(odd))}")
    if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
        raise ArrayError("its arrays must not be compressed")
    return {name: _read_member(archive, name) for name in names}


def _read_member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    # Stored, so it is no longer than the file.
    data = archive.read(f"{name}.npy")
    with archive.open(f"{name}.npy") as file:
        shape, dtype, start = _read_header(file)  # type: ignore[arg-type]
    if math.prod(shape) * dtype.itemsize != len(data) - start:
        raise ArrayError(f"{name} must be as long as its header says, {shape} of {dtype}")
    return np.frombuffer(data, dtype, offset=start).reshape(shape).copy()


def _read_header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, type and where the data starts."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ArrayError("it must be an .npy file of version 1.0")
    try:
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    except Exception as error:  # Python's parser does not take everything for a syntax error
        raise ArrayError(f"its header cannot be parsed ({type(error).__name__})") from None
    if dtype.hasobject or is_fortran or not dtype.itemsize or any(length < 0 for length in shape):
        raise ArrayError(f"it must hold plain rows, got {shape} of {dtype}")
    return shape, dtype, file.tell()
