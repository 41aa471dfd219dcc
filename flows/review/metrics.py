"""The table of models, from metrics/quality and metrics/profile: the same for the terminal and the README."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.experiments import seed_record
from flows.experiments.seed_record import Seeds
from stages.core.paths import MODELS, Paths

TEACHER = "teacher"
MEASURE_HERE = "dvc repro --force --single-item profile"
UNKNOWN = "a processor that is not known"


@dataclass(frozen=True)
class Row:
    """The figures of one model; None where something was not measured.

    accuracy, macro_f1 and of_teacher (its share of the teacher's macro-F1) are fractions; faster and smaller are
    factors against the teacher. low and high are the ends of the interval of macro_f1 for the number of test rows;
    differs says whether the interval of its difference from the teacher leaves 0 out. With `seeds`, accuracy, macro_f1
    and of_teacher are means over that many trainings, and the spreads their standard deviations.
    """

    model: str
    accuracy: float | None = None
    macro_f1: float | None = None
    low: float | None = None
    high: float | None = None
    of_teacher: float | None = None
    differs: bool | None = None
    seeds: int | None = None
    accuracy_spread: float | None = None
    macro_f1_spread: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    rows_per_s: float | None = None
    size_mb: float | None = None
    faster: float | None = None
    smaller: float | None = None
    threads: int | None = None
    processor: str | None = None
    date: str | None = None

    @property
    def measured(self) -> bool:
        return any(value is not None for value in dataclasses.astuple(self)[1:])

    @property
    def shown_accuracy(self) -> str | None:
        return _with_spread(self.accuracy, self.accuracy_spread)

    @property
    def shown_macro_f1(self) -> str | None:
        return _with_spread(self.macro_f1, self.macro_f1_spread)

    @property
    def interval(self) -> str | None:
        return None if self.low is None or self.high is None else f"{self.low:.1%} to {self.high:.1%}"

    @property
    def against_teacher(self) -> str | None:
        """The share of the teacher's macro-F1 where the two are known to differ, or words where they may not."""
        known = self.differs if self.model != TEACHER else True
        if self.of_teacher is None or known is None:
            return None
        return f"{self.of_teacher:.1%}" if known else "no difference shown"

    @property
    def timed_on(self) -> str | None:
        """The circumstances of its speed: "2 threads of AMD EPYC, 2 cores, on 2026-11-28"; None without a speed."""
        if self.threads is None:
            return None
        day = f", on {self.date}" if self.date else ""
        return f"{self.threads} {'thread' if self.threads == 1 else 'threads'} of {self.processor or UNKNOWN}{day}"


def _with_spread(value: float | None, spread: float | None) -> str | None:
    return None if value is None else f"{value:.1%}" + ("" if spread is None else f" ± {100 * spread:.1f}")


_COLUMNS = {
    "model": ("model", "{}"),
    "accuracy": ("shown_accuracy", "{}"),
    "macro-F1": ("shown_macro_f1", "{}"),
    "interval": ("interval", "{}"),
    "of teacher": ("against_teacher", "{}"),
    "p50 ms": ("p50_ms", "{:.2f}"),
    "p99 ms": ("p99_ms", "{:.2f}"),
    "rows/s": ("rows_per_s", "{:,.0f}"),
    "size MB": ("size_mb", "{:.1f}"),
    "faster": ("faster", "{:.1f}x"),
    "smaller": ("smaller", "{:.1f}x"),
}
HEADER = tuple(_COLUMNS)


def rows(root: Path) -> tuple[Row, ...]:
    """One row for each model, in the order of `stages.core.paths.MODELS`; means over seeds where they are current.

    Raises ValueError for a file that is not an object of numbers.
    """
    paths = Paths(root)
    quality = {name: _numbers(_object(paths.quality(name))) for name in MODELS}
    files = {name: _object(paths.profile(name)) for name in MODELS}
    profile = {name: _numbers(content) for name, content in files.items()}
    every = tuple(
        dataclasses.replace(_judged(_row(name, quality, profile), paths), **_words(files[name], "processor", "date"))
        for name in MODELS
    )
    known = seed_record.read(root)
    return tuple(_over_seeds(row, known) for row in every) if known and known.current else every


def notes(root: Path) -> tuple[str, ...]:
    """Notes to show beside the figures of quality: the number of seeds, and the quality on the rows set aside."""
    known = seed_record.read(root)
    if known is not None:
        return known.notes()
    return (f"Of one seed; {seed_record.COMMAND} shows the spread.",) if any(r.macro_f1 for r in rows(root)) else ()


def _judged(row: Row, paths: Paths) -> Row:
    """The row with the interval of its macro-F1, and whether it is known to differ from the teacher's."""
    ends = _object(paths.quality(row.model)).get("intervals", {}).get("macro_f1", {})
    apart = _object(paths.comparison).get(f"{row.model}_and_{TEACHER}", {}).get("macro_f1", {})
    differs = _leaves_out_0(apart) if apart else None
    return dataclasses.replace(row, low=ends.get("low"), high=ends.get("high"), differs=differs)


def _over_seeds(row: Row, known: Seeds) -> Row:
    of, apart = known.content["models"].get(row.model), known.content["against_teacher"].get(row.model)
    if of is None:
        return row
    several = known.count > 1
    return dataclasses.replace(
        row,
        accuracy=of["accuracy"]["mean"],
        macro_f1=of["macro_f1"]["mean"],
        of_teacher=_ratio(of["macro_f1"]["mean"], known.content["models"][TEACHER]["macro_f1"]["mean"]),
        differs=_leaves_out_0(apart["macro_f1"]) if apart else None,
        seeds=known.count,
        accuracy_spread=of["accuracy"]["std"] if several else None,
        macro_f1_spread=of["macro_f1"]["std"] if several else None,
    )


def _leaves_out_0(ends: Mapping[str, float]) -> bool:
    return not ends["low"] <= 0 <= ends["high"]


def _row(name: str, quality: dict[str, dict[str, float]], profile: dict[str, dict[str, float]]) -> Row:
    own_quality, own_profile = quality[name], profile[name]
    teacher_quality, teacher_profile = quality[TEACHER], profile[TEACHER]
    macro_f1 = own_quality.get("macro_f1")
    p50, size = own_profile.get("latency_p50_ms"), own_profile.get("size_mb")
    threads = own_profile.get("threads")
    return Row(
        model=name,
        accuracy=own_quality.get("accuracy"),
        macro_f1=macro_f1,
        of_teacher=_ratio(macro_f1, teacher_quality.get("macro_f1")),
        p50_ms=p50,
        p99_ms=own_profile.get("latency_p99_ms"),
        rows_per_s=own_profile.get("throughput_rows_per_s"),
        size_mb=size,
        faster=_ratio(teacher_profile.get("latency_p50_ms"), p50),
        smaller=_ratio(teacher_profile.get("size_mb"), size),
        threads=None if threads is None else int(threads),
    )


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}. Make it again: dvc repro, or dvc checkout.") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: found {type(content).__name__}, expected an object of numbers.")
    return content


def _numbers(content: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in content.items() if isinstance(value, int | float)}


def _words(content: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key in keys if isinstance(value := content.get(key), str)}


def cells(row: Row) -> tuple[str, ...]:
    """The texts of a row, in the order of HEADER; "-" for unknown values."""
    values = [(getattr(row, field), form) for field, form in _COLUMNS.values()]
    return tuple("-" if value is None else form.format(value) for value, form in values)


def as_text(table: Sequence[Row], notes: Sequence[str] = ()) -> str:
    """Aligned columns for a terminal, followed by the machine that measured and by notes."""
    lines = [HEADER, *map(cells, table)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = [
        "  ".join(
            text.ljust(width) if position == 0 else text.rjust(width)
            for position, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([*aligned, "", machine(table), *notes])


def as_markdown(table: Sequence[Row], notes: Sequence[str] = ()) -> str:
    """A Markdown table, followed by notes and by the machine that measured."""
    ruler = ("---", *["---:"] * (len(HEADER) - 1))
    lines = ["| " + " | ".join(line) + " |" for line in (HEADER, ruler, *map(cells, table))]
    return "\n".join([*lines, "", " ".join([*notes, machine(table)])])


def as_records(table: Sequence[Row]) -> list[dict[str, str | float | None]]:
    """The rows as plain dictionaries, for JSON."""
    return [dataclasses.asdict(row) for row in table]


def machine(table: Sequence[Row]) -> str:
    """A sentence on how speed was measured: processor, threads and day, or that these differ between models."""
    models: dict[str, list[str]] = {}
    for row in table:
        if row.timed_on:
            models.setdefault(row.timed_on, []).append(row.model)
    if not models:
        return "Speed and size have not been measured yet."
    if len(models) == 1:
        return f"Latency is of one text at a time; every model was given {next(iter(models))}."
    each = "; ".join(f"{', '.join(names)}: {where}" for where, names in models.items())
    return f"Speeds are not of one run, and their ratios mean nothing: {each}. `{MEASURE_HERE}` measures all here."


def elsewhere(table: Sequence[Row], here: str) -> str | None:
    """One line where a speed is from another processor than `here` (see `stages.core.machine.processor`); else None."""
    others = sorted({row.processor or UNKNOWN for row in table if row.threads is not None} - {here})
    if not others:
        return None
    return f"speed was measured on {' and '.join(others)}, and this is {here}: `{MEASURE_HERE}` measures it here."
