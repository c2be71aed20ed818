"""Several folders of shards in place of one: local ones, addresses, or both.

They have one cache of remote shards, since they are read with the same settings.
"""

from dataclasses import dataclass
from pathlib import Path

from shards.remote.address import RemoteFolder


@dataclass(frozen=True, slots=True)
class SeveralFolders:
    """The folders of a mixture of sets, in its order."""

    parts: tuple[Path | RemoteFolder, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.parts))

    @property
    def name(self) -> str:
        """The last parts of them all."""
        return "+".join(part.name for part in self.parts)


def remote_parts(directory: Path | RemoteFolder | SeveralFolders) -> tuple[RemoteFolder, ...]:
    """Those of the folders that lie elsewhere."""
    parts = directory.parts if isinstance(directory, SeveralFolders) else (directory,)
    return tuple(part for part in parts if isinstance(part, RemoteFolder))
