"""A shard's tar: the bytes of webdataset's writer, and where its samples lie."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shards.format import NO_LABEL
from shards.packing.shard_writer import ShardWriter, sample_members
from shards.packing.transcode import StoredImage
from shards.tars.members import iter_members


def written(folder: Path, num_samples: int) -> tuple[ShardWriter, list[dict[str, object]]]:
    """A shard of samples of all kinds and sizes, and the same samples as webdataset takes them."""
    writer, samples = ShardWriter(folder, "train-000000.tar"), []
    draw = np.random.default_rng(0)
    for number in range(num_samples):
        data = draw.bytes(int(draw.integers(1, 3000)))
        mask = draw.bytes(600) if number % 3 == 0 else b""
        extension = ("jpg", "png")[number % 2]
        image = StoredImage(extension, data, 9, 9, 0, mask=mask)
        label = NO_LABEL if number % 5 == 0 else number
        name = None if number % 7 == 0 else "\u00e4/" * (number % 40) + "x"
        members = sample_members(image, label, name)
        writer.add(f"{number:06d}", members, image, label)
        samples.append({"__key__": f"{number:06d}", **members})
    return writer, samples


@pytest.mark.parametrize("num_samples", [1, 2, 19, 60])
def test_a_tar_has_webdatasets_bytes(tmp_path: Path, num_samples: int) -> None:
    """Whatever a sample holds; its digest is that of the file, its bounds those of its members."""
    webdataset = pytest.importorskip("webdataset.writer")
    writer, samples = written(tmp_path, num_samples)
    bounds = writer.bounds
    info, records = writer.close()
    theirs = webdataset.TarWriter(str(tmp_path / "theirs.tar"), encoder=False, mtime=0)
    for sample in samples:
        theirs.write(sample)
    theirs.close()
    content = (tmp_path / info.name).read_bytes()
    assert content == (tmp_path / "theirs.tar").read_bytes()
    assert info.sha256 == hashlib.sha256(content).hexdigest()
    members = list(iter_members(tmp_path / info.name))
    firsts = [m.offset - 512 for i, m in enumerate(members) if not i or m.key != members[i - 1].key]
    assert bounds[:-1].tolist() == firsts
    assert not content[bounds[-1] :].strip(b"\0")
    assert content[bounds[-1] - 512 : bounds[-1]].strip(b"\0")
    assert [content[r["offset"] :][: r["size"]] for r in records] == [
        s[e] for s in samples for e in ("jpg", "png") if e in s
    ]


def test_packing_imports_no_torch(tmp_path: Path) -> None:
    """Each process of a pack would wait some seconds for it."""
    code = (
        "import sys; from pathlib import Path; from shards.packing.shard_writer import ShardWriter;"
        f"ShardWriter(Path({str(tmp_path)!r}), 'a.tar').close(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
