"""The table of models, from metrics/quality and metrics/profile: the same for the terminal and the README."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.paths import MODELS, Paths

TEACHER = "teacher"
MEASURE_HERE = "dvc repro --force --single-item profile"
UNKNOWN = "a processor that is not known"


@dataclass(frozen=True)
class Row:
    """What is known of one model; None is what has not been measured.

    accuracy, macro_f1 and of_teacher (its share of the teacher's macro-F1) are fractions; faster and smaller
    say how many times, against the teacher.
    """

    model: str
    accuracy: float | None = None
    macro_f1: float | None = None
    of_teacher: float | None = None
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
    def timed_on(self) -> str | None:
        """What its speed is to be read with: "2 threads of AMD EPYC, 2 cores, on 2026-11-28"; None without a speed."""
        if self.threads is None:
            return None
        day = f", on {self.date}" if self.date else ""
        return f"{self.threads} {'thread' if self.threads == 1 else 'threads'} of {self.processor or UNKNOWN}{day}"


_COLUMNS = {
    "model": ("model", "{}"),
    "accuracy": ("accuracy", "{:.1%}"),
    "macro-F1": ("macro_f1", "{:.1%}"),
    "of teacher": ("of_teacher", "{:.1%}"),
    "p50 ms": ("p50_ms", "{:.2f}"),
    "p99 ms": ("p99_ms", "{:.2f}"),
    "rows/s": ("rows_per_s", "{:,.0f}"),
    "size MB": ("size_mb", "{:.1f}"),
    "faster": ("faster", "{:.1f}x"),
    "smaller": ("smaller", "{:.1f}x"),
}
HEADER = tuple(_COLUMNS)


def rows(root: Path) -> tuple[Row, ...]:
    """One row a model, in the order of `stages.paths.MODELS`.

    Raises ValueError for a file that is not an object of numbers.
    """
    paths = Paths(root)
    quality = {name: _numbers(_object(paths.quality(name))) for name in MODELS}
    files = {name: _object(paths.profile(name)) for name in MODELS}
    profile = {name: _numbers(content) for name, content in files.items()}
    return tuple(
        dataclasses.replace(_row(name, quality, profile), **_words(files[name], "processor", "date")) for name in MODELS
    )


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
    """The texts of a row, in the order of HEADER; "-" for what is not known."""
    values = [(getattr(row, field), form) for field, form in _COLUMNS.values()]
    return tuple("-" if value is None else form.format(value) for value, form in values)


def as_text(table: Sequence[Row]) -> str:
    """Aligned columns for a terminal, and below them what is known of the machine that measured."""
    lines = [HEADER, *map(cells, table)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = [
        "  ".join(
            text.ljust(width) if position == 0 else text.rjust(width)
            for position, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([*aligned, "", machine(table)])


def as_markdown(table: Sequence[Row]) -> str:
    """A Markdown table, and below it what is known of the machine that measured."""
    ruler = ("---", *["---:"] * (len(HEADER) - 1))
    lines = ["| " + " | ".join(line) + " |" for line in (HEADER, ruler, *map(cells, table))]
    return "\n".join([*lines, "", machine(table)])


def as_records(table: Sequence[Row]) -> list[dict[str, str | float | None]]:
    """The rows as plain dictionaries, for JSON."""
    return [dataclasses.asdict(row) for row in table]


def machine(table: Sequence[Row]) -> str:
    """How speed was measured: once, on which processor, with how many threads, on which day; or not of all alike."""
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
    """One line where a speed is not of the processor `here`, as `stages.machine.processor` names it; else None."""
    others = sorted({row.processor or UNKNOWN for row in table if row.threads is not None} - {here})
    if not others:
        return None
    return f"speed was measured on {' and '.join(others)}, and this is {here}: `{MEASURE_HERE}` measures it here."
