"""The layout of an image folder as a person sees it: parts, class levels, a list beside it.

`folder.py` takes the first folder level for the class. Where that is wrong for sure (the parts of a
set, one folder around everything, masks beside images) it is refused with what to type instead;
where it may be meant, it is told with its count.
"""

import os
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from heapq import nsmallest
from pathlib import Path

from shards.errors import DataError, UsageError
from shards.sources.image_lists import NameTable, read_list
from shards.sources.splits import SPLITS
from shards.terminal.counted import counted

_LIST_ENDINGS = (".csv", ".tsv", ".txt")
_MAX_LISTS, _MAX_LIST_BYTES = 16, 64 << 20  # that are looked at unasked
_IMAGE_FOLDERS = frozenset("image images img imgs jpegimages photo photos picture pictures".split())
_MASK_FOLDERS = frozenset(
    "annotation annotations depth groundtruth ground_truth gt label labels mask masks "
    "segmentation segmentations segmentationclass segmentationobject trimap trimaps".split()
)
# For a list to be one of these images: of its lines (or of the images), and of the images.
_MIN_NAMED, _MIN_COVERED = 0.5, 0.1


def split_folder(root: Path, folders: Sequence[str], split: str) -> Path:
    """The folder of a split, by its name or by what its name says; raises UsageError."""
    if split in folders:
        return root / split
    wanted = _split_in(split)
    found = [name for name in folders if wanted and _split_in(name) == wanted]
    if len(found) != 1:
        raise UsageError(
            f"--split names a folder inside SOURCE, got {split!r}, and {root} has "
            f"{', '.join((found or list(folders))[:5]) or 'none'}; leave it out to take the whole "
            f"folder"
        )
    return root / found[0]


def check_parts(root: Path, names: Sequence[str]) -> None:
    """Refuse a folder of splits: they must not become classes train and val; raises UsageError."""
    parts, others = find_parts(names)
    if parts:
        beside = f" beside {', '.join(others[:3])}" if others else ""
        raise UsageError(
            f"SOURCE must be one split, got {root} with {', '.join(parts)}{beside}; give "
            f"{shlex.quote(str(root / parts[0]))}, or --split {parts[0]}"
        )


def find_parts(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """First folders that are splits and no classes, train first; and the other folders."""
    tops = _tops(names)
    said = {top: split for top in tops if (split := _split_in(top))}
    plain = {top: split for top in tops if (split := _split_named(top))}
    # One folder bullet_train is no part of a set, train_images beside val_images is.
    is_sure = len(set(said.values())) > 1 or len(plain) == len(tops)
    is_whole_set = bool(tops) and len(said) == len(tops) and is_sure
    likely = plain | {top: said[top] for top in said if _is_nested(top, tops[top])}
    is_mixed = len(set(likely.values())) > 1
    # A folder train among others is a class of trains, unless it has classes in it.
    has_classes = any(_is_nested(top, tops[top]) for top in plain)
    if not (is_whole_set or is_mixed or has_classes):
        return [], []
    parts = _train_first(said if is_whole_set else likely)
    return parts, sorted(set(tops) - set(parts))


def check_classes(root: Path, names: Sequence[str]) -> None:
    """Refuse folders that are no classes: one around all of them, masks beside images.

    Raises:
        UsageError: it is so.
    """
    tops = _tops(names)
    kinds = {top: top.lower() for top in tops}
    images = sorted(top for top, word in kinds.items() if word in _IMAGE_FOLDERS)
    masks = sorted(top for top, word in kinds.items() if word in _MASK_FOLDERS)
    if images and masks and len(images) + len(masks) == len(tops):
        raise UsageError(
            f"a class folder holds images of a class, got {images[0]}/ with {masks[0]}/ beside it "
            f"in {root}; give {root / images[0]}"
        )
    if len(tops) != 1 or any("/" not in name for name in names):
        return
    (top,) = tops
    inner, below = root / top, [name.split("/", 1)[1] for name in names]
    while len(_tops(below)) == 1 and all("/" in name for name in below):
        inner, below = inner / below[0].split("/", 1)[0], [x.split("/", 1)[1] for x in below]
    folders = sorted(_tops(below))
    if len(folders) > 1 and all("/" in name for name in below):
        parts = _train_first({name: part for name in folders if (part := _split_in(name))})
        is_split = len(parts) == len(folders)
        remedy = shlex.quote(str(inner)) + (f" --split {parts[0]}" if is_split else "")
        raise UsageError(
            f"the first folder level is the class, got one folder, {top}, around {len(folders):,} "
            f"({', '.join(folders[:3])}{', ...' * (len(folders) > 3)}) in {root}; give {remedy}"
        )
    listed = find_labels(root, names)
    if listed is not None:
        path, count = listed
        raise UsageError(
            f"the first folder level is the class, got one folder, {top}, of "
            f"{counted(len(names), 'image')} in {root}, and {path}, which has {count:,} of them "
            f"with a class; give --labels {shlex.quote(str(path))}, or "
            f"{shlex.quote(str(root / top))} for a set without labels"
        )


def layout_notes(root: Path, names: Sequence[str]) -> Iterator[str]:
    """A sentence about a layout that may be meant as it is, and what to type if it is not."""
    tops = _tops(names)
    if not tops:
        listed = find_labels(root, names)
        if listed is not None:
            path, count = listed
            yield (
                f"{path} has {count:,} of the images with a class; --labels "
                f"{shlex.quote(str(path))} takes it"
            )
        return
    inside = {top: [sub for sub in subs if sub] for top, subs in tops.items()}
    parts: Counter[str] = Counter()
    for subs in tops.values():
        parts.update({sub: count for sub, count in subs.items() if _split_named(sub)})
    with_parts = sum(any(_split_named(sub) for sub in subs) for subs in inside.values())
    if len(parts) > 1 and 2 * with_parts > len(tops):
        told = ", ".join(f"{count:,} in {name}/" for name, count in sorted(parts.items()))
        yield (
            f"splits lie inside the class folders ({told}) and are packed together; --files FILE "
            f"takes those that a list names"
        )
    elif len(tops) > 1 and all(len(subs) > 1 for subs in inside.values()):
        yield (
            f"the first folder level is the class; the {sum(map(len, inside.values())):,} folders "
            f"below these {len(tops):,} are not: give them by --labels FILE if they are meant"
        )


def find_labels(root: Path, names: Sequence[str]) -> tuple[Path, int] | None:
    """A list in the folder or beside it that gives classes to most of what it names.

    Returns:
        Where it lies, and to how many images it gives one; None without any.
    """
    table = NameTable(names)
    best: tuple[Path, int] | None = None
    for path in _candidates(root):
        try:
            listed = read_list(path, table)
        except (UsageError, DataError):  # of other images, or no list at all
            continue
        named = {line.image for line in listed.lines if line.image is not None and line.label}
        # A text of one line beside each image may seem to name one.
        is_ours = len(named) >= _MIN_NAMED * min(len(listed.lines), len(names))
        is_ours = is_ours and len(named) >= max(2, _MIN_COVERED * len(names))
        if is_ours and (best is None or len(named) > best[1]):
            best = path, len(named)
    return best


def _candidates(root: Path) -> list[Path]:
    found: list[Path] = []
    for folder in (root, root.resolve().parent if root.name in ("", "..") else root.parent):
        try:
            names = (n for n in os.listdir(folder) if n.lower().endswith(_LIST_ENDINGS))
            paths = [folder / name for name in nsmallest(_MAX_LISTS, names)]
            found += [p for p in paths if p.is_file() and p.stat().st_size <= _MAX_LIST_BYTES]
        except OSError:  # what is beside SOURCE may be closed to us
            continue
    return found


def _tops(names: Sequence[str]) -> dict[str, Counter[str]]:
    """Images by first and second folder level; directly in the first they are under an empty name.

    Loose images count for nothing.
    """
    tops: dict[str, Counter[str]] = defaultdict(Counter)
    for name in names:
        top, *rest = name.split("/")[:-1] or [""]
        if top:
            tops[top][rest[0] if rest else ""] += 1
    return dict(tops)


def _is_nested(top: str, subs: Counter[str]) -> bool:
    """Whether a folder holds folders of its own, or itself again: seg_train/seg_train/street."""
    return not subs[""] and (len(subs) > 1 or top in subs)


def _train_first(splits: dict[str, str]) -> list[str]:
    return sorted(splits, key=lambda name: (splits[name] != "train", name))


def _split_named(name: str) -> str | None:
    """The split whose name a folder's whole name is, a year apart: val, Test, train2017."""
    word = re.sub(r"[-_ ]?\d+$", "", name.lower())
    return next((split for split, words in SPLITS.items() if word in words), None)


def _split_in(name: str) -> str | None:
    """The split that a folder's name begins or ends with: train_images, imagenet-val."""
    words = re.split(r"[-_. ]", name.lower())
    return next(filter(None, map(_split_named, (name, words[0], words[-1]))), None)
