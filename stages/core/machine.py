"""What this process may use of the machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def cores() -> int:
    """The processors that this process may run on, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name and how many cores this process may use: what a speed must be read with."""
    return f"{_cpuinfo('model name') or platform.processor() or platform.machine()}, {cores()} cores"


def vendor() -> str:
    """Who made the processor, as it says itself ("AuthenticAMD", "GenuineIntel"); empty where it does not."""
    return _cpuinfo("vendor_id")


def _cpuinfo(key: str, file: Path = Path("/proc/cpuinfo")) -> str:
    """What Linux says of the first processor; empty elsewhere."""
    lines = file.read_text().splitlines() if file.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
