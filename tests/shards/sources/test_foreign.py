"""Every file that is no SOURCE is refused with what to do, from its folder as by its name."""

from pathlib import Path

import numpy as np
import pytest

from shards.errors import UsageError
from shards.sources.detect import open_source

READ_BY = r"write the images as files, or read them by a class of yours \(--source"
FILES = {
    **dict.fromkeys(("x.h5", "X.HDF5", "x.npy", "data.mdb", "train.tfrecord", "x.beton"), READ_BY),
    **dict.fromkeys(("data-00000-of-00001.arrow",), "write it as Parquet"),
    **dict.fromkeys(("a.mp4", "a.MOV"), "write frames as JPEG"),
    **dict.fromkeys(("x.dcm", "x.svs"), "write them as PNG, with --value-range"),
    **dict.fromkeys(("IMG_1.HEIC", "a.avif", "a.NEF"), "convert them to JPEG or PNG"),
    **dict.fromkeys(("what.ever", "none"), "check the path"),
}


@pytest.mark.parametrize(("name", "said"), FILES.items())
def test_the_same_advice_for_a_file_and_for_its_folder(
    tmp_path: Path, name: str, said: str
) -> None:
    """Neither sends to the other."""
    (tmp_path / name).write_bytes(b"xxxx" * 50)
    for spec in (tmp_path, tmp_path / name):
        with pytest.raises(UsageError, match=rf"; {said}"):
            open_source(str(spec))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("1.jpg", "give the folder it lies in"),
        ("labels.csv", "give the folder of its images, and the list by --labels or --files"),
    ],
)
def test_a_file_of_a_set_says_where_the_set_is(tmp_path: Path, name: str, said: str) -> None:
    """An image, and a list of images."""
    (tmp_path / name).write_bytes(b"xxxx")
    with pytest.raises(UsageError, match=f"; {said}$"):
        open_source(str(tmp_path / name))


def test_arrays_in_a_zip_are_no_archives_in_an_archive(tmp_path: Path) -> None:
    """A .npz is a zip of .npy."""

    np.savez(tmp_path / "x.npz", images=np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(UsageError, match=rf"got 1 \.npy in .*; {READ_BY}"):
        open_source(str(tmp_path / "x.npz"))
