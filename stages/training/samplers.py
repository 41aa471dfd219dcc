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


def shuffled_batches(count: int, *, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Each of `count` rows once, in batches of rows of any length. The same seed and epoch give the same batches."""
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return [order[i : i + batch_size] for i in range(0, count, batch_size)]


def packed_into(lengths: np.ndarray, *, size: int) -> list[np.ndarray]:
    """Rows shared out to blocks of about as many tokens each, as few blocks as hold all tokens at `size` a block.

    lengths (N,): tokens of each row. Returns for each block the numbers of its rows, ascending. The longest row is
    placed first, each in the block that is emptiest then (Graham 1969, doi:10.1137/0117039), so a block may become
    somewhat longer than `size`, by less than a row.
    """
    blocks: list[list[int]] = [[] for _ in range(min(len(lengths), -(-int(lengths.sum()) // size)))]
    filled = np.zeros(len(blocks), dtype=np.int64)
    for row in np.argsort(-lengths, kind="stable"):
        emptiest = int(filled.argmin())
        blocks[emptiest].append(int(row))
        filled[emptiest] += lengths[row]
    return [np.array(sorted(block)) for block in blocks]


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
