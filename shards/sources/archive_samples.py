"""The samples of one archive, and what is in it beside them: hidden, replaced, no image."""

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath

from shards.samples.image_header import IMAGE_ENDINGS
from shards.samples.image_key import EACH, LABEL_ENDINGS, Sample, choose_images, each_image
from shards.samples.quarantine import Refused
from shards.sources.open_archives import Archive
from shards.sources.walk import SYSTEM_FOLDERS
from shards.tars.members import TarMember


def samples_of(
    archive: Archive, key: str, skipped: Counter[str], replaced: Counter[str]
) -> Iterator[Sample | Refused]:
    """Every image of an archive; counted are what is none by its ending, and names that return."""
    seen = [m for m in archive.members if not _is_hidden(m.name)]
    latest = {m.name: m for m in seen if _system_folder(m.name) is None}
    skipped.update(f"in {folder}" for m in seen if (folder := _system_folder(m.name)))
    replaced.update(m.name for m in seen if latest.get(m.name, m) is not m)
    groups: dict[str, list[TarMember]] = {}
    for member in latest.values():
        groups.setdefault(member.key, []).append(member)
    kept = []
    for group in groups.values():
        if any(_ending(member) in IMAGE_ENDINGS for member in group):
            kept.append(group)
            group = [m for m in group if _ending(m) not in (*IMAGE_ENDINGS, *LABEL_ENDINGS)]
        endings = (_ending(member) for member in group)
        skipped.update(f".{ending}" if ending else "links to folders" for ending in endings)
    if key != EACH:
        return choose_images(kept, key)
    return each_image([member for group in kept for member in group])


def replaced_notes(replaced: Counter[str]) -> Iterator[str]:
    """A sentence about names that return in an archive, where there are some."""
    if replaced:
        comes = "member is" if replaced.total() == 1 else "members are"
        yield (
            f"{replaced.total():,} {comes} replaced by a later one of the same name, as unpacking "
            f"would, {min(replaced)} first"
        )


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") and part != ".." for part in PurePosixPath(name).parts)


def _system_folder(name: str) -> str | None:
    return next((part for part in PurePosixPath(name).parts[:-1] if part in SYSTEM_FOLDERS), None)


def _ending(member: TarMember) -> str:
    return member.extension.rpartition(".")[2]
