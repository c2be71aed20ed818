"""Memory that a cache may ask for: what is free now, inside the container's own limit."""

import os
from pathlib import Path

import torch

from shards.errors import UsageError

_CGROUP = Path("sys/fs/cgroup")


def free_bytes(device: torch.device) -> int:
    """Bytes that could be had now on a device; UsageError where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = free_host_bytes()
    if free is None:
        raise UsageError(
            "the default size of a cache is a share of the free memory, which this system does "
            "not tell; give data.cache_bytes, such as 4GiB"
        )
    return free


def free_host_bytes() -> int | None:
    """Bytes that could be had now on the host; None where the system does not say."""
    free = _free_on_linux(Path("/"))
    if free is None and "SC_AVPHYS_PAGES" in getattr(os, "sysconf_names", {}):
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return free


def _free_on_linux(root: Path) -> int | None:
    """The machine's available memory or what is left of the container's limit, the smaller."""
    try:
        text = (root / "proc/meminfo").read_text(encoding="utf-8")
        lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    left = _left_in_container(root)
    return free if left is None else min(free, left)


def _left_in_container(root: Path) -> int | None:
    """Bytes up to the limit of control groups, version 2 or 1; None without a limit."""
    for group, limit_name, used_name in (
        (root / _CGROUP, "memory.max", "memory.current"),
        (root / _CGROUP / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            limit = int((group / limit_name).read_text(encoding="utf-8"))
            used = int((group / used_name).read_text(encoding="utf-8"))
            stat = (group / "memory.stat").read_text(encoding="utf-8")
        except (OSError, ValueError):  # no such version, or the limit reads "max"
            continue
        # Files that were read count as used although the system gives them up when asked.
        files = dict(line.split() for line in stat.splitlines()).get("inactive_file", "0")
        return max(0, limit - used + int(files))
    return None
