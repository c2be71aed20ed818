"""From what the user typed as SOURCE to a `Source`: which of the kinds it is, or why it is none.

Kinds are told apart by what lies there, never by trying one reader after the other. Folders of tars
are not packed again unless an OUT is named: `tars_in_place.py` finds those, before this is asked.
"""

from pathlib import Path

from shards.errors import UsageError
from shards.samples.image_header import IMAGE_ENDINGS
from shards.samples.skip_list import read_skip_list
from shards.sources.archive import ArchiveSource
from shards.sources.archive_names import (
    ARCHIVE_ENDINGS,
    OTHER_ENDINGS,
    is_archive_name,
    match_archives,
)
from shards.sources.cifar import CifarSource, is_cifar_archive, is_cifar_folder
from shards.sources.demo_set import DemoSource
from shards.sources.folder import FolderSource
from shards.sources.foreign import advise_file
from shards.sources.idx import IdxSource, find_idx_images, is_idx_images
from shards.sources.listed import label_listed, take_listed
from shards.sources.open_archives import compression_of
from shards.sources.own_source import open_own
from shards.sources.parquet import (
    ParquetSource,
    find_parquet_files,
    is_parquet_folder,
    is_parquet_name,
)
from shards.sources.raw import Source
from shards.sources.skipped import leave_out
from shards.sources.walk import walk_files
from shards.tars.tar_names import tars_of

_KINDS = (
    "a folder of images, MNIST-style idx files, a CIFAR python archive, Parquet files, tars, "
    "compressed tars or zips, or the word demo"
)


def open_source(
    spec: str,
    split: str | None = None,
    *,
    image_key: str | None = None,
    files: Path | None = None,
    labels: Path | None = None,
    label_column: str | None = None,
    skip_list: Path | None = None,
    scratch: Path | None = None,
    progress: bool = False,
    own: str | None = None,
) -> Source:
    """The source a user means.

    Args:
        spec: a path, a glob of Parquet files or archives, `demo` or `demo:test`.
        split: which part, for kinds that come in parts; None takes the training part.
        image_key: which member of a sample is its image (`samples/image_key.py`); of archives.
        files: a list of the files to take, of sources of files only.
        labels: a list that gives each file its class, in place of its folder.
        label_column: title or number of the column with the classes; None finds it.
        skip_list: a list of the images to leave out.
        scratch: a folder where a compressed tar has room; None takes the system's.
        progress: show a bar on a terminal where opening takes long.
        own: who reads it, in place of ours: `package.module:Class` or an entry point.

    Raises:
        UsageError: there is no such thing, or not in this split.
        DataError: it is there but damaged.
    """
    if own is not None:
        source = open_own(own, spec, split, image_key)
    else:
        source = _open(spec, split, image_key, labels is None, scratch, progress)
    names = source.names if skip_list is not None else None
    if files is not None:
        source = take_listed(source, files)
    if skip_list is not None:
        source = leave_out(source, read_skip_list(skip_list), names)
    return source if labels is None else label_listed(source, labels, label_column)


def _open(
    spec: str,
    split: str | None,
    image_key: str | None,
    own_classes: bool,
    scratch: Path | None,
    progress: bool,
) -> Source:
    path = Path(spec)
    source: Source | None = None
    if spec == "demo" or spec.startswith("demo:"):
        source = _open_demo(spec, split)
    elif path.is_dir():
        source = _open_folder(path, split, own_classes)
    elif path.is_file():
        source = _open_file(path, split)
    elif is_parquet_name(spec) and find_parquet_files(spec):
        source = ParquetSource(spec, split)
    elif not match_archives(spec):
        raise UsageError(
            f"SOURCE must be {_KINDS}, got {spec!r}, which is not there; check the path"
        )
    if source is None:
        return ArchiveSource(
            spec,
            split,
            image_key=image_key,
            own_classes=own_classes,
            scratch=scratch,
            progress=progress,
        )
    if image_key is not None:
        raise UsageError(
            f"--image-key is for tars and zips, whose names have dots, got {image_key} for "
            f"{spec}, a source of kind {source.kind}; leave it out"
        )
    return source


def _open_demo(spec: str, split: str | None) -> Source:
    named = spec.removeprefix("demo").removeprefix(":")
    if named and split and named != split:
        raise UsageError(f"SOURCE and --split must agree, got {spec} and {split}; leave one out")
    return DemoSource(named or split or "train")


def _open_folder(path: Path, split: str | None, own_classes: bool) -> Source | None:
    """None for a folder of archives."""
    if find_idx_images(path):
        return IdxSource(path, split)
    if is_cifar_folder(path):
        return CifarSource(path, split)
    if is_parquet_folder(path):
        return ParquetSource(str(path), split)
    if tars_of(path):
        return None
    # Images first: beside them, archives and tables are what a folder of images has, too.
    kinds = set()
    for _, entry in walk_files(path):
        name = entry.name
        if name.rpartition(".")[2].lower() in IMAGE_ENDINGS:
            return FolderSource(path, split, own_classes=own_classes)
        kinds.add(
            "parquet" if is_parquet_name(name) else "archive" if is_archive_name(name) else ""
        )
    if "parquet" in kinds:
        return ParquetSource(str(path), split)
    return None if "archive" in kinds else FolderSource(path, split, own_classes=own_classes)


def _open_file(path: Path, split: str | None) -> Source | None:
    """None for an archive."""
    if is_idx_images(path):
        return IdxSource(path, split)
    if is_parquet_name(path.name):
        return ParquetSource(str(path), split)
    if is_cifar_archive(path):
        return CifarSource(path, split)
    if is_archive_name(path.name, (*ARCHIVE_ENDINGS, *OTHER_ENDINGS)) or compression_of(path):
        return None
    raise UsageError(f"SOURCE must be {_KINDS}, got the file {path}; {advise_file(path.name)}")
