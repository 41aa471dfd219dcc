"""The number of processes of a training stage, and how they are started; neither is in params.yaml or dvc.yaml.

WINNOW_PROCESSES is their number on this machine; without it, one for each GPU, or one. WINNOW_HOSTFILE names machines
as for DeepSpeed's launcher: lines of "HOST slots=N".
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import torch

from stages.core.machine import cores

ENVIRONMENT = Path(".dvc/tmp/winnow/environment")  # what DeepSpeed's launcher sets on each machine
TAKEN_ALONG = (
    *("WINNOW_CHECKPOINTS", "WINNOW_CHECKPOINT_SECONDS", "WINNOW_DEBUG", "WINNOW_PROGRESS"),
    *("WINNOW_RANK_TIMEOUT_MINUTES", "CUBLAS_WORKSPACE_CONFIG", "DS_ACCELERATOR", "OMP_NUM_THREADS"),
)


def launch(module: str) -> list[str] | None:
    """The command that runs `module` in as many processes as asked for; None for one, which this process can be.

    Raises ValueError for an invalid number or hostfile.
    """
    if hostfile := os.environ.get("WINNOW_HOSTFILE"):
        return _on_machines(Path(hostfile), module)
    count = processes()
    if count == 1:
        return None
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // count)))
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}", "-m", module]


def processes() -> int:
    """The number of processes on this machine."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    asked = os.environ.get("WINNOW_PROCESSES")
    if asked is None:
        return max(1, gpus)
    if not asked.isdecimal() or int(asked) < 1:
        raise ValueError(f"WINNOW_PROCESSES is '{asked}'. Allowed: a whole number from 1.")
    if gpus and int(asked) > gpus:
        raise ValueError(f"WINNOW_PROCESSES is {asked}, and there are {gpus} GPUs. Allowed: 1 to {gpus}.")
    return int(asked)


def _on_machines(hostfile: Path, module: str) -> list[str]:
    if not hostfile.is_file():
        raise ValueError(f"WINNOW_HOSTFILE is '{hostfile}'. There is no such file. It has lines of: HOST slots=N")
    lines = [line.partition("#")[0].strip() for line in hostfile.read_text(encoding="utf-8").splitlines()]
    if not any(lines):
        raise ValueError(f"{hostfile}: no machines. Allowed: lines of HOST slots=N")
    for number, line in enumerate(lines, start=1):
        if line and not re.fullmatch(r"\w[\w.-]*\s+slots=[1-9]\d*", line):
            raise ValueError(f"{hostfile}, line {number}: '{line}'. Allowed: HOST slots=N")
    machines = [line for line in lines if line]
    if len(machines) == 1:
        raise ValueError(f"{hostfile}: one machine. Start there, with WINNOW_PROCESSES; or name two and more.")
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Of the environment, DeepSpeed's launcher hands on what begins with PYTHON, NCCL and the like, and this file.
    ENVIRONMENT.parent.mkdir(parents=True, exist_ok=True)
    ENVIRONMENT.write_text("".join(f"{name}={os.environ[name]}\n" for name in TAKEN_ALONG if name in os.environ))
    os.environ["DS_ENV_FILE"] = str(ENVIRONMENT.resolve())
    started = ["--hostfile", str(hostfile), "--no_local_rank", "--module", module]
    return [sys.executable, "-m", "deepspeed.launcher.runner", *started]
