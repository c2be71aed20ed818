"""The outcome of a pack: what lies in a folder afterwards."""

from dataclasses import dataclass
from pathlib import Path

from shards.format import Manifest
from shards.packing.conversions import Converted
from shards.packing.part import Part
from shards.remote.address import RemoteFolder
from shards.samples.quarantine import Refused


@dataclass(frozen=True, slots=True)
class PackReport:
    """The contents of a folder after a finished pack, or those of a part."""

    directory: Path | RemoteFolder
    manifest: Manifest  # of a part: of its shards alone, in a cut of its own
    refused: tuple[Refused, ...]  # images that were left out
    converted: tuple[Converted, ...]  # images that lost something on the way
    was_complete: bool  # nothing was done: the same set lay there already
    num_resumed: int  # samples that an interrupted run had packed
    held_out: "PackReport | None" = None  # of the other set, where there are two
    part: Part | None = None  # which one, of a set that is not joined yet
