"""The progress of a whole run: which of its stages runs, how far that is, and about how long the rest takes.

finetune: stage 7 of 22 begins, 3 min last time; about 12 min left
finetune: stage 7 of 22, epoch 2/3, step 101 of 252 (40%), loss 0.412; about 11 min left
evaluate@pruned: stage 19 of 22, 41 s so far; evaluate@pruned takes longer than last time (6 s); at least 4 min besides
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flows.running.bars import Shown
from flows.running.times import about

SHORT = 5.0  # seconds: a stage that takes no longer is never late
LINE_SECONDS = 20.0  # between two lines of a stage that runs
Log = Callable[[str], object]


@dataclass
class _Running:
    """A stage that runs: its number among those of the run, when it began, the last state of its bar."""

    number: int
    began: float
    log: Log
    bar: Shown | None = None


class Overview:
    """The stages that are to run, and the time that they take; a line of the log for each that runs, now and then.

    `graph`: each stage with those that it follows; `seconds`: what stages took last, as far as that is known; `wanted`:
    the cores of those that do not want all `cores`.
    """

    def __init__(
        self, graph: Mapping[str, Sequence[str]], seconds: Mapping[str, float], wanted: Mapping[str, int], cores: int
    ) -> None:
        self._graph, self._seconds, self._wanted, self._cores = graph, seconds, wanted, cores
        self._running: dict[str, _Running] = {}
        self._done: set[str] = set()
        self._failed: set[str] = set()
        self._begun = 0
        self._said_unknown = False
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True, name="how far the stages are")

    def __enter__(self) -> Overview:
        self._ticker.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._ticker.join()

    @property
    def goes_on(self) -> bool:
        """Whether there are stages left to run."""
        with self._lock:
            return bool(self._to_run())

    @contextlib.contextmanager
    def running(self, stage: str, log: Log) -> Iterator[Callable[[Shown], None]]:
        """Tell by `log` that the stage begins, and how far it is until it ends; what this gives takes its bar."""
        with self._lock:
            self._begun += 1
            one = self._running[stage] = _Running(self._begun, time.monotonic(), log)
            before = f", {about(self._seconds[stage])} last time" if stage in self._seconds else ""
            line = f"{self._where(stage)} begins{before}{self._left()}"
        log(line)

        def take(bar: Shown) -> None:
            one.bar = bar

        ended = self._failed
        try:
            yield take
            ended = self._done
        finally:
            with self._lock:
                del self._running[stage]
                ended.add(stage)

    def _tick(self) -> None:
        said: dict[str, float] = {}
        while not self._over.wait(LINE_SECONDS / 20):
            with self._lock:
                now, running = time.monotonic(), dict(self._running)
                due = [stage for stage, one in running.items() if now - said.get(stage, one.began) >= LINE_SECONDS]
                lines = {stage: f"{self._where(stage)}, {self._far(stage, now)}{self._left()}" for stage in due}
            for stage, line in lines.items():
                said[stage] = now
                running[stage].log(line)

    def _where(self, stage: str) -> str:
        return f"{stage}: stage {self._running[stage].number} of {len(self._graph)}"

    def _far(self, stage: str, now: float) -> str:
        one = self._running[stage]
        so_far = f"{about(now - one.began)} so far"
        if one.bar is None:
            return so_far
        return f"{one.bar.as_words()}, {so_far}" if self._is_late(stage) else one.bar.as_words()

    def _left(self) -> str:
        """The time that the rest of the run takes, as far as that can be said; that it cannot is said once.

        A stage that takes longer than its last time has no time left that anybody knows.
        """
        to_run = self._to_run()
        late = [stage for stage in to_run if self._is_late(stage)]
        left = {stage: self._left_of(stage) for stage in to_run if stage not in late}
        known = {stage: seconds for stage, seconds in left.items() if seconds is not None}
        longer = ""
        if late:
            last = f" ({about(self._seconds[late[0]])})" if len(late) == 1 else ""
            longer = f"; {', '.join(late)} {'takes' if len(late) == 1 else 'take'} longer than last time{last}"
        if not known and (longer or self._said_unknown):
            return longer
        if not known:
            self._said_unknown = True
            return "; time left unknown, as nothing of it has run here"
        rest = {stage: upstream for stage, upstream in to_run.items() if stage in left}
        first = [stage for stage in self._running if stage in left]
        time_left = about(duration(rest, known, self._wanted, self._cores, first=first))
        besides = " besides" if late else " left"
        if new := len(left) - len(known):
            return f"{longer}; at least {time_left}{besides}, without {_never_run(new)}"
        # The cores of a stage that is late are counted as free, as nobody knows when they are.
        return f"{longer}; {'at least' if late else 'about'} {time_left}{besides}"

    def _is_late(self, stage: str) -> bool:
        """Whether a stage takes longer than last time, and does not say itself when it ends."""
        one, last = self._running.get(stage), self._seconds.get(stage)
        if one is None or last is None or (one.bar is not None and one.bar.seconds_left is not None):
            return False
        return time.monotonic() - one.began > max(last, SHORT)

    def _to_run(self) -> dict[str, Sequence[str]]:
        """The stages that are not over yet, without those that follow a failed one."""
        lost = set(self._failed)
        to_run: dict[str, Sequence[str]] = {}
        for stage, upstream in self._graph.items():  # in topological order
            if lost.intersection(upstream):
                lost.add(stage)
            elif stage not in self._done | lost:
                to_run[stage] = upstream
        return to_run

    def _left_of(self, stage: str) -> float | None:
        """The seconds that a stage still takes: as training says, or else as its last run took."""
        one, last = self._running.get(stage), self._seconds.get(stage)
        if one is None:
            return last
        if one.bar is not None and one.bar.seconds_left is not None:
            return one.bar.seconds_left
        return None if last is None else max(last - (time.monotonic() - one.began), 0.0)


def _never_run(stages: int) -> str:
    return "a stage that has never run here" if stages == 1 else f"{stages} stages that have never run here"


def duration(
    graph: Mapping[str, Sequence[str]],
    seconds: Mapping[str, float],
    wanted: Mapping[str, int],
    cores: int,
    *,
    first: Sequence[str] = (),
) -> float:
    """The seconds that the stages of `graph` take, run as the budget of `cores` lets them; `first` hold theirs already.

        report    |##|                 one core: side by side
        baseline  |######|
        finetune         |###########| all cores: alone

    A stage that is not in `wanted` takes all cores, one that is not in `seconds` no time.
    """
    waiting, queue = [stage for stage in graph if stage not in first], list(first)
    ends: dict[str, float] = {}
    done: set[str] = set()
    now, free = 0.0, cores
    while waiting or queue or ends:
        ready = [stage for stage in waiting if all(up in done or up not in graph for up in graph[stage])]
        waiting, queue = [stage for stage in waiting if stage not in ready], queue + ready
        while queue and free >= min(wanted.get(queue[0], cores), cores):
            stage = queue.pop(0)
            free -= min(wanted.get(stage, cores), cores)
            ends[stage] = now + seconds.get(stage, 0.0)
        ended = min(ends, key=lambda stage: ends[stage])
        now = ends.pop(ended)
        free += min(wanted.get(ended, cores), cores)
        done.add(ended)
    return now
