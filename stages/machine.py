"""What this process may use of the machine."""

from __future__ import annotations

import os


def cores() -> int:
    """The processors that this process may run on, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
