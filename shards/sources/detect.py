"""From what the user typed as SOURCE to a `Source`: which of the kinds it is, or why it is none.

Kinds are told apart by what lies there, never by trying one reader after the other. Folders of tars
are not packed again: `tars.py` finds those, before this is asked.
"""

from pathlib import Path

from shards.errors import UsageError
from shards.sources.cifar import CifarSource, is_cifar_folder
from shards.sources.demo import DemoSource
from shards.sources.folder import FolderSource
from shards.sources.idx import IdxSource, find_idx_images, is_idx_images
from shards.sources.parquet import ParquetSource, find_parquet_files, is_parquet_folder
from shards.sources.raw import Source

_KINDS = (
    "a folder of images, MNIST-style idx files, a CIFAR python archive, Parquet files, a folder "
    "of tars, or the word demo"
)


def open_source(spec: str, split: str | None = None) -> Source:
    """The source a user means.

    Args:
        spec: a path, a glob of Parquet files, `demo` or `demo:test`.
        split: which part, for kinds that come in parts; None takes the training part.

    Raises:
        UsageError: there is no such thing, or not in this split.
        DataError: it is there but damaged.
    """
    if spec == "demo" or spec.startswith("demo:"):
        return _open_demo(spec, split)
    path = Path(spec)
    if path.is_dir():
        return _open_folder(path, split)
    if path.is_file():
        return _open_file(path, split)
    if spec.endswith(".parquet") and find_parquet_files(spec):
        return ParquetSource(spec, split)
    raise UsageError(f"SOURCE must be {_KINDS}, got {spec!r}, which is not there; check the path")


def _open_demo(spec: str, split: str | None) -> Source:
    named = spec.removeprefix("demo").removeprefix(":")
    if named and split and named != split:
        raise UsageError(f"SOURCE and --split must agree, got {spec} and {split}; leave one out")
    return DemoSource(named or split or "train")


def _open_folder(path: Path, split: str | None) -> Source:
    if find_idx_images(path):
        return IdxSource(path, split)
    if is_cifar_folder(path):
        return CifarSource(path, split)
    if is_parquet_folder(path):
        return ParquetSource(str(path), split)
    return FolderSource(path, split)


def _open_file(path: Path, split: str | None) -> Source:
    if is_idx_images(path):
        return IdxSource(path, split)
    if path.suffix == ".parquet":
        return ParquetSource(str(path), split)
    if path.name.endswith((".tar.gz", ".tgz")):
        return CifarSource(path, split)
    raise UsageError(f"SOURCE must be {_KINDS}, got the file {path}; give the folder it lies in")
