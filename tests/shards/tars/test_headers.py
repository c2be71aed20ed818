"""A hostile tar is refused in bounded time: no circles, no long headers, no data from nowhere."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from shards.errors import DataError
from shards.format import INDEX_DTYPE, ShardInfo
from shards.indexing.scan_tar import scan_tar
from shards.tars.members import iter_members
from shards.upkeep.shard_check import ShardJob, check_shard

BLOCK = 512
END = bytes(2 * BLOCK)


def number(size: int) -> bytes:
    """Base 256, which has a sign."""
    return (b"\xff" if size < 0 else b"\x80") + (size & ((1 << 88) - 1)).to_bytes(11, "big")


def entry(name: bytes, data: bytes = b"", kind: bytes = b"0", size: int | None = None) -> bytes:
    block = bytearray(BLOCK)
    block[: len(name[:100])] = name[:100]
    block[124:136] = number(len(data) if size is None else size)
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + data + bytes(-len(data) % BLOCK)


def pax(records: bytes) -> bytes:
    return entry(b"pax", records, b"x") + entry(b"a.jpg", b"12")


HOSTILE = {
    "a size that leads back": entry(b"a.jpg", b"x", size=-BLOCK),
    "a folder's size that leads back": entry(b"a", b"", b"5", size=-(1 << 40)),
    "a long name of negative size": entry(b"a", b"x", b"L", size=-1),
    "a long name of 8 GB": entry(b"a", b"x", b"L", size=8 << 30),
    "a long name of 100 KB": entry(b"a", b"x" * 100_000, b"L") + entry(b"a.jpg", b"1"),
    "a PAX size that leads back": pax(b"13 size=-512\n"),
    "a PAX size that is no number": pax(b"10 size=x\n" + b"9" * 60_000),
    "digits whose search takes their square": pax(b"9" * 60_000),
    "a PAX text that is no text": pax(b"17 hdrcharset=\xff\n"),
    "500 long names in a row": entry(b"a", b"", b"L") * 500,
    "holes": entry(b"a.jpg", b"12", b"S"),
    "data beyond the end": entry(b"a.jpg", b"x", size=1 << 40),
    "an offset no disk has": entry(b"a.jpg", b"x", b"Z", size=1 << 62),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_it_is_an_error_that_names_the_tar(kind: str, tmp_path: Path) -> None:
    """Scanning raises DataError, checking reports it; neither goes round in circles."""
    path = tmp_path / "x.tar"
    path.write_bytes(entry(b"good.jpg", b"1") + HOSTILE[kind] + END)
    with pytest.raises(DataError, match=r"x\.tar"):
        list(iter_members(path))
    info = ShardInfo("x.tar", 0, path.stat().st_size, None)
    job = ShardJob(tmp_path, info, "", 0, np.empty(0, INDEX_DTYPE), (), decode=False)
    report = check_shard(job)
    # Python 3.13's tarfile ends at some of these instead of raising.
    said = ("not a whole tar", "cut off or damaged")
    assert any(words in problem for problem in report.problems for words in said)


def test_names_that_climb_are_only_names(tmp_path: Path) -> None:
    """Nothing is ever unpacked, so `../` and `/` lead nowhere."""
    path = tmp_path / "x.tar"
    names = [b"../../up.jpg", b"/root.jpg"]
    path.write_bytes(b"".join(entry(name, b"1") for name in names) + END)
    assert [member.name for member in iter_members(path)] == ["../../up.jpg", "/root.jpg"]
    assert [p.name for p in tmp_path.iterdir()] == ["x.tar"]


def test_a_long_pax_header_of_a_real_writer_is_read(tmp_path: Path) -> None:
    """Attributes and long paths, as Python and GNU tar write them."""
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("d/" * 2_000 + "a.jpg")
        info.pax_headers = {"SCHILY.xattr.user.note": "n" * 20_000, "mtime": "123456789.123456789"}
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    assert [member.size for member in iter_members(path)] == [3]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"a.json", b"[" * 20_000),
        (b"a.json", b'{"label": ' * 5_000),
        (b"a.cls", b"9" * 5_000),
        (b"a.cls", b"x" * (1 << 21)),
    ],
)
def test_a_label_that_is_a_bomb_is_refused(
    name: bytes, text: bytes, tmp_path: Path, encode
) -> None:
    """Its sample goes to the quarantine list, the others stay."""
    path = tmp_path / "x.tar"
    image = encode(4, 5)
    path.write_bytes(entry(b"a.jpg", image) + entry(name, text) + entry(b"b.jpg", image) + END)
    scan = scan_tar(path)
    assert scan.keys == ("b",)
    assert [refused.name for refused in scan.refused] == ["x.tar:a"]
