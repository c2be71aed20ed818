"""Links inside a tar: each leads to the data of a regular file of the same tar, or nowhere.

Every entry of a tar is added first, and links are looked up afterwards. A hard link is read as tar
writes it, back to a name that came before; a symbolic one from its own folder, to any name of the
tar. Nothing outside the tar is ever looked at.
"""

import posixpath
import tarfile

_MAX_HOPS = 40  # of links that lead to links, as on Linux

Span = tuple[int, int]  # offset and bytes of the data


class TarLinks:
    """The names of a tar that was walked from its start to its end."""

    def __init__(self) -> None:
        self._files: dict[str, Span] = {}
        self._folders: set[str] = set()
        self._links: dict[str, tarfile.TarInfo] = {}

    def add(self, info: tarfile.TarInfo) -> None:
        """Take note of an entry, in the tar's order."""
        name = _plain(info.name)
        if info.isreg():
            self._files[name] = info.offset_data, info.size
            self._links.pop(name, None)
        elif info.isdir():
            self._folders.add(name)
        elif is_link(info):
            self._links[name] = info

    def find(self, link: tarfile.TarInfo) -> Span | str:
        """Offset and bytes of what a link leads to, or the reason why it leads nowhere."""
        told = f"{'hard' if link.islnk() else 'symbolic'} link", f"({link.linkname!r})"
        for _ in range(_MAX_HOPS):
            target = _target(link)
            if target in self._folders:
                return f"a {told[0]} to a folder, which is not followed {told[1]}"
            if target in self._files:
                offset, size = self._files[target]
                if link.islnk() and offset > link.offset:
                    return f"a {told[0]} whose target comes after it in the tar {told[1]}"
                return offset, size
            if target not in self._links:
                return f"a {told[0]} whose target is not in the tar {told[1]}"
            link = self._links[target]
        return f"a {told[0]} that leads in a circle {told[1]}"


def is_link(info: tarfile.TarInfo) -> bool:
    """Whether an entry has another one's data."""
    return info.issym() or info.islnk()


def _target(link: tarfile.TarInfo) -> str:
    """The name a link leads to, which may be outside the tar."""
    if link.islnk():
        return _plain(link.linkname)
    return _plain(posixpath.join(posixpath.dirname(_plain(link.name)), link.linkname))


def _plain(name: str) -> str:
    """A name without what says nothing: `./a//b.jpg` is `a/b.jpg`."""
    return posixpath.normpath(name) if name else name
