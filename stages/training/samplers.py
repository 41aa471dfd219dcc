"""Batches: the rows in each of them."""

from __future__ import annotations

import numpy as np

POOL_BATCHES = 50  # the size of a pool of shuffled rows, within which rows of similar length are gathered


def length_bucketed_batches(lengths: np.ndarray, *, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Every row once, in batches of rows of similar length: little padding, and still a new order each epoch.

    lengths (N,): tokens of each row. Returns arrays of row numbers, each of `batch_size` rows but for the last of a
    pool. The same seed and epoch give the same batches.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    pool = batch_size * POOL_BATCHES
    batches = []
    for start in range(0, len(order), pool):
        rows = order[start : start + pool]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    return [batches[i] for i in random.permutation(len(batches))]


def share(rows: np.ndarray, *, batches: int, processes: int, process: int) -> list[np.ndarray]:
    """The part of one optimizer step's rows for one process, in a given number of batches, some perhaps empty.

    A batch is rows that are adjacent, so of similar length; the processes take turns in it. All shares together are
    `rows`, whatever the number of processes.
    """
    return [chunk[process::processes] for chunk in np.array_split(rows, batches)]


def length_sorted_batches(lengths: np.ndarray, *, batch_size: int) -> list[np.ndarray]:
    """Every row once, the longest first: for inference, where order does not matter."""
    order = np.argsort(-lengths, kind="stable")
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
