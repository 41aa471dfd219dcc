"""Measures the backends that are installed on this machine, and takes the fastest within the limit of quality."""

from __future__ import annotations

import logging
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.backends import QUANTIZERS, RUNNERS
from stages.core import plugins
from stages.core.contracts import QuantizationRows, Runner, Text
from stages.core.files import read_json, write_json
from stages.core.machine import cores
from stages.core.params.compress import QuantizeParams

log = logging.getLogger("winnow")
TIMED_ROWS, ROUNDS = 100, 5


def quantize(source: Path, folder: Path, params: QuantizeParams, rows: QuantizationRows) -> dict[str, Any]:
    """Write the fastest backend's model to `folder`. Returns its figures, with those of all `candidates`.

    A backend is left out where it cannot run here, and where its guard could not keep it within `max_loss`. Raises
    ValueError, with the reason of each, where none is left. Speeds go to the log alone: other runs would give other
    figures.
    """
    with tempfile.TemporaryDirectory() as scratch:
        found: dict[str, dict[str, Any]] = {}
        runners: dict[str, Runner] = {}
        left_out: dict[str, str] = {}
        for name in sorted(QUANTIZERS.keys() - {"auto"}):
            trial = Path(scratch) / name
            shutil.copytree(folder, trial)
            write_json(trial / "model.json", {**read_json(folder / "model.json"), "backend": name})
            try:
                said = plugins.load(QUANTIZERS, name, key="quantize.backend")(source, trial, params, rows)
                runner = plugins.load(RUNNERS, name, key="quantize.backend")(trial, cores())
                runner.predict(rows.validation[:1])
            except Exception as error:  # whatever a runtime does here, the others may work
                left_out[name] = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
                level = logging.INFO if isinstance(error, ValueError) else logging.WARNING
                log.log(level, "auto: %s is left out: %s", name, left_out[name])
            else:
                found[name], runners[name] = said, runner
        if not found:
            raise ValueError(
                "params.yaml: quantize.backend is 'auto', and no backend is left:\n"
                + "\n".join(f"  {name}: {reason}" for name, reason in left_out.items())
            )
        milliseconds = _in_turns(runners, rows.validation)
        fastest = min(found, key=lambda name: milliseconds[name])
        for name in found:
            log.info("auto: %s: %.3f ms a row, %s %.4f", name, milliseconds[name], rows.measure, found[name]["int8"])
        log.info("auto: %s is taken. To have it on every machine: quantize.backend: %s", fastest, fastest)
        for path in (Path(scratch) / fastest).iterdir():
            shutil.copyfile(path, folder / path.name)
    return {**found[fastest], "candidates": found}


def _in_turns(runners: Mapping[str, Runner], texts: Sequence[Text]) -> dict[str, float]:
    """Milliseconds for a single row with each runner: the median over the rows, in the best of several rounds."""
    medians: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(ROUNDS):
        for name, runner in runners.items():
            spent = []
            for text in texts[:TIMED_ROWS]:
                started = time.perf_counter()
                runner.predict([text])
                spent.append((time.perf_counter() - started) * 1000)
            medians[name].append(statistics.median(spent))
    return {name: min(found) for name, found in medians.items()}
