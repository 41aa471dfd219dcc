"""The table of models, from metrics/quality and metrics/profile: the same for the terminal and the README."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.paths import MODELS, Paths

TEACHER = "teacher"


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

    @property
    def measured(self) -> bool:
        return any(value is not None for value in dataclasses.astuple(self)[1:])


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
    quality = {name: _numbers(paths.quality(name)) for name in MODELS}
    profile = {name: _numbers(paths.profile(name)) for name in MODELS}
    return tuple(_row(name, quality, profile) for name in MODELS)


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


def _numbers(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}. Make it again: dvc repro, or dvc checkout.") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: found {type(content).__name__}, expected an object of numbers.")
    return {key: value for key, value in content.items() if isinstance(value, int | float)}


def cells(row: Row) -> tuple[str, ...]:
    """The texts of a row, in the order of HEADER; "-" for what is not known."""
    values = [(getattr(row, field), form) for field, form in _COLUMNS.values()]
    return tuple("-" if value is None else form.format(value) for value, form in values)


def as_text(table: Sequence[Row]) -> str:
    """Aligned columns for a terminal."""
    lines = [HEADER, *map(cells, table)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            text.ljust(width) if position == 0 else text.rjust(width)
            for position, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def as_markdown(table: Sequence[Row]) -> str:
    """A Markdown table, and below it what is known of the machine that measured."""
    ruler = ("---", *["---:"] * (len(HEADER) - 1))
    lines = ["| " + " | ".join(line) + " |" for line in (HEADER, ruler, *map(cells, table))]
    return "\n".join([*lines, "", machine(table)])


def as_records(table: Sequence[Row]) -> list[dict[str, str | float | None]]:
    """The rows as plain dictionaries, for JSON."""
    return [dataclasses.asdict(row) for row in table]


def machine(table: Sequence[Row]) -> str:
    """One line that says how speed was measured, as far as the files tell."""
    threads = sorted({row.threads for row in table if row.threads is not None})
    if not threads:
        return "Speed and size have not been measured yet."
    word = "thread" if threads == [1] else "threads"
    count = " or ".join(map(str, threads))
    return f"Latency is of one text at a time; every model was given {count} {word}."
