"""What `evaluate` adds to the time of predicting 100,000 rows: `python benchmarks/evaluation_overhead.py`.

The rows are the default corpus's, repeated; the model is the int8 one. Needs `make repro` first. Writes
evaluation_overhead.json beside this file: seconds, and each part as a ratio of the time of predicting.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import record

from stages.core import plugins
from stages.core.files import write_parquet
from stages.core.params.file import load_params
from stages.core.paths import Paths
from stages.evaluate import judge, predictions
from stages.measures import ANSWERS
from stages.measures.opened import opened

ROWS = 100_000


def main() -> None:
    params, paths = load_params(Path("params.yaml")), Paths(Path())
    clean = pq.read_table(paths.clean)
    rows = clean.take(pa.array(np.arange(ROWS) % len(clean)))
    model = opened(paths.model("quantized"))
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    judged = judge(model, rows, paths.images, params.data_seed)
    seconds["predict"] = time.perf_counter() - started
    for name in ANSWERS:
        started = time.perf_counter()
        plugins.load(ANSWERS, name, key="measure")(judged, model, params.evaluate)
        seconds[name] = time.perf_counter() - started
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        write_parquet(Path(folder, "predictions.parquet"), predictions(judged, model, rows, params.evaluate.slices))
    seconds["write"] = time.perf_counter() - started
    added = sum(seconds.values()) - seconds["predict"]
    for name, value in seconds.items():
        print(f"{name:12}{value:8.2f} s{value / seconds['predict']:8.1%}")
    print(f"{'added':12}{added:8.2f} s{added / seconds['predict']:8.1%}")
    report = {
        "rows": ROWS,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "added_share": round(added / seconds["predict"], 4),
    }
    record.write(Path(__file__).with_suffix(".json"), report)


if __name__ == "__main__":
    main()
