"""Archives as SOURCE: one file, or all below a folder; they are packed anew, as a folder's images.

Labels are those of WebDataset (`.cls`, `.json`) where there is one; without any, the first folder
level inside the archives is the class, as in a folder of images, below a folder that everything
lies in.

Which member of a sample is its image: `samples/image_key.py`. In a zip, which no WebDataset writer
makes, every image is a sample of its own.
"""

import os
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from posixpath import normpath

import numpy as np

from shards.errors import DataError, UsageError
from shards.format import NO_LABEL
from shards.processes.parallel import with_bar
from shards.samples.image_header import ImageError
from shards.samples.image_key import AUTO, EACH, Sample
from shards.samples.labels import (
    NO_MEMBER,
    Label,
    NoLabel,
    number_classes,
    read_label,
    tell_unlabelled,
)
from shards.samples.quarantine import Refused
from shards.sources.archive_names import (
    ARCHIVE_ENDINGS,
    OTHER_ENDINGS,
    find_archives,
    is_archive_name,
    loose_notes,
    match_archives,
)
from shards.sources.archive_samples import replaced_notes, samples_of
from shards.sources.folder import skipped_notes
from shards.sources.foreign import advise_folder
from shards.sources.layout import find_parts
from shards.sources.open_archives import Archive, open_archive
from shards.sources.raw import Payload, RawSample, fingerprint_of
from shards.sources.splits import choose_split
from shards.store import read_manifest

_PACKED = (*ARCHIVE_ENDINGS, *OTHER_ENDINGS, ".gz", ".bz2", ".xz", ".zst")
_Found = tuple[Archive, Sample | Refused, str]  # and how its owner knows it


class ArchiveSource:
    """The images of tars, compressed tars and zips."""

    kind = "archive"
    stores_names = True
    block_sizes = None

    def __init__(
        self,
        spec: str,
        split: str | None = None,
        *,
        image_key: str | None = None,
        own_classes: bool = True,
        scratch: Path | None = None,
        progress: bool = False,
    ) -> None:
        root = Path(spec)
        every = find_archives(root) if root.is_dir() else match_archives(spec)
        paths, inner_split = _of_split(every, split, spec)
        sizes = [path.stat().st_size for path in paths]
        opened = ((i, open_archive(path, scratch)) for i, path in enumerate(paths))
        archives = dict(with_bar(opened, "opening", sizes, show=progress))
        around = root if root.is_dir() else os.path.commonpath([path.parent for path in paths])
        skipped: Counter[str] = Counter()
        replaced: Counter[str] = Counter()
        found: list[_Found] = []
        for path, archive in zip(paths, archives.values(), strict=True):
            before = f"{path.relative_to(around)}:"
            key = image_key or (EACH if path.name.lower().endswith(".zip") else AUTO)
            for sample in samples_of(archive, key, skipped, replaced):
                name = sample.name if isinstance(sample, Refused) else sample.image.name
                found.append((archive, sample, (before if len(paths) > 1 else "") + name))
        if not found:
            seen = ", ".join(f"{n} {ending}" for ending, n in skipped.most_common(4)) or "no file"
            inner = any(is_archive_name(f"x{end}", _PACKED) for end in skipped)
            remedy = "unpack archives that lie inside others, and give the folder"
            raise UsageError(
                f"an archive to pack holds images such as .jpg or .png, got {seen} in {spec}; "
                f"{remedy if inner else advise_folder(skipped)}"
            )
        self._found, self.classes, self.labels, notes = _label(
            found, inner_split, spec, _known_classes(paths)
        )
        if not own_classes:
            self.classes, self.labels, notes = (), np.full_like(self.labels, NO_LABEL), []
        elif not self.classes and len(paths) > 1:  # as in ImageNet's tar of tars
            notes.append(
                f"no image has a class in these {len(paths):,} archives; where each is one, unpack "
                f"each into a folder of its name, and give the folder around them"
            )
        left = f" of {len(every)}" if len(paths) < len(every) else ""
        others = find_archives(root, OTHER_ENDINGS) if root.is_dir() else []
        if others:
            notes.append(f"not read here: {len(others)} archives such as {others[0]}; unpack them")
        self.notes = (
            f"read {len(paths)}{left} archive{'s' * (len(every) != 1)}, {paths[0].name} first",
            *notes,
            *skipped_notes(skipped),
            *replaced_notes(replaced),
            *(loose_notes(root) if root.is_dir() else ()),
        )
        self.fingerprint = fingerprint_of(
            f"{name}\0{_size(sample)}\0{label}"
            for (_, sample, name), label in zip(self._found, self.labels.tolist(), strict=True)
        )
        masks = [s.mask.size if isinstance(s, Sample) and s.mask else 0 for _, s, _ in self._found]
        self.masks = fingerprint_of(map(str, masks)) if any(masks) else ""
        if self.masks:
            self.fingerprint = fingerprint_of([self.fingerprint, self.masks])

    @property
    def names(self) -> list[str]:
        """The name of each image, behind its archive's name where there are several."""
        return [_printable(name) for _, _, name in self._found]

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, number: int) -> RawSample:
        archive, sample, name = self._found[number]
        label = int(self.labels[number])
        name = _printable(name)
        if isinstance(sample, Refused):
            return RawSample(name, NO_LABEL, partial(_refuse, sample.reason))
        mask = None if sample.mask is None else archive.payload(sample.mask)
        return RawSample(name, label, archive.payload(sample.image), mask)


def _of_split(paths: Sequence[Path], split: str | None, spec: str) -> tuple[list[Path], str | None]:
    """The archives of a split; a split that is in no archive's name is looked for inside."""
    try:
        chosen = choose_split(paths, split, spec, "archives")
    except UsageError:
        if split is None:
            raise
        return list(paths), split
    return chosen, None


def _label(
    found: list[_Found], split: str | None, spec: str, known: Sequence[str]
) -> tuple[list[_Found], tuple[str, ...], np.ndarray, list[str]]:
    """Samples of the split, class names, class numbers [N] int32, and what to say of them."""
    if split is None and any(isinstance(s, Sample) and s.labels for _, s, _ in found):
        labels = _read_labels(found)
    else:
        found, parts = _below(found, split, spec)
        tops = [part[0] if len(part) > 1 else None for part in parts]
        loose = NoLabel("beside the class folders" if any(tops) else NO_MEMBER)
        labels = [loose if top is None else top for top in tops]
    numbers, classes = number_classes(
        [None if isinstance(x, NoLabel) else x for x in labels], known
    )
    kept = [x for (_, s, _), x in zip(found, labels, strict=True) if isinstance(s, Sample)]
    told = tell_unlabelled(Counter(x.why for x in kept if isinstance(x, NoLabel)), len(kept))
    return found, classes, numbers, [told] if told else []


def _known_classes(paths: Sequence[Path]) -> tuple[str, ...]:
    """Names of the class numbers, where the tars are those of a set that has them."""
    folder, *others = {path.parent for path in paths}
    try:
        manifest = None if others else read_manifest(folder)
    except DataError:  # a manifest.json of somebody else
        return ()
    if manifest is None or {path.name for path in paths} - {
        shard.name for shard in manifest.shards
    }:
        return ()
    return manifest.classes


def _read_labels(found: list[_Found]) -> list[Label | NoLabel]:
    labels: list[Label | NoLabel] = []
    for number, (archive, sample, name) in enumerate(found):
        label: Label | NoLabel = NoLabel("left out")
        if isinstance(sample, Sample):
            try:
                label = read_label(archive.read, sample.labels)
            except (ImageError, OSError) as error:
                found[number] = archive, Refused(name, str(error)), name
        labels.append(label)
    return labels


def _below(
    found: list[_Found], split: str | None, spec: str
) -> tuple[list[_Found], list[tuple[str, ...]]]:
    """Samples of the split, and their paths below the folders that all of them lie in."""
    parts = [_parts(sample) for _, sample, _ in found]
    while True:
        tops = {part[0] for part in parts if len(part) > 1}
        wanted = split if split in tops else None
        if split is None:
            splits, others = find_parts(["/".join(part) for part in parts])
            if len(splits) > 1 or (splits and others):
                raise UsageError(
                    f"SOURCE must be one split, got {spec} with {', '.join(splits)} inside; give "
                    f"--split {splits[0]}"
                )
            wanted = splits[0] if splits else None
        if wanted is not None:
            rows = [row for row, part in enumerate(parts) if part[0] == wanted]
            found, parts, split = [found[r] for r in rows], [parts[r][1:] for r in rows], None
        elif len(tops) == 1 and all(len(p) > 1 for p in parts) and any(len(p) > 2 for p in parts):
            parts = [part[1:] for part in parts]
        elif split is not None:
            raise UsageError(
                f"--split names a part of SOURCE, got {split!r}, and {spec} has "
                f"{', '.join(sorted(tops)[:5]) or 'no folders'} inside; leave it out"
            )
        else:
            return found, parts


def _parts(sample: Sample | Refused) -> tuple[str, ...]:
    """Of the path that unpacking would give, without `..` and the root."""
    name = sample.name if isinstance(sample, Refused) else sample.image.name
    return PurePosixPath(normpath(f"/{name}")).parts[1:]


def _printable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _size(sample: Sample | Refused) -> int:
    return -1 if isinstance(sample, Refused) else sample.image.size


def _refuse(reason: str) -> Payload:
    raise ImageError(reason)
