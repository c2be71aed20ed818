"""Event files of scalars: what TensorBoard itself reads is what was written."""

import math
import struct
from pathlib import Path
from typing import Any

import pytest

from shards.errors import DataError
from trainer.record.events import EVENTS_NAME, EventWriter
from trainer.record.jsonlines import append_whole
from trainer.record.log import RunLog


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """By name the steps and values, as TensorBoard shows them."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events: Any = EventAccumulator(str(folder))
    events.Reload()
    names = events.Tags()["scalars"]
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in names}


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    """Small steps and large, names of any script, values that are not finite or no float32."""
    values = {0: 0.5, 127: -1e-30, 128: math.inf, 300: 1e300, 2**40: -1e300}
    writer = EventWriter(tmp_path)
    for step, value in values.items():
        writer.add_scalar("loss", value, step)
    writer.add_scalar("größe" * 50, 7, 3)
    writer.close()
    found = read(tmp_path)
    assert [step for step, _ in found["loss"]] == list(values)
    expected = [0.5, struct.unpack("<f", struct.pack("<f", -1e-30))[0], *[math.inf] * 2, -math.inf]
    assert [value for _, value in found["loss"]] == expected
    assert found["größe" * 50] == [(3, 7.0)]


def test_nan_stays_nan(tmp_path: Path) -> None:
    """A loss that is none is shown as none."""
    writer = EventWriter(tmp_path)
    writer.add_scalar("loss", math.nan, 1)
    writer.close()
    ((step, value),) = read(tmp_path)["loss"]
    assert step == 1
    assert math.isnan(value)


def test_a_continued_run_shows_no_step_twice(tmp_path: Path) -> None:
    """A new file replaces what was written past the checkpoint; words are left out."""
    with RunLog(tmp_path) as log:
        for step in range(1, 6):
            log.write(step, {"loss": float(step), "note": "words"})
    with RunLog(tmp_path, from_step=3) as log:
        log.write(4, {"loss": -4.0})
    assert len(list((tmp_path / EVENTS_NAME).iterdir())) == 2
    assert read(tmp_path / EVENTS_NAME) == {"loss": [(1, 1), (2, 2), (3, 3), (4, -4)]}


def test_a_full_disk_is_one_line() -> None:
    """Records of any kind: what there is no room for is said with its file."""
    with (
        open("/dev/full", "wb", buffering=0) as full,
        pytest.raises(DataError, match=r"a disk with room, got No space left .* /dev/full"),
    ):
        append_whole(full, b"record")
