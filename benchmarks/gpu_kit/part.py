"""What the parts of the kit share: the kit itself, projects to run stages in, and findings that are written at once.

The standard library alone: the kit is checked with it before anything is installed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

MANIFEST = "manifest.json"
WEIGHTS, PACKED = "model.safetensors", "model.npz"
SAID = 2000  # characters that are kept of what a failed process said


@dataclass(frozen=True)
class Kit:
    """The folder that `make gpu-kit` wrote, and where it is used."""

    folder: Path
    scratch: Path
    gpu: bool
    """Whether there is one; without, all is tiny, and fp16 is left out."""

    @property
    def project(self) -> Path:
        """A checkout in small: the code, params.yaml, tokens, tokenizer, clean rows, pretrained weights."""
        return self.folder / "project"

    @property
    def pretrained(self) -> Path:
        """The folder of the pretrained model, once `unpack` has made it."""
        return self.scratch / "pretrained"

    def unpack(self) -> None:
        """Write the pretrained model. Its weights come as two halves of their bytes, of which one can be compressed."""
        import numpy as np

        shutil.copytree(self.project / "pretrained", self.pretrained, ignore=shutil.ignore_patterns(PACKED))
        with np.load(self.project / "pretrained" / PACKED) as halves:
            content = np.stack([halves["low"], halves["high"]], axis=1)
        (self.pretrained / WEIGHTS).write_bytes(content.tobytes())

    @property
    def about(self) -> dict[str, Any]:
        """The manifest: `made`, `python`, `sha256` of each file, and what the CPU came to (`cpu`)."""
        found: dict[str, Any] = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
        return found

    @property
    def precisions(self) -> tuple[str, str]:
        """The two that the stages are run in."""
        return ("fp16", "bf16") if self.gpu else ("fp32", "bf16")

    def faults(self) -> list[str]:
        """What is wrong with the kit, or with this Python for it: a line each."""
        about = self.about
        here = f"{sys.version_info.major}.{sys.version_info.minor}"
        faults = [
            f"{self.folder / name}: it is not as it was written. Make the kit again, or copy it again."
            for name, digest in about["sha256"].items()
            if not (self.folder / name).is_file() or sha256(self.folder / name) != digest
        ]
        if here != about["python"]:
            faults.append(
                f"{sys.executable} is Python {here}. Allowed: {about['python']}, for which the wheels are. Set PYTHON"
                f" to one, or make a kit for this one: make gpu-kit KIT_PYTHON={here}"
            )
        return faults

    @property
    def params(self) -> dict[str, Any]:
        """The values of the kit's params.yaml."""
        import yaml

        found: dict[str, Any] = yaml.safe_load((self.project / "params.yaml").read_text(encoding="utf-8"))
        return found

    def new_project(self, name: str, changes: Mapping[str, Any]) -> Path:
        """A folder in which stages can run, with `changes` of the parameters; the data is not copied."""
        root = self.scratch / name
        (root / "artifacts").mkdir(parents=True)
        (root / "artifacts/data").symlink_to(self.project / "artifacts/data")
        (root / "pretrained").symlink_to(self.pretrained)
        self.set_params(root, changes)
        return root

    def set_params(self, root: Path, changes: Mapping[str, Any]) -> None:
        """Write the kit's params.yaml to a project, with `changes` by dotted names."""
        import yaml

        values = self.params
        for dotted, value in changes.items():
            *sections, key = dotted.split(".")
            section = values
            for part in sections:
                section = section[part]
            section[key] = value
        (root / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


@dataclass
class Findings:
    """What a part has found, in a JSON file that is written anew with each finding."""

    path: Path
    content: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, value: Any) -> None:
        """Keep a finding."""
        self.content[name] = value
        self.write()

    def check(self, what: str, held: bool, found: Any) -> None:
        """Keep whether something held that is to hold, and the figure that says it."""
        self.content.setdefault("checks", []).append({"what": what, "held": bool(held), "found": found})
        self.write()

    def write(self) -> None:
        """Write the file, whole or not at all."""
        draft = self.path.with_name(f".{self.path.name}.draft")
        draft.write_text(json.dumps(self.content, indent=2) + "\n", encoding="utf-8")
        draft.replace(self.path)


class SkippedError(Exception):
    """A part cannot be run here; the message says why."""


@dataclass(frozen=True)
class Ran:
    """A process that has ended."""

    code: int
    seconds: float
    said: str

    @property
    def failure(self) -> str | None:
        """What the process said last, where it failed."""
        return None if self.code == 0 else f"ended with {self.code}: {self.said[-SAID:].strip()}"


def start_stage(
    project: Path,
    stage: str,
    *,
    threads: int,
    environment: Mapping[str, str] | None = None,
    said: IO[bytes] | int = subprocess.PIPE,
) -> subprocess.Popen[str]:
    """Start `python -m stages.STAGE` in `project`; what it says goes to `said`."""
    return subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage}"], cwd=project, stdout=subprocess.DEVNULL, stderr=said,
        text=True, env={**os.environ, "OMP_NUM_THREADS": str(threads), **(environment or {})},
    )  # fmt: skip


def run_stage(project: Path, stage: str, *, threads: int, environment: Mapping[str, str] | None = None) -> Ran:
    """Run `python -m stages.STAGE` in `project`."""
    begun = time.perf_counter()
    process = start_stage(project, stage, threads=threads, environment=environment)
    said = process.communicate()[1]
    return Ran(process.returncode, round(time.perf_counter() - begun, 1), said)


def threads_for(processes: int) -> int:
    """The threads of each of so many processes at once."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // processes)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def greatest(values: Sequence[float]) -> float:
    """The greatest of some values, to six digits; 0 of none."""
    return float(f"{max(values, default=0.0):.6g}")
