"""CIFAR-10 and CIFAR-100 as their python archives: a folder of batch files, or the .tar.gz.

    cifar-10-batches-py/    data_batch_1 .. data_batch_5, test_batch, batches.meta
    cifar-100-python/       train, test, meta    (the 100 fine classes)

Batches are pickles, and a pickle is a program: the unpickler here knows how to make arrays and
plain containers and refuses everything else, so that loading a file never runs what somebody put
into it. The format: https://www.cs.toronto.edu/~kriz/cifar.html.
"""

import io
import itertools
import pickle
import re
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.errors import DataError, UsageError
from shards.sources.raw import RawSample, fingerprint_of

_SIDE_PX = 32
_SPLITS = ("train", "test")
_MAX_BATCH_BYTES = 1 << 30
# Parts of the two archives: split to batch files, then the file with class names and its key.
_CIFAR10 = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
_ARCHIVE_NAME = re.compile(r"cifar-100?-python.*\.(tar\.gz|tgz)")
_SHOWN_NAMES = ("batches.meta", "data_batch_1", "data_batch_4", "cifar-100-python")
_SHOWING = 8  # members at the start of an archive that are looked at
_CIFAR100 = {"train": ["train"], "test": ["test"]}


class CifarSource:
    """One split of CIFAR-10 or CIFAR-100."""

    kind = "cifar"
    names = None
    stores_names = False
    block_sizes = None
    notes = ()

    def __init__(self, path: Path, split: str | None = None) -> None:
        if split not in (None, *_SPLITS):
            raise UsageError(f"CIFAR has the splits train and test, got {split!r}")
        self._split = split or "train"
        read = _file_reader(path)
        fine = read("batches.meta") is None
        names_of, meta_key, label_key = (
            (_CIFAR100, "fine_label_names", "fine_labels")
            if fine
            else (_CIFAR10, "label_names", "labels")
        )
        meta = _load(read, "meta" if fine else "batches.meta", path)
        self.classes = tuple(_text(name) for name in _get(meta, meta_key, path))
        batches = [_load(read, name, path) for name in names_of[self._split]]
        self._images = _images([_get(batch, "data", path) for batch in batches], path)
        labels = [x for batch in batches for x in _get(batch, label_key, path)]
        known = range(len(self.classes))
        if len(labels) != len(self._images) or not all(x in known for x in labels):
            raise DataError(
                f"a CIFAR archive has a label below {len(known)} for each image, got other ones in "
                f"{path}; fetch it again"
            )
        self.labels = np.array(labels, np.int32)
        told = ",".join(map(str, labels))
        self.fingerprint = fingerprint_of([f"{zlib.crc32(self._images.data):08x}", told])

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, number: int) -> RawSample:
        name = f"cifar {self._split} image {number}"
        return RawSample(name, int(self.labels[number]), self._images[number])


def is_cifar_folder(folder: Path) -> bool:
    """Whether a folder holds the files of one of the archives."""
    return (folder / "batches.meta").is_file() or (
        (folder / "meta").is_file() and (folder / "train").is_file()
    )


def is_cifar_archive(path: Path) -> bool:
    """Whether a file is called as the archives are, or begins as they do."""
    if _ARCHIVE_NAME.fullmatch(path.name):
        return True
    if not path.name.endswith((".tar.gz", ".tgz")):
        return False
    try:
        with tarfile.open(path, "r:gz") as tar:
            names = [
                Path(member.name).name for _, member in itertools.islice(enumerate(tar), _SHOWING)
            ]
    except (OSError, EOFError, zlib.error, tarfile.TarError):
        return False
    return any(name in _SHOWN_NAMES for name in names)


_Reader = Callable[[str], bytes | None]


def _file_reader(path: Path) -> _Reader:
    """A function from a batch file's name to its bytes, None when it is not there."""
    if path.is_dir():
        return lambda name: (path / name).read_bytes() if (path / name).is_file() else None
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.size <= _MAX_BATCH_BYTES else None
                if file is not None:
                    contents[Path(member.name).name] = file.read()
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise DataError(
            f"a CIFAR archive must be whole, got {path} ({error}); fetch it again"
        ) from None
    return contents.get


def _load(read: _Reader, name: str, path: Path) -> dict[Any, Any]:
    content = read(name)
    if content is None:
        raise DataError(
            f"a CIFAR archive (python version) holds {name}, got {path} without it; fetch it "
            f"again, or unpack it if it is an archive of something else"
        )
    try:
        batch = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a torn pickle raises nearly anything
        raise DataError(
            f"a CIFAR batch is a pickle of arrays and lists, got {name} in {path} ({error}); "
            f"fetch it again"
        ) from None
    return batch if isinstance(batch, dict) else {}


def _get(batch: dict[Any, Any], key: str, path: Path) -> Any:
    value = batch.get(key.encode(), batch.get(key))
    if value is None:
        raise DataError(f"a CIFAR batch has {key!r}, got none in {path}; fetch it again")
    return value


def _images(blocks: list[Any], path: Path) -> NDArray[np.uint8]:
    """Batches of rows [N, 3 * 32 * 32], planes first, as [N, 32, 32, 3]."""
    row = 3 * _SIDE_PX * _SIDE_PX
    for block in blocks:
        is_array = isinstance(block, np.ndarray) and block.dtype == np.uint8
        if not is_array or block.ndim != 2 or block.shape[1] != row:
            raise DataError(f"CIFAR images are [N, {row}] uint8, got others in {path}")
    planes = np.concatenate(blocks).reshape(-1, 3, _SIDE_PX, _SIDE_PX)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def _text(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def _latin1(text: str, _encoding: str = "latin1") -> bytes:
    """The function that arrays of Python 2, pickled by Python 3, call for their bytes."""
    return text.encode("latin1")


# All that a batch may name. The functions are numpy's own, wherever its version keeps them.
_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Builds numpy arrays and plain containers; any other name in the pickle is an error."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        """The only functions that a pickle may call."""
        if (module_name, global_name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")
        return _ALLOWED[module_name, global_name]
