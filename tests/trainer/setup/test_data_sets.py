"""What a person is told of a mixture before it trains."""

from pathlib import Path

import numpy as np
from tiny_sets import write_set

from shards.index import ShardIndex
from shards.mixture.mixed_index import MixedIndex
from trainer.setup.data_sets import describe_sets, notes_on_sets


def test_shares_are_told_and_what_differs(tmp_path: Path) -> None:
    """Sizes that differ by twice or more, and classes that are not the same, a line each."""
    a = ShardIndex.open(write_set(tmp_path / "a", [0, 1, 2, 0, 1, 2], seed=1))
    b = ShardIndex.open(write_set(tmp_path / "b", [None] * 10, seed=2))
    records = np.array(b.records)
    records["height"], records["width"] = 500, 400
    large = ShardIndex(b.folder, records, b.manifest)
    assert describe_sets(a) == notes_on_sets(a) == ()
    told = notes_on_sets(MixedIndex([a, large], [1, 0.5]))
    assert told[:3] == (
        "11 images an epoch, of 2 sets:",
        f"  {tmp_path}/a: 6 images (samples 0 to 5), weight 1: 6 an epoch",
        f"  {tmp_path}/b: 10 images (samples 6 to 15), weight 0.5: 5 an epoch",
    )
    sizes = f"(shorter side, median: 32 px in {tmp_path}/a, 400 px in {tmp_path}/b)"
    assert f"differ in size {sizes}" in told[3]
    assert len(told) == 4 + (a.classes != b.classes)
    named = ShardIndex(a.folder, a.records, a.manifest)
    named.classes = ("cat", "dog", "eel")
    (*_, classes) = notes_on_sets(MixedIndex([named, b], [1, 0.5]))
    assert classes.startswith("the sets' classes differ: they are matched by name, 3 in all")
    assert f"{tmp_path}/b names none, so its labels are left out" in classes
    assert len(notes_on_sets(MixedIndex([a, ShardIndex.open(b.folder)], [1, 0.5]))) <= 4
