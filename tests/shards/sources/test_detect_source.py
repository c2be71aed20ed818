"""SOURCE as users type it: each kind is recognised by what lies there."""

import tarfile
from pathlib import Path

import pytest
from pictures import jpeg_of

from shards.errors import DataError, UsageError
from shards.sources.detect import open_source
from shards.sources.tars_in_place import find_tar_folder

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def test_demo_and_its_splits() -> None:
    """By colon or by --split, but not two different ones."""
    assert len(open_source("demo")) == len(open_source("demo:train")) == 6000
    assert len(open_source("demo:test")) == len(open_source("demo", "test")) == 1200
    with pytest.raises(UsageError, match="must agree"):
        open_source("demo:test", "train")


def test_a_folder_of_images(tmp_path: Path) -> None:
    """Files inside decide, whatever the folder is called."""
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/1.jpg").write_bytes(b"x")
    assert open_source(str(tmp_path / "demo")).kind == "folder"


@pytest.mark.parametrize("place", [".", "train", "cats"])
@pytest.mark.parametrize("name", ["metadata.parquet", "about.parquet", "embeddings.pq"])
def test_a_table_beside_images_is_not_the_source(tmp_path: Path, place: str, name: str) -> None:
    """The folder of images is, and says that the table is left; alone it is what is asked for."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {"file_name": ["1.jpg"], "embedding": [b"0123"]}
    if name == "metadata.parquet":  # by its name, whatever it has
        columns["image"] = [b"a small one"]
    split = "train" if place == "train" else None
    (tmp_path / place).mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), tmp_path / place / name)
    assert open_source(str(tmp_path), split).kind == "parquet"
    (tmp_path / place / "1.jpg").write_bytes(jpeg_of(1))
    source = open_source(str(tmp_path), split)
    assert (source.kind, len(source)) == ("folder", 1)
    ending = name.partition(".")[2]
    assert any(f"tables beside the images: 1 .{ending}; name the" in x for x in source.notes)


def test_parquet_files_of_images_stay_the_source(tmp_path: Path) -> None:
    """As a repository has them, with a picture for its page and a table beside."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "data").mkdir()
    rows = [{"bytes": jpeg_of(1), "path": "1.jpg"}, {"bytes": jpeg_of(2), "path": "2.jpg"}]
    pq.write_table(pa.table({"photo": rows}), tmp_path / "data/train-0.parquet")
    (tmp_path / "banner.jpg").write_bytes(jpeg_of(3))
    assert open_source(str(tmp_path)).kind == "parquet"


@pytest.mark.skipif(not DEBIAN_FASHION_MNIST.is_dir(), reason="needs dataset-fashion-mnist")
def test_fashion_mnist_as_debian_installs_it() -> None:
    """The folder of the package, without a word more."""
    source = open_source(str(DEBIAN_FASHION_MNIST))
    assert (source.kind, len(source), len(source.classes)) == ("idx", 60_000, 10)
    assert len(open_source(str(DEBIAN_FASHION_MNIST), "test")) == 10_000


@pytest.mark.parametrize("name", ["gone", "gone.parquet", "gone*.parquet", "a.txt", ""])
def test_what_is_not_there_is_one_line(tmp_path: Path, name: str) -> None:
    """A wrong path, a glob without matches, a file of no kind, an empty folder."""
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    spec = str(tmp_path / name) if name else str(tmp_path / "empty")
    with pytest.raises(UsageError, match="got"):
        open_source(spec)


def test_tars_are_found_by_folder_or_glob(tmp_path: Path) -> None:
    """A glob must mean the whole folder; a folder without tars is something else."""
    (tmp_path / "none").mkdir()
    for name in ("a-0.tar", "a-1.tar", "b-0.tar"):
        tarfile.open(tmp_path / name, "w").close()
    assert find_tar_folder(str(tmp_path)) == tmp_path
    assert find_tar_folder(str(tmp_path / "*.tar")) == tmp_path
    assert find_tar_folder(str(tmp_path / "none")) is None
    assert find_tar_folder("demo") is None
    with pytest.raises(UsageError, match="2 of 3"):
        find_tar_folder(str(tmp_path / "a-*.tar"))
    with pytest.raises(UsageError, match="got none"):
        find_tar_folder(str(tmp_path / "c-*.tar"))


def test_a_cifar_archive_is_told_from_another(tmp_path: Path) -> None:
    """By its name, or by what it begins with."""
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py/data_batch_4").write_bytes(b"x")
    (tmp_path / "photo.jpg").write_bytes(jpeg_of(1))
    for name, member in (
        ("cifar-10-python.tar.gz", "photo.jpg"),
        ("renamed.tar.gz", "cifar-10-batches-py"),
    ):
        with tarfile.open(tmp_path / name, "w:gz") as tar:
            tar.add(tmp_path / member, arcname=member)
        with pytest.raises(DataError, match="CIFAR"):
            open_source(str(tmp_path / name))
    with tarfile.open(tmp_path / "other.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "photo.jpg", arcname="photo.jpg")
    assert open_source(str(tmp_path / "other.tar.gz")).kind == "archive"
