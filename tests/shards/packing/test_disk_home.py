"""What a home on a disk gives of its tars."""

from pathlib import Path

from shards.packing.home import DiskHome


def test_pieces_fit_into_a_cache(tmp_path: Path) -> None:
    """They are the bytes that were asked for, of at most 256 KiB each; fewer where a file ends."""
    path, content = tmp_path / "a.tar", bytes(range(251)) * 4001
    path.write_bytes(content)
    for start, stop in ((0, len(content)), (1000, 600_000), (7, 8), (900_000, len(content) + 9)):
        pieces = list(DiskHome(tmp_path).pieces(path, start, stop))
        assert b"".join(pieces) == content[start:stop]
        assert max(map(len, pieces)) <= 256 << 10
