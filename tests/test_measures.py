from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from stages.contracts import Runner
from stages.measures import quality, size, speed
from stages.params import ProfileParams


def test_quality_of_a_hand_counted_example() -> None:
    labels = ["a", "a", "a", "b", "b", "c"]
    predicted = ["a", "a", "b", "b", "c", "c"]
    probabilities = np.full((6, 3), 1 / 3)
    measured = quality.measure(labels, predicted, probabilities, ["a", "b", "c"])
    assert measured["accuracy"] == round(4 / 6, 6)
    # F1: a 2*2/(3+2) = 0.8, b 2*1/(2+2) = 0.5, c 2*1/(1+2) = 2/3
    assert measured["macro_f1"] == round((0.8 + 0.5 + 2 / 3) / 3, 6)
    assert measured["log_loss"] == round(float(np.log(3)), 4)
    assert measured["rows"] == 6
    assert measured["per_label"]["a"] == {"precision": 1.0, "recall": round(2 / 3, 6), "f1": 0.8, "rows": 3}


def test_a_label_never_predicted_counts_as_zero() -> None:
    measured = quality.measure(["a", "b"], ["a", "a"], np.array([[0.9, 0.1], [0.9, 0.1]]), ["a", "b"])
    assert measured["per_label"]["b"]["f1"] == 0
    assert measured["macro_f1"] == round((2 / 3) / 2, 6)


def test_speed_tells_single_rows_from_batches() -> None:
    calls: list[int] = []

    def predict(texts):
        calls.append(len(texts))
        time.sleep(0.02 if len(texts) == 1 else 0.01)
        return np.zeros((len(texts), 2))

    params = ProfileParams(threads=1, single_rows=10, throughput_rows=20, batch_size=8)
    measured = speed.measure(Runner(labels=("a", "b"), predict=predict), ["text"] * 30, params)
    assert calls[-3:] == [8, 8, 4]
    assert 20 <= measured["latency_p50_ms"] <= measured["latency_p99_ms"]
    assert measured["throughput_rows_per_s"] <= 20 / 0.03


def test_size_is_that_of_the_whole_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/weights").write_bytes(bytes(2_000_000))
    (tmp_path / "labels").write_bytes(bytes(500_000))
    measured = size.measure(tmp_path)
    assert measured["size_mb"] == 2.5
    assert measured["peak_rss_mb"] > 10
