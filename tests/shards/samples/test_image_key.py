"""Names with dots: one image of a sample by WebDataset's rule or the user's, the others named."""

import logging
from pathlib import Path

import numpy as np
import pytest
from pictures import jpeg_of

from shards.errors import DataError, UsageError
from shards.index import ShardIndex, build_index
from shards.indexing.scan_tar import scan_tar
from shards.samples.image_key import check_image_key
from shards.samples.quarantine import read_quarantine
from shards.upkeep.folder_check import check_folder

PHOTOS = [
    (f"photo{k}{v}.jpg", jpeg_of(10 * k + i)) for k in range(3) for i, v in enumerate(("", ".1"))
]
DATED = [
    (f"IMG_{k}.12.2023.{end}", data)
    for k in range(4)
    for end, data in (("JPG", jpeg_of(k)), ("cls", b"%d" % (k % 2)))
]
PAIRS = [
    (f"s{k}.{end}", data)
    for k in range(3)
    for end, data in (("input.jpg", jpeg_of(k)), ("target.jpg", jpeg_of(50 + k)), ("cls", b"1"))
]


@pytest.mark.parametrize("image_key", ["auto", "each"])
def test_the_only_image_of_a_sample_is_its_image(tmp_path: Path, make_tar, image_key: str) -> None:
    """Whatever dots its name has; the class is in the `.cls` of the same name."""
    make_tar(tmp_path / "x.tar", DATED)
    scan = scan_tar(tmp_path / "x.tar", image_key)
    assert scan.labels == (0, 1, 0, 1)
    assert scan.refused == ()
    build_index(tmp_path, image_key=image_key)
    report = check_folder(tmp_path)
    assert (report.problems, report.notes) == ((), ())


def test_an_image_beside_another_file_is_the_image(tmp_path: Path, make_tar) -> None:
    """`s0.input.jpg` and `s0.outputs.txt`, with the class by the sample's key."""
    members = [("s0.input.jpg", jpeg_of(1)), ("s0.outputs.txt", b"x"), ("s0.cls", b"5")]
    scan = scan_tar(make_tar(tmp_path / "x.tar", members))
    assert (scan.keys, scan.labels, scan.refused) == (("s0",), (5,), ())


def test_of_several_images_the_plain_one_counts_and_the_others_are_named(
    tmp_path: Path, make_tar, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is dropped in silence: not by the index that a run makes, not by the check."""
    make_tar(tmp_path / "x.tar", PHOTOS)
    with caplog.at_level(logging.WARNING):
        index = ShardIndex.open(tmp_path)
    assert "left out 3 images" in caplog.text
    assert "--image-key each makes every image a sample of its own" in caplog.text
    assert [index.key(i) for i in range(3)] == ["photo0", "photo1", "photo2"]
    left_out = read_quarantine(tmp_path)
    assert [item.name for item in left_out] == [f"x.tar:photo{k}.1.jpg" for k in range(3)]
    assert left_out[0].reason == "a further image of its sample (photo0.jpg is the one)"
    (note,) = check_folder(tmp_path).notes
    assert note == "x.tar: 3 images are not in the index: another one of their sample is"


def test_each_image_may_be_a_sample(tmp_path: Path, make_tar) -> None:
    """Also when names of one key do not lie side by side, or differ in their ending alone."""
    others = [("cat.jpg", jpeg_of(90)), ("cat.png", jpeg_of(91)), ("photo0.1.cls", b"1")]
    make_tar(tmp_path / "x.tar", [*PHOTOS, *others])
    with pytest.raises(DataError, match="--image-key each"):
        ShardIndex.open(tmp_path)
    index = build_index(tmp_path, image_key="each")
    assert index.labels(np.arange(8)).tolist() == [-1, 1, -1, -1, -1, -1, -1, -1]
    assert read_quarantine(tmp_path) == []
    report = check_folder(tmp_path)
    assert report.problems == ()


def test_the_choice_stays_when_the_tars_change(tmp_path: Path, make_tar) -> None:
    """An index that is made again, by itself, is made as the user said."""
    make_tar(tmp_path / "x.tar", PHOTOS)
    assert len(build_index(tmp_path, image_key="each")) == 6
    make_tar(tmp_path / "y.tar", [("a.1.jpg", jpeg_of(1)), ("a.2.jpg", jpeg_of(2))])
    assert len(ShardIndex.open(tmp_path)) == 8
    assert len(build_index(tmp_path, image_key="auto")) == 3


def test_where_no_image_is_plain_the_user_chooses(tmp_path: Path, make_tar) -> None:
    """Until then the message names the command's option; one that is chosen leaves no rest."""
    path = make_tar(tmp_path / "x.tar", PAIRS)
    with pytest.raises(DataError, match=r"--image-key input\.jpg, or --image-key each"):
        ShardIndex.open(tmp_path)
    scan = scan_tar(path, "target.jpg")
    assert (len(scan.keys), scan.labels, scan.refused) == (3, (1, 1, 1), ())
    data = path.read_bytes()
    first = scan.records[0]
    assert data[first["offset"] :][: first["size"]] == jpeg_of(50)
    scan = scan_tar(path, "png,input.jpg")
    assert len(scan.keys) == 3
    scan = scan_tar(path, "png")
    assert scan.refused[0].reason.startswith("no member has the extension png (input.jpg, ")


@pytest.mark.parametrize("name", ["a.jfif", "b.JPE", "c.apng", "d.PGM", "e.v2.Jpeg", "f.dib"])
def test_an_image_ends_as_in_a_folder(tmp_path: Path, make_tar, name: str) -> None:
    """One list of endings, in any case."""
    assert len(scan_tar(make_tar(tmp_path / "x.tar", [(name, jpeg_of(1))])).keys) == 1


def test_image_keys_are_checked() -> None:
    """Before anything is read."""
    assert check_image_key(".Input.JPG, png") == "input.jpg,png"
    for wrong in ("cls", "", "jpg,txt", "each,jpg"):
        with pytest.raises(UsageError, match="image key is auto, each or an extension"):
            check_image_key(wrong)
