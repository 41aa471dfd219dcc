"""The table of models, from metrics/quality and metrics/profile: the same for the terminal and the README."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from flows.experiments import seed_record
from flows.experiments.seed_record import Seeds
from flows.review.evidence import mapping, number
from flows.review.markdown import plural, value
from flows.review.shown_measures import Shown, shown_task
from flows.review.task import params_of
from flows.review.verdicts import verdicts
from stages.core.paths import MODELS, Paths
from stages.tasks.contract import Measure

TEACHER = "teacher"
UNMEASURED = "-"
MEASURE_HERE = "dvc repro --force --single-item profile"
OF_WRITING = (
    "A model that writes for a source has written its text by then. Tokens are those that are written, one text at a"
    " time."
)
UNKNOWN = "a processor that is not known"


class Valued(NamedTuple):
    """A measure of one model: its value, or the mean over several trainings and their standard deviation."""

    measure: Shown
    value: float | None = None
    spread: float | None = None

    def __str__(self) -> str:
        if self.value is None:
            return UNMEASURED
        if self.measure.unit != "share":
            return value(self.value, self.measure.unit) + ("" if self.spread is None else f" ± {self.spread:.2g}")
        return f"{self.value:.1%}" + ("" if self.spread is None else f" ± {100 * self.spread:.1f}")


@dataclass(frozen=True)
class Row:
    """The figures of one model; None where something was not measured.

    The last of the measures is the one that is judged. low and high are the ends of its interval for the number of test
    rows; of_teacher is its share of the teacher's, a fraction; differs says whether the interval of its difference from
    the teacher leaves 0 out. faster and smaller are factors against the teacher. With `seeds`, measures and of_teacher
    are means over that many trainings.
    """

    model: str
    measures: tuple[Valued, ...]
    low: float | None = None
    high: float | None = None
    of_teacher: float | None = None
    differs: bool | None = None
    seeds: int | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    rows_per_s: float | None = None
    tokens_per_s: float | None = None
    size_mb: float | None = None
    faster: float | None = None
    smaller: float | None = None
    threads: int | None = None
    processor: str | None = None
    date: str | None = None

    @property
    def judged(self) -> Valued:
        return self.measures[-1]

    @property
    def measured(self) -> bool:
        others = (getattr(self, own.name) for own in dataclasses.fields(self) if own.name not in ("model", "measures"))
        return any(known is not None for known in (*others, *(one.value for one in self.measures)))

    @property
    def interval(self) -> str | None:
        return (
            None
            if self.low is None or self.high is None
            else f"{value(self.low, self.judged.measure.unit)} to {value(self.high, self.judged.measure.unit)}"
        )

    @property
    def against_teacher(self) -> str | None:
        """The share of the teacher's measure where the two are known to differ, or words where they may not."""
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


_COLUMNS = {
    "interval": ("interval", "{}"),
    "of teacher": ("against_teacher", "{}"),
    "p50 ms": ("p50_ms", "{:.2f}"),
    "p99 ms": ("p99_ms", "{:.2f}"),
    "rows/s": ("rows_per_s", "{:,.0f}"),
    "tokens/s": ("tokens_per_s", "{:,.0f}"),
    "size MB": ("size_mb", "{:.1f}"),
    "faster": ("faster", "{:.1f}x"),
    "smaller": ("smaller", "{:.1f}x"),
}


def header(table: Sequence[Row]) -> tuple[str, ...]:
    """The names of the columns: those of the measures, and then of what is the same for every task."""
    return ("model", *(one.measure.title for one in table[0].measures), *_columns(table))


def _columns(table: Sequence[Row]) -> Sequence[str]:
    """The columns behind those of the measures: of models that write how fast they do."""
    return [name for name in _COLUMNS if name != "tokens/s" or _writes(table)]


def _writes(table: Sequence[Row]) -> bool:
    return any(row.tokens_per_s is not None for row in table)


def rows(root: Path) -> tuple[Row, ...]:
    """One row for each model of the task, in the order of `stages.core.paths.MODELS`; means over seeds where current.

    Raises ValueError for a file that is not an object of numbers.
    """
    paths, known = Paths(root), seed_record.read(root)
    measures = shown_task(root).measures
    quality = {name: _object(paths.quality(name)) for name in MODELS}
    profile = {name: _object(paths.profile(name)) for name in MODELS}
    names = [name for name in MODELS if "left_out" not in quality[name]]  # the task cannot have the others
    every = tuple(_judged(_row(name, measures, quality, profile), quality[name], paths) for name in names)
    return tuple(_over_seeds(row, known) for row in every) if known and known.current else every


def notes(root: Path) -> tuple[str, ...]:
    """Notes to show beside the figures of quality.

    They say whether the quantized model is shown to be better than simpler answers (flows.review.verdicts), the number
    of seeds, and the quality on the rows set aside.
    """
    known, task, paths = seed_record.read(root), shown_task(root), Paths(root)
    quality, profile = ({name: _object(of(name)) for name in MODELS} for of in (paths.quality, paths.profile))
    told = tuple(verdicts(quality, _object(paths.comparison), profile, task.measures, params_of(root)))
    if known is not None:
        if known.current:
            told = tuple(f"{one} That is of one run, of seed {known.content['seeds'][0]}." for one in told)
        return (*told, *known.notes(task.measures, plural(task.kind)))
    measured = any(number(own, task.measures[-1].name) is not None for own in quality.values())
    return (*told, *((f"Of one seed; {seed_record.COMMAND} shows the spread.",) if measured else ()))


def _judged(row: Row, quality: Mapping[str, Any], paths: Paths) -> Row:
    """The row with the interval of its measure, and whether it is known to differ from the teacher's."""
    name = row.judged.measure.name
    apart = mapping(_object(paths.comparison), f"{row.model}_and_{TEACHER}", name)
    low, high = (number(quality, "intervals", name, end) for end in ("low", "high"))
    return dataclasses.replace(row, low=low, high=high, differs=_leaves_out_0(apart) if apart else None)


def _over_seeds(row: Row, known: Seeds) -> Row:
    of, apart = known.content["models"].get(row.model), known.content["against_teacher"].get(row.model)
    name = row.judged.measure.name
    if of is None or name not in of:
        return row
    several = known.count > 1
    return dataclasses.replace(
        row,
        measures=tuple(
            one._replace(value=of[own]["mean"], spread=of[own]["std"] if several else None) if own in of else one
            for one in row.measures
            for own in [one.measure.name]
        ),
        of_teacher=of_teacher(row.judged.measure, of[name]["mean"], known.content["models"][TEACHER][name]["mean"]),
        differs=_leaves_out_0(apart[name]) if apart else None,
        seeds=known.count,
    )


def _leaves_out_0(ends: Mapping[str, float]) -> bool:
    return not ends["low"] <= 0 <= ends["high"]


def _row(
    name: str,
    measures: Sequence[Shown],
    quality: Mapping[str, Mapping[str, Any]],
    profile: Mapping[str, Mapping[str, Any]],
) -> Row:
    own, teacher = profile[name], profile[TEACHER]
    valued = tuple(Valued(one, number(quality[name], one.name)) for one in measures)
    judged, p50, size = valued[-1], number(own, "latency_p50_ms"), number(own, "size_mb")
    threads = number(own, "threads")
    return Row(
        model=name,
        measures=valued,
        of_teacher=of_teacher(judged.measure, judged.value, number(quality[TEACHER], judged.measure.name)),
        p50_ms=p50,
        p99_ms=number(own, "latency_p99_ms"),
        rows_per_s=number(own, "throughput_rows_per_s"),
        tokens_per_s=number(own, "tokens_per_s"),
        size_mb=size,
        faster=_ratio(number(teacher, "latency_p50_ms"), p50),
        smaller=_ratio(number(teacher, "size_mb"), size),
        threads=None if threads is None else int(threads),
        **_words(own, "processor", "date"),
    )


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole and whole > 0 else None


def of_teacher(measure: Shown | Measure, own: float | None, teachers: float | None) -> float | None:
    """The share of the teacher's measure; where lower is better, the teacher's as a share of the model's own."""
    return _ratio(own, teachers) if measure.better == "higher" else _ratio(teachers, own)


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


def _words(content: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key in keys if isinstance(value := content.get(key), str)}


def cells(table: Sequence[Row]) -> list[tuple[str, ...]]:
    """The texts of each row, in the order of `header`; "-" for unknown values."""
    columns = [_COLUMNS[name] for name in _columns(table)]
    return [_cells(row, columns) for row in table]


def _cells(row: Row, columns: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    values = [(getattr(row, field), form) for field, form in columns]
    return (
        row.model, *map(str, row.measures),
        *(UNMEASURED if known is None else form.format(known) for known, form in values),
    )  # fmt: skip


def _better(table: Sequence[Row]) -> list[str]:
    """A sentence on the measures of which less is better, where there are any."""
    lower = [one.measure.title for one in table[0].measures if one.measure.better == "lower"]
    return [f"Lower is better: {', '.join(lower)}."] if lower else []


def as_text(table: Sequence[Row], notes: Sequence[str] = ()) -> str:
    """Aligned columns for a terminal, followed by the machine that measured and by notes."""
    lines = [header(table), *cells(table)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = [
        "  ".join(
            text.ljust(width) if position == 0 else text.rjust(width)
            for position, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([*aligned, "", machine(table), *_better(table), *notes])


def as_markdown(table: Sequence[Row], notes: Sequence[str] = ()) -> str:
    """A Markdown table, followed by notes and by the machine that measured."""
    columns = header(table)
    ruler = ("---", *["---:"] * (len(columns) - 1))
    lines = ["| " + " | ".join(line) + " |" for line in (columns, ruler, *cells(table))]
    return "\n".join([*lines, "", " ".join([*_better(table), *notes, machine(table)])])


def as_records(table: Sequence[Row]) -> list[dict[str, str | float | None]]:
    """The rows as plain dictionaries, for JSON; each measure by its name, and with `_spread` its deviation."""
    return [
        {"model": row.model}
        | {one.measure.name: one.value for one in row.measures}
        | {f"{one.measure.name}_spread": one.spread for one in row.measures}
        | {own.name: getattr(row, own.name) for own in dataclasses.fields(row) if own.name not in ("model", "measures")}
        for row in table
    ]


def machine(table: Sequence[Row]) -> str:
    """A sentence on how speed was measured: processor, threads and day, or that these differ between models."""
    models: dict[str, list[str]] = {}
    for row in table:
        if row.timed_on:
            models.setdefault(row.timed_on, []).append(row.model)
    if not models:
        return "Speed and size have not been measured yet."
    if len(models) == 1:
        written = f" {OF_WRITING}" if _writes(table) else ""
        return f"Latency is of one text at a time; every model was given {next(iter(models))}.{written}"
    each = "; ".join(f"{', '.join(names)}: {where}" for where, names in models.items())
    return f"Speeds are not of one run, and their ratios mean nothing: {each}. `{MEASURE_HERE}` measures all here."


def elsewhere(table: Sequence[Row], here: str) -> str | None:
    """One line where a speed is from another processor than `here` (see `stages.core.machine.processor`); else None."""
    others = sorted({row.processor or UNKNOWN for row in table if row.threads is not None} - {here})
    if not others:
        return None
    return f"speed was measured on {' and '.join(others)}, and this is {here}: `{MEASURE_HERE}` measures it here."
