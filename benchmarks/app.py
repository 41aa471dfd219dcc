"""`winnow app` over HTTP against the runner alone, on one core each for the server and for those who ask.

    python benchmarks/app.py [--seconds 4] [--gather 0 2] [--soak 10]

The server, with its log on, has the first core and one thread; the clients have the second. Each client sends its next
request when it has the answer to the last, over a connection that it keeps. The share is of the rows that the runner,
with records made, answers a second on the same core, in batches of 64, in the same order. --soak: minutes of requests
of all sizes, bad ones among them, instead; the memory at a tenth of them and at the end. Linux; writes app.json beside
this file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import record
from record import ROOT

from flows.app.batching import BATCH_ROWS
from flows.app.served import open_served
from stages.reading.clean_rows import read_split

MODEL = ROOT / "artifacts/models/quantized"
SERVER, CLIENTS = 0, 1  # cores
LOADS = [(1, 1), (8, 1), (32, 1), (128, 1), (1, 8), (8, 8), (8, 64)]
"""Clients, and rows of each of their requests."""


class Load(NamedTuple):
    """What some clients saw."""

    seconds: float
    latencies: Sequence[float]

    def figures(self, rows: int, alone: float) -> dict[str, float]:
        """Of requests of so many rows, against the rows a second of the runner alone."""
        ordered, count = sorted(self.latencies), len(self.latencies)
        rate = count / self.seconds
        return {
            "requests_per_s": rate,
            "rows_per_s": rate * rows,
            "share_of_runner": rate * rows / alone,
            "p50_ms": ordered[count // 2] * 1000,
            "p99_ms": ordered[min(count - 1, count * 99 // 100)] * 1000,
        }


def alone(texts: Sequence[str]) -> float:
    """Rows a second of the runner with records, on the server's core; the best of three rounds."""
    with on_core(SERVER):
        served = open_served(MODEL, threads=1)
        best = min(timed(served.answer, texts) for _ in range(3))
    return len(texts) / best


def timed(answer: Any, texts: Sequence[str]) -> float:
    started = time.perf_counter()
    for at in range(0, len(texts), BATCH_ROWS):
        answer(texts[at : at + BATCH_ROWS])
    return time.perf_counter() - started


@contextmanager
def on_core(core: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def serving(gather: float) -> Iterator[tuple[int, int]]:
    """The port and the process of a server; it must end by SIGTERM with nothing given up."""
    command = [sys.executable, "-m", "flows.cli", "app", str(MODEL), "--port", "0", "--threads", "1"]
    with on_core(SERVER), open(os.devnull, "w") as nowhere:  # noqa: PTH123 - no path, a device
        process = subprocess.Popen(
            [*command, "--gather", str(gather)], cwd=ROOT, stderr=subprocess.PIPE, stdout=nowhere, text=True
        )
    assert process.stderr is not None
    found = re.search(r"http://[^/]*:(\d+)/", process.stderr.readline())
    assert found
    log = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)  # a log that somebody reads
    try:
        yield int(found[1]), process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
        log.wait(10)
    assert code == 0


def requests_of(texts: Sequence[str], rows: int) -> list[bytes]:
    groups = [texts[at : at + rows] for at in range(0, len(texts) - rows + 1, rows)]
    return [request(json.dumps({"texts": group}, ensure_ascii=False).encode()) for group in groups]


def request(body: bytes) -> bytes:
    head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def client(port: int, asked: Sequence[bytes], first: int, until: float, *, good: bool = True) -> list[float]:
    """The seconds of each answer, to requests in turn, from the `first` on."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    seconds, at = [], first
    while (started := time.perf_counter()) < until:
        writer.write(asked[at % len(asked)])
        at += 1
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.I)
        assert length
        await reader.readexactly(int(length[1]))
        seconds.append(time.perf_counter() - started)
        assert head.startswith(b"HTTP/1.1 200") or not good, head
    writer.close()
    return seconds


async def load(port: int, asked: Sequence[bytes], clients: int, seconds: float, *, good: bool = True) -> Load:
    started = time.perf_counter()
    until = started + seconds
    apart = max(1, len(asked) // clients)
    found = await asyncio.gather(*(client(port, asked, at * apart, until, good=good) for at in range(clients)))
    return Load(time.perf_counter() - started, [one for of_client in found for one in of_client])


def measured(texts: Sequence[str], rate: float, gather: float, seconds: float) -> dict[str, Any]:
    """Of each load its figures, with this many milliseconds of waiting for further rows."""
    found = {}
    with serving(gather) as (port, _):
        for clients, rows in LOADS:
            asked = requests_of(texts, rows)
            asyncio.run(load(port, asked, clients, 0.5))
            before = batches(port)
            seen = asyncio.run(load(port, asked, clients, seconds))
            after = batches(port)
            mean = (after[0] - before[0]) / (after[1] - before[1])
            found[f"{clients} clients, {rows} rows"] = {**seen.figures(rows, rate), "rows_a_batch": mean}
    return found


def batches(port: int) -> tuple[float, float]:
    """Rows in batches, and batches, so far."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    rows, count = (re.search(rf"winnow_batch_rows_{name} ([\d.e+]+)", text) for name in ("sum", "count"))
    assert rows
    assert count
    return float(rows[1]), float(count[1])


def soak(texts: Sequence[str], minutes: float) -> dict[str, float]:
    """The memory of a server, in MB, after a tenth of these minutes and at their end, and what it did meanwhile."""
    bad = [b"{", b'{"texts": []}', b'{"texts": ["\\u0000"]}', b'{"pairs": [["a", "b"]]}', b'{"texts": [7]}']
    asked = [one for rows in (1, 7, 64, 200) for one in requests_of(texts, rows)] + [request(body) for body in bad] * 50
    with serving(0) as (port, pid):
        memory = []
        done = 0
        for share in (0.1, 0.9):
            seen = asyncio.run(load(port, asked, 16, minutes * 60 * share, good=False))
            memory.append(psutil.Process(pid).memory_info().rss / 1e6)
            done += len(seen.latencies)
    return {"minutes": minutes, "requests": done, "mb_after_a_tenth": memory[0], "mb_at_the_end": memory[1]}


def as_table(found: dict[str, dict[str, float]]) -> str:
    lines = [f"{'':24}{'requests/s':>11}{'rows/s':>9}{'of runner':>10}{'p50 ms':>9}{'p99 ms':>9}{'batch':>7}"]
    for name, one in found.items():
        rates = f"{one['requests_per_s']:11.0f}{one['rows_per_s']:9.0f}{one['share_of_runner']:10.0%}"
        lines.append(f"{name:24}{rates}{one['p50_ms']:9.2f}{one['p99_ms']:9.2f}{one['rows_a_batch']:7.1f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--gather", type=float, nargs="+", default=[0, 2], help="milliseconds")
    parser.add_argument("--soak", type=float, metavar="MINUTES")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/app.json")
    chosen = parser.parse_args()
    texts = read_split(ROOT / "artifacts/data/clean.parquet", "test")["text"].to_pylist()
    with on_core(CLIENTS):
        name, found = ("soak", soak(texts, chosen.soak)) if chosen.soak else ("load", loads(texts, chosen))
    record.write_beside(chosen.output, name, found)


def loads(texts: Sequence[str], chosen: argparse.Namespace) -> dict[str, Any]:
    """The figures of all loads, with each of the times to gather."""
    rate = alone(texts)
    found: dict[str, Any] = {"runner_rows_per_s": rate}
    for gather in chosen.gather:
        found[f"gather {gather:g} ms"] = measured(texts, rate, gather, chosen.seconds)
        print(as_table(found[f"gather {gather:g} ms"]))
    return found


if __name__ == "__main__":
    main()
