"""Orchestration: the graph of dvc.yaml run by Prefect, and the `winnow` command. Nothing here loads torch."""

import os

__version__ = "0.1.0"
HEARTBEAT_SECONDS = 30  # of a flow run, the least that Prefect takes; one that beats no more is marked as crashed

# Prefect reads these when it is imported; importing any module of this package comes before that.
for _name, _value in {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",  # the first start makes a database
}.items():
    os.environ.setdefault(_name, _value)
