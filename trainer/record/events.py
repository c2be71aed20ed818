"""TensorBoard's event files, of numbers by name and step; reading them is TensorBoard's business.

A file is a row of records (TFRecord): the length and its checksum, a message and its checksum. A
message is an Event of tensorboard's event.proto, of which four fields are needed. Its own writer
does the same, but brings half a second of imports, an S3 client among them, to each run's start.
"""

import itertools
import math
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from trainer.record.jsonlines import append_whole

EVENTS_NAME = "tensorboard"
VERSION = b"brain.Event:2"
_NUMBER_OF_FILE = itertools.count()  # of this process, so that no two are called the same
# The field's number and its kind (0: varint, 1: 8 bytes, 2: bytes with their length, 5: 4 bytes).
_TIME, _STEP, _FILE_VERSION, _SUMMARY, _SESSION = b"\x09", b"\x10", b"\x1a", b"\x2a", b"\x3a"
_VALUE, _TAG, _SIMPLE_VALUE = b"\x0a", b"\x0a", b"\x15"  # of a summary; of a value
_IS_START = b"\x08\x01"  # of a session: what is of this step and later was left by a former one


class EventLog:
    """The numbers of a run's records as events, in RUN/tensorboard; a logger (loggers.py)."""

    def __init__(self, run: Path, from_step: int = 0) -> None:
        self._events = EventWriter(run / EVENTS_NAME, from_step + 1 if from_step else None)

    def write(self, step: int, values: Mapping[str, float | int | str]) -> None:
        """One record, but for what is in words."""
        for name, value in values.items():
            if not isinstance(value, str):
                self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._events.close()


class EventWriter:
    """Appends scalars to a new file in a folder; with `purge_step` a reader drops older ones."""

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        unique = f"{socket.gethostname()}.{os.getpid()}.{next(_NUMBER_OF_FILE)}"
        name = f"events.out.tfevents.{int(time.time()):010d}.{unique}"
        self._file = open(folder / name, "ab", buffering=0)
        self._append(_sized(_FILE_VERSION, VERSION))
        if purge_step is not None:
            self._append(_STEP + _varint(purge_step) + _sized(_SESSION, _IS_START))

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """One number of a step that is not negative; DataError when there is no room for it."""
        try:
            four_bytes = struct.pack("<f", value)
        except OverflowError:  # no float32 is so large
            four_bytes = struct.pack("<f", math.copysign(math.inf, value))
        number = _sized(_TAG, name.encode()) + _SIMPLE_VALUE + four_bytes
        self._append(_STEP + _varint(step) + _sized(_SUMMARY, _sized(_VALUE, number)))

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()

    def _append(self, fields: bytes) -> None:
        event = _TIME + struct.pack("<d", time.time()) + fields
        length = struct.pack("<Q", len(event))
        append_whole(self._file, length + _checksum(length) + event + _checksum(event))


def _sized(field: bytes, value: bytes) -> bytes:
    return field + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _checksum(data: bytes) -> bytes:
    """CRC-32C, turned and moved as TFRecord has it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _table() -> Iterator[int]:
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        yield byte


_TABLE = tuple(_table())
