"""Checkpoints of a training run: complete or absent, hashed, the newest few, and of exactly this run.

One is a folder of safetensors and JSON, no pickle. It is written beside its place and renamed, so that a name is only
ever that of a complete one; the hashes of its manifest reveal later changes and damage. They are outside DVC's outs, in
a folder named by everything that the run depends on.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from stages.core.files import sha256
from stages.training.processes import number_from_environment, rank

log = logging.getLogger("winnow")

KEPT = 2  # checkpoints of a run
KEPT_RUNS = 3  # of a stage, for a return to parameters whose training was interrupted
MANIFEST = "manifest.json"
WHOLE = {"trained.safetensors", "kept.safetensors", "numbers.json"}  # what every checkpoint has


@dataclass
class Checkpoints:
    """The checkpoints of one run, in `folder`; None: none are kept."""

    folder: Path | None
    key: str = "0" * 16  # what the run depends on, as hexadecimal digits
    every_seconds: float = field(default_factory=lambda: number_from_environment("WINNOW_CHECKPOINT_SECONDS", 300))
    keep_finished: bool = False
    """Whether other runs follow before its outcome is written, so that its end is worth keeping."""
    _last: float = field(default_factory=time.monotonic)
    _unusable: set[Path] = field(default_factory=set)  # they go when there is a newer one, or they would push it out

    def due(self) -> bool:
        """Whether a new checkpoint is due: the last one is old enough."""
        return self.folder is not None and time.monotonic() - self._last >= self.every_seconds

    def save(self, step: int, tensors: Mapping[str, Mapping[str, torch.Tensor]], numbers: Mapping[str, Any]) -> None:
        """Keep the state after optimizer step `step`: named files of tensors, and JSON. Raises OSError, disk full say.

        Earlier checkpoints are deleted only afterwards.
        """
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / f"step-{step:08}"
        for left in self.folder.glob(".draft-*"):
            if not psutil.pid_exists(int(left.name.removeprefix(".draft-"))):  # it was killed while it wrote
                shutil.rmtree(left, ignore_errors=True)
        draft = self.folder / f".draft-{os.getpid()}"
        shutil.rmtree(draft, ignore_errors=True)  # of another process that had this number
        try:
            draft.mkdir()
            for name, content in tensors.items():
                save_file({key: tensor.contiguous() for key, tensor in content.items()}, draft / f"{name}.safetensors")
            (draft / "numbers.json").write_text(json.dumps(numbers), encoding="utf-8")
            hashes = {path.name: sha256(path) for path in sorted(draft.iterdir())}
            (draft / MANIFEST).write_text(json.dumps(hashes), encoding="utf-8")
            for path in (*draft.iterdir(), draft):
                _to_disk(path)
            shutil.rmtree(target, ignore_errors=True)
            draft.replace(target)
            _to_disk(self.folder)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise OSError(
                f"{target}: the checkpoint cannot be written: {error}. Free some space, or move the folder: "
                "WINNOW_CHECKPOINTS. Earlier checkpoints and artifacts are as they were; the stage goes on from there."
            ) from error
        self._last = time.monotonic()
        usable = [path for path in self._found() if path == target or path not in self._unusable]
        for old in (*(self._unusable - {target}), *usable[KEPT:]):
            shutil.rmtree(old, ignore_errors=True)
        self._unusable.clear()

    def newest(self) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]] | None:
        """The newest intact checkpoint; a damaged one is named in a warning, and the one before is taken."""
        found = self._found()
        for path in found:
            try:
                return _read(path)
            except (OSError, ValueError, SafetensorError) as error:
                log.warning("%s: the checkpoint is not as it was written (%s). The one before is used.", path, error)
                self._unusable.add(path)
        if found:
            log.warning("%s: none of the checkpoints can be used. The run starts anew.", self.folder)
        return None

    def discard(self) -> None:
        """Delete the checkpoints: the run is over."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _found(self) -> list[Path]:
        """The checkpoints' folders, newest first."""
        return sorted(self.folder.glob("step-*"), reverse=True) if self.folder is not None else []


def open_checkpoints(home: Path, values: Any, inputs: Iterable[Path], *, keep_finished: bool = False) -> Checkpoints:
    """The checkpoints, in `home`, of the run with just these `values` (JSON), files and loaded code.

    `inputs` are files or folders. Checkpoints of other runs stay, the last few.
    """
    key = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for path in inputs:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                key.update(sha256(file).encode())
    for part in _code():
        key.update(hashlib.sha256(part).digest())
    digest = key.hexdigest()[:16]
    folder = home / digest
    if rank() == 0:
        _remove_old(home, folder)
    return Checkpoints(folder, digest, keep_finished=keep_finished)


def _remove_old(home: Path, folder: Path) -> None:
    """Remove all but the newest few runs beside that in `folder`; another worktree may do the same now."""
    times: dict[Path, float] = {}
    for path in home.glob("*"):
        with contextlib.suppress(FileNotFoundError):
            times[path] = path.stat().st_mtime
    times.pop(folder, None)
    for old in sorted(times, key=lambda path: times[path], reverse=True)[KEPT_RUNS - 1 :]:
        shutil.rmtree(old, ignore_errors=True)


def _code() -> Iterator[bytes]:
    """The source of the stage and of Winnow's loaded modules, and the versions of the packages for arithmetic.

    Of these, peft counts where adapters are trained, and kornia, which draws how images change, where it is installed.
    """
    for name in sorted(name for name in sys.modules if name.partition(".")[0] in ("stages", "__main__")):
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).is_file():
            yield Path(file).read_bytes()
    added = [*(["peft"] if "peft" in sys.modules else []), *(["kornia"] if find_spec("kornia") else [])]
    for package in ("deepspeed", "torch", "transformers", *added):
        yield importlib.metadata.version(package).encode()


def _read(path: Path) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
    hashes = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    if not isinstance(hashes, dict) or not hashes.keys() >= WHOLE or any(Path(name).name != name for name in hashes):
        raise ValueError(f"{MANIFEST} does not name just the files that one has")
    for name, expected in hashes.items():
        if sha256(path / name) != expected:
            raise ValueError(f"{name} has another hash")
    numbers = json.loads((path / "numbers.json").read_text(encoding="utf-8"))
    names = [Path(name).stem for name in hashes if name.endswith(".safetensors")]
    return {name: load_file(path / f"{name}.safetensors") for name in names}, numbers


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
