"""Numbers of bytes as people write them: 256MiB, 1.5GB, 4096."""

import re

from shards.errors import UsageError

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def parse_size(text: str) -> int:
    """Bytes from a text such as 256MiB, 1.5GB or 4096."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    if match is None or match[2].upper() not in _UNITS:
        raise UsageError(
            f"a size is a number with KiB, MiB, GiB, KB, MB or GB, got {text!r}; try 256MiB"
        )
    return int(float(match[1]) * _UNITS[match[2].upper()])


def show_size(num_bytes: float) -> str:
    """Three digits of a number of bytes, in binary units: 1.46 GiB."""
    units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"]
    # 999.5 would be rounded to four digits.
    while num_bytes >= 999.5 and len(units) > 1:
        num_bytes, units = num_bytes / 1024, units[1:]
    return f"{num_bytes:.3g} {units[0]}"
