"""The resources of the machine that this process may use."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def cores() -> int:
    """The processors that this process may run on, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name and the number of cores that this process may use, without which a speed means nothing."""
    return f"{_cpuinfo('model name') or platform.processor() or platform.machine()}, {cores()} cores"


def vendor() -> str:
    """The processor's maker by its own name ("AuthenticAMD", "GenuineIntel"); empty where it is unknown."""
    return _cpuinfo("vendor_id")


def _cpuinfo(key: str, file: Path = Path("/proc/cpuinfo")) -> str:
    """The value that Linux gives for the first processor; empty on other systems."""
    lines = file.read_text().splitlines() if file.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
