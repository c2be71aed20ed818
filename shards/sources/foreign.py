"""What to do with files that are no images and no kind of SOURCE: a sentence by their ending."""

from collections import Counter
from pathlib import PurePath

from shards.samples.image_header import IMAGE_ENDINGS, PHOTO_ENDINGS

_READ_BY = "write the images as files, or read them by a class of yours (--source, docs/code.md)"
_ADVICE = {
    _READ_BY: (
        "h5 hdf5 hdf he5 npz npy mat pkl pickle pt pth zarr n5 nc tfrecord tfrecords mdb lmdb "
        "beton rec mds lance bin dat ark db sqlite"
    ),
    "write it as Parquet, such as datasets.load_from_disk(FOLDER).to_parquet(FILE)": (
        "arrow feather"
    ),
    "write frames as JPEG, such as ffmpeg -i VIDEO frames/%06d.jpg": (
        "mp4 m4v mov avi mkv webm mpg mpeg wmv flv"
    ),
    "write them as PNG, with --value-range where they have over 8 bits": (
        "dcm dicom nii nrrd mha mhd svs ndpi mrxs czi lif exr hdr fits"
    ),
    "convert them to JPEG or PNG": " ".join((*PHOTO_ENDINGS, "ico", "svg", "tga", "pdf", "eps")),
    "give the folder of its images, and the list by --labels or --files": "csv tsv txt json jsonl",
}
_BY_ENDING = {f".{end}": told for told, ends in _ADVICE.items() for end in ends.split()}
_LISTS = frozenset((".csv", ".tsv", ".txt", ".json", ".jsonl"))


def advise_folder(seen: Counter[str]) -> str:
    """What to do with a folder or an archive without images.

    Args:
        seen: how many files there are of each ending, in small letters with its dot.
    """
    known = [(n, end) for end, n in seen.items() if end in _BY_ENDING and end not in _LISTS]
    return _BY_ENDING[max(known)[1]] if known else "check the path"


def advise_file(name: str) -> str:
    """What to do with a file that is no SOURCE."""
    endings = [suffix.lower() for suffix in PurePath(name).suffixes]
    if endings and endings[-1][1:] in IMAGE_ENDINGS:
        return "give the folder it lies in"
    known = [end for end in reversed(endings) if end in _BY_ENDING]
    return _BY_ENDING[known[0]] if known else "check the path"
