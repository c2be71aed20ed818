"""Masks are packed beside their images, found by the index, and refused where they are broken."""

import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from masked_set import NUM_IMAGES, UNMASKED, pictured, png, write_masked_folders, write_masked_tar
from PIL import Image

from shards.errors import UsageError
from shards.format import INDEX_DTYPE
from shards.index import ShardIndex
from shards.indexing.scan_tar import scan_tar
from shards.packing.join_parts import join_parts
from shards.packing.pack import pack
from shards.packing.part import Part
from shards.reader import SampleError, ShardReader
from shards.samples.masks import masked, read_mask
from shards.sources import raw
from shards.sources.detect import open_source
from shards.sources.folder import FolderSource
from shards.sources.masked import MaskedSource
from shards.sources.source_words import SourceWords
from shards.upkeep.folder_check import check_folder


def source_of(folder: Path) -> MaskedSource:
    photos, masks = write_masked_folders(folder)
    return MaskedSource(FolderSource(photos), masks)


def masks_of(index: ShardIndex) -> dict[str, np.ndarray | None]:
    """By file name."""
    ids = np.arange(len(index))
    with ShardReader(index) as reader:
        found = reader.read_masks(ids)
    pairs = zip(index.names(ids), found, index.sizes(ids).tolist(), strict=True)
    masks: dict[str, np.ndarray | None] = {}
    for name, item, size in pairs:
        assert not isinstance(item, SampleError)
        masks[name] = None if item is None else read_mask(item, *size)
    return masks


def test_masks_come_back(tmp_path: Path) -> None:
    """Bit for bit, of every image that has one; the scan of the tar finds the same places."""
    source = source_of(tmp_path)
    assert source.notes[-1].endswith(f"{NUM_IMAGES - 1} of {NUM_IMAGES} images have a mask")
    pack(source, tmp_path / "out", workers=1)
    index = ShardIndex.open(tmp_path / "out")
    found = masks_of(index)
    for number in range(NUM_IMAGES):
        mask = found[f"{'ab'[number % 2]}/{number}.png"]
        if number in UNMASKED:
            assert mask is None
        else:
            np.testing.assert_array_equal(mask, pictured(number)[1])
    scan = scan_tar(tmp_path / "out/train-000000.tar")
    for name in ("offset", "size", "crc32", "reserved"):
        np.testing.assert_array_equal(index.records[name], scan.records[name])
    assert not list(check_folder(tmp_path / "out").problems)


def test_parts_that_are_joined_keep_their_masks(tmp_path: Path) -> None:
    """Two parts make the bytes of one process."""
    source = source_of(tmp_path)
    pack(source, tmp_path / "one", workers=1)
    for number in (1, 2):
        pack(source, tmp_path / "two", workers=1, part=Part(number, 2))
    join_parts(tmp_path / "two", workers=1)
    names = [f"{name}/index.npy" for name in ("one", "two")]
    assert (tmp_path / names[0]).read_bytes() == (tmp_path / names[1]).read_bytes()


def test_masks_shrink_with_their_images(tmp_path: Path) -> None:
    """--resize leaves both at one size, and the foreground where it was."""
    pack(source_of(tmp_path), tmp_path / "out", workers=1, resize=16)
    index = ShardIndex.open(tmp_path / "out")
    assert index.sizes(np.arange(NUM_IMAGES)).min(axis=1).tolist() == [16] * NUM_IMAGES
    mask = masks_of(index)["b/1.png"]
    assert mask is not None
    assert abs(mask.mean() - pictured(1)[1].mean()) < 3


def test_without_masks_nothing_changes(tmp_path: Path) -> None:
    """Records are as they were; a set with masks, or with other masks, is another set."""
    photos, masks = write_masked_folders(tmp_path)
    plain = pack(FolderSource(photos), tmp_path / "plain", workers=1).manifest
    assert not ShardIndex.open(tmp_path / "plain").records["reserved"].any()
    assert "masks" not in plain.made
    first = pack(MaskedSource(FolderSource(photos), masks), tmp_path / "a", workers=1).manifest
    (masks / "b/1.png").unlink()
    second = pack(MaskedSource(FolderSource(photos), masks), tmp_path / "b", workers=1).manifest
    assert len({m.fingerprint for m in (plain, first, second)}) == 3


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        (png(np.full((7, 9), 255, np.uint8)), "size of its image"),
        (png(pictured(1)[0]), "got mode RGB"),
        (png((pictured(1)[1] > 0).astype(np.uint8)), "values of 0 and 1 alone"),
        (png(pictured(1)[1])[:-20], "its mask: the PNG"),
        (b"nothing", "not an image of a known format"),
    ],
)
def test_an_image_with_a_broken_mask_is_left_out(tmp_path: Path, encoded: bytes, why: str) -> None:
    """It is one bad image of the list."""
    photos, masks = write_masked_folders(tmp_path)
    (masks / "b/1.png").write_bytes(encoded)
    report = pack(MaskedSource(FolderSource(photos), masks), tmp_path / "out", workers=1)
    (refused,) = report.refused
    assert refused.name == "b/1.png"
    assert why in refused.reason
    assert report.manifest.num_samples == NUM_IMAGES - 1


def test_a_folder_without_a_fitting_mask_is_refused(tmp_path: Path) -> None:
    """In one line that shows a name that would fit; and two masks of one image are."""
    photos, masks = write_masked_folders(tmp_path)
    with pytest.raises(UsageError, match=r"such as a/0\.png, got none"):
        MaskedSource(FolderSource(photos), tmp_path)
    (masks / "a/0.mask.png").write_bytes(b"")
    with pytest.raises(UsageError, match="an image has one mask"):
        MaskedSource(FolderSource(photos), masks)


def test_a_mask_that_would_be_packed_as_an_image_is_refused(tmp_path: Path) -> None:
    """Masks beside their images, or below them; a list of the images takes them as they lie."""
    photos, masks = write_masked_folders(tmp_path)
    for place in ("photos", "photos/masks"):
        folder = shutil.copytree(masks, tmp_path / place, dirs_exist_ok=True)
        with pytest.raises(UsageError, match="would be packed as images, too"):
            SourceWords(spec=str(photos), masks=folder).open()
    (tmp_path / "both").mkdir()
    (tmp_path / "both/1.jpg").write_bytes(png(pictured(1)[0]))
    (tmp_path / "both/1.png").write_bytes(png(pictured(1)[1]))
    (tmp_path / "list.txt").write_text("1.jpg\n")
    words = SourceWords(spec=str(tmp_path / "both"), masks=tmp_path / "both")
    with pytest.raises(UsageError, match="would be packed as images, too"):
        words.open()
    assert len(replace(words, files=tmp_path / "list.txt").open()) == 1


def test_tars_of_others_are_indexed_with_their_masks(tmp_path: Path) -> None:
    """`KEY.mask.png` is no further image; a mask alone is an image as before."""
    index = ShardIndex.open(write_masked_tar(tmp_path / "tars"))
    assert len(index) == NUM_IMAGES
    assert np.flatnonzero(~masked(index.records)).tolist() == list(UNMASKED)
    assert not (tmp_path / "tars/quarantine.jsonl").exists()


def test_a_set_says_that_it_has_masks_whatever_its_source_was_narrowed_by(tmp_path: Path) -> None:
    """A skip list, a list of files, one of classes and a folder of masks keep that apart."""
    spec = str(write_masked_tar(tmp_path / "tars"))
    (tmp_path / "list.csv").write_text("000003.png,x\n000005.png,y\n")
    lists = {"skip_list": tmp_path / "skip.txt", "files": tmp_path / "list.csv"}
    lists["labels"] = lists["files"]
    (tmp_path / "skip.txt").write_text("000003.png\n")
    for option, path in lists.items():
        report = pack(open_source(spec, **{option: path}), tmp_path / option, workers=1)
        assert report.manifest.made["masks"]
    (tmp_path / "more").mkdir()
    (tmp_path / "more/000004.png").write_bytes(png(pictured(4)[1]))
    within, both = open_source(spec), MaskedSource(open_source(spec), tmp_path / "more")
    write_masked_tar(tmp_path / "others", num_images=9)
    fewer = MaskedSource(open_source(str(tmp_path / "others")), tmp_path / "more")
    assert len({raw.masks_of(source) for source in (within, both, fewer)}) == 3


def test_a_record_without_a_mask_has_none() -> None:
    """Zero is what every index had there before."""
    assert not masked(np.zeros(3, INDEX_DTYPE)).any()


def test_a_mask_of_ones_and_zeros_is_stored_in_bits(tmp_path: Path) -> None:
    """One bit a pixel, and gray values in eight."""
    pack(source_of(tmp_path), tmp_path / "out", workers=1)
    index = ShardIndex.open(tmp_path / "out")
    with ShardReader(index) as reader:
        found = [item for item in reader.read_masks(np.arange(3)) if isinstance(item, bytes)]
    assert {Image.open(io.BytesIO(item)).mode for item in found} == {"1"}
