"""The members of a sample: one is its image, others may hold its class.

WebDataset's rule is the first dot: a sample is what shares a name up to there, the rest is the
extension. Photographs are not named for that rule. `IMG_0.12.2023.jpg` is a sample whose extension
is `12.2023.jpg`, and `photo1.jpg`, `photo1.1.jpg`, `photo1.2.jpg` are one sample of three images.
So where a sample has several, an image key says which one counts:

    auto         the only image; of several the one whose whole extension is an image's ending
    jpg,png      the first of these extensions that the sample has; `input.jpg` is one, too
    each         every image is a sample of its own, with the `.cls` or `.json` of its own name

With the first two, a `mask.png` beside another image is that image's mask.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from shards.errors import UsageError
from shards.format import Manifest
from shards.samples.image_header import IMAGE_ENDINGS
from shards.samples.masks import MASK_EXTENSION
from shards.samples.quarantine import Refused
from shards.tars.members import TarMember

AUTO, EACH = "auto", "each"
LABEL_ENDINGS = ("cls", "json")  # the likelier one first
FURTHER = "a further image of its sample"  # how the reason begins for one that is not used


@dataclass(frozen=True, slots=True)
class Sample:
    """An image with a name of its own and what may say its class."""

    key: str
    image: TarMember
    labels: tuple[TarMember, ...]  # the likeliest first
    mask: TarMember | None = None  # of the image (masks.py)


def check_image_key(image_key: str) -> str:
    """The image key as it is stored; raises UsageError for one that no image can have."""
    if image_key in (AUTO, EACH):
        return image_key
    extensions = [part.strip().lower().removeprefix(".") for part in image_key.split(",")]
    for extension in extensions:
        if _ending(extension) not in IMAGE_ENDINGS:
            raise UsageError(
                f"an image key is {AUTO}, {EACH} or an extension that ends as images do, such as "
                f"jpg or input.jpg, got {extension!r}"
            )
    return ",".join(extensions)


def tell_further(refused: Sequence[Refused]) -> Iterator[str]:
    """The remedy for samples of several images, where there are some."""
    if any(item.reason.startswith(FURTHER) for item in refused):
        yield (
            f"--image-key {EACH} makes every image a sample of its own; --image-key jpg (or "
            "input.jpg, ...) says which one is meant, and that the others are not"
        )


def image_key_of(manifest: Manifest | None) -> str:
    """The image key that an index was made with."""
    known = None if manifest is None else manifest.made.get("image_key")
    return check_image_key(known) if isinstance(known, str) else AUTO


def choose_images(
    groups: Iterable[Sequence[TarMember]], image_key: str = AUTO
) -> Iterator[Sample | Refused]:
    """The image of each group of members with one key, and every image that is left out.

    Args:
        groups: members of equal keys, as `tar.iter_samples` gives them.
        image_key: not `each`.
    """
    for group in groups:
        images = [member for member in group if _ending(member.extension) in IMAGE_ENDINGS]
        mask = _mask(images, image_key)
        images = [member for member in images if member is not mask]
        chosen = _choose(group, images, image_key)
        if isinstance(chosen, Refused):
            yield chosen
            continue
        if chosen.problem:
            yield Refused(chosen.name, chosen.problem)
        else:
            mask = None if mask is None or mask.problem else mask
            yield Sample(chosen.key, chosen, tuple(_labels(group, chosen, len(images))), mask)
        # Who named the image's extension knows of the others.
        if image_key == AUTO:
            others = (member for member in images if member is not chosen)
            yield from (Refused(m.name, f"{FURTHER} ({chosen.name} is the one)") for m in others)


def each_image(members: Sequence[TarMember]) -> Iterator[Sample | Refused]:
    """Every image as a sample; its key is its name up to the last dot."""
    labels = {
        (_stem(member), _ending(member.extension)): member
        for member in members
        if _ending(member.extension) in LABEL_ENDINGS
    }
    for member in members:
        if member.problem and _ending(member.extension) not in LABEL_ENDINGS:
            yield Refused(member.name, member.problem)
            continue
        if _ending(member.extension) not in IMAGE_ENDINGS:
            continue
        places = [(name, e) for e in LABEL_ENDINGS for name in (_stem(member), member.key)]
        found = dict.fromkeys(labels[place] for place in places if place in labels)
        yield Sample(_stem(member), member, tuple(found))


def _mask(images: Sequence[TarMember], image_key: str) -> TarMember | None:
    """The mask among a sample's images, where it is not all that there is, nor asked for."""
    if len(images) < 2 or MASK_EXTENSION in image_key.split(","):
        return None
    return next((member for member in images if member.extension == MASK_EXTENSION), None)


def _choose(
    group: Sequence[TarMember], images: Sequence[TarMember], image_key: str
) -> TarMember | Refused:
    by_extension = {member.extension: member for member in reversed(group)}
    found = ", ".join(by_extension[extension].extension for extension in reversed(by_extension))
    if not images:
        # A link to a folder, or to nothing, has no extension.
        reason = group[0].problem if not group[0].extension else ""
        return Refused(group[0].key, reason or f"no member is an image ({found})")
    if image_key != AUTO:
        for extension in image_key.split(","):
            if extension in by_extension:
                return by_extension[extension]
        return Refused(group[0].key, f"no member has the extension {image_key} ({found})")
    whole = [member for member in images if member.extension in IMAGE_ENDINGS]
    if len(images) > 1 and not whole:
        reason = f"several members are images ({found}); choose with --image-key"
        return Refused(group[0].key, f"{reason} {images[0].extension}, or --image-key {EACH}")
    return (whole or images)[0]


def _labels(group: Sequence[TarMember], image: TarMember, num_images: int) -> Iterator[TarMember]:
    """For `12.2023.jpg` the `12.2023.cls`, else the `cls`, else the only one that ends so."""
    by_extension = {member.extension: member for member in group}
    before = image.extension[: -len(_ending(image.extension))]
    for ending in LABEL_ENDINGS:
        for extension in dict.fromkeys((before + ending, ending)):
            if extension in by_extension:
                yield by_extension[extension]
        longer = [member for member in group if member.extension.endswith(f".{ending}")]
        if num_images == 1 == len(longer):
            yield longer[0]


def _ending(extension: str) -> str:
    return extension.rpartition(".")[2]


def _stem(member: TarMember) -> str:
    return member.name[: -len(_ending(member.extension)) - 1]
