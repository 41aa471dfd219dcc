"""Rows as Daft frames: in this process, or, with DAFT_RUNNER=ray, on the cluster that RAY_ADDRESS names.

On a cluster the rows go out from this process and come back to it, so no node need see its disk; the project's own code
goes along with them.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import socket
import sys
from pathlib import Path

import daft
import pyarrow as pa
import pyarrow.parquet as pq
from daft.exceptions import DaftCoreException

from stages.core.files import GROUP_ROWS
from stages.core.plugins import install_extra

log = logging.getLogger("winnow")

CODE = Path(__file__).resolve().parents[1]  # the package `stages`
WAIT = 10  # seconds


def read(path: Path) -> daft.DataFrame:
    """The rows of a Parquet file. Raises as `of_table` does."""
    return of_table(pq.read_table(path)) if _on_ray() else daft.read_parquet(str(path))


def of_table(table: pa.Table) -> daft.DataFrame:
    """The rows of a table; on a cluster in partitions, at least one for each core.

    Raises ValueError where DAFT_RUNNER is no runner, or Ray is not installed; ConnectionError where no cluster answers.
    """
    if not _on_ray():
        return daft.from_arrow(table)
    rows = min(GROUP_ROWS, max(1, math.ceil(len(table) / _join_cluster())))
    return daft.from_arrow([table.slice(at, rows) for at in range(0, max(1, len(table)), rows)])


def _on_ray() -> bool:
    """Whether a cluster is asked for; otherwise Daft is told to run in this process."""
    runner = os.environ.get("DAFT_RUNNER") or "native"
    if runner not in ("native", "ray"):
        raise ValueError(f"DAFT_RUNNER is '{runner}'. Allowed: native (in this process), ray.")
    if runner == "native":
        _stay_here()
    return runner == "ray"


@functools.cache
def _stay_here() -> None:
    """Tell Daft to run here: it would load all of Ray, where that is installed, to see whether there is a cluster."""
    with contextlib.suppress(DaftCoreException):  # it has begun, here
        daft.set_runner_native()


def _join_cluster() -> int:
    """Join the cluster, or start one here where RAY_ADDRESS names none. Returns the number of its cores."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when `ray` is imported
    try:
        import ray
    except ImportError:
        raise ValueError(
            "DAFT_RUNNER is 'ray', which is not installed. Install it from the project's folder: "
            f"{install_extra('ray')}"
        ) from None
    if not ray.is_initialized():
        if " " in sys.executable:
            raise ValueError(
                f"DAFT_RUNNER is 'ray', and Python is {sys.executable}: Ray starts nothing by a path with a space, and "
                "would wait for ever. Make .venv in a folder without one, or leave DAFT_RUNNER unset."
            )
        _reach(os.environ.get("RAY_ADDRESS", ""))
        ray.init(
            runtime_env={"py_modules": [str(CODE)], "excludes": ["__pycache__"]},
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        daft.set_runner_ray()  # with an address, even this one, it would warn that the cluster was joined before
        nodes = sum(node["Alive"] for node in ray.nodes())
        log.info("on Ray: %d nodes, %d cores", nodes, ray.cluster_resources().get("CPU", 0))
    return max(1, int(ray.cluster_resources().get("CPU", 0)))


def _reach(address: str) -> None:
    """Raise ConnectionError where nothing answers at `host:port`; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # none, or a word of Ray's such as auto
    try:
        socket.create_connection((host, int(port)), timeout=WAIT).close()
    except OSError as error:
        raise ConnectionError(
            f"RAY_ADDRESS is '{address}', where no cluster answers ({error}). Allowed: the host:port that "
            "`ray start --head` printed on the first node. See docs/cluster-data.md."
        ) from None
