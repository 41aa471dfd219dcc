"""The last revisions of a branch by what their own files record of one model: quality, size and speed over commits.

All of it is in git, and nothing is checked out, fetched or measured. Values are compared only where their test rows are
the same, by the hash in dvc.lock, and times only where their machine is.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.review import earlier
from flows.review.evidence import Recorded, number
from flows.review.markdown import capital, escape, table, value
from flows.review.side import Side
from flows.review.task import judged_first, project_task, task_measures, task_of
from flows.running import git
from stages.core.paths import Paths
from stages.core.yaml_text import parse
from stages.tasks.contract import Measure

LAST = 20
MOST = 200  # revisions: a second for each twenty or so
SUBJECT_SHOWN = 60  # characters
NOT_KNOWN = "-"
ALONE = "Changes are of the figures alone; `winnow review --base REV` says whether one is real."


def history(root: Path, model: str, *, last: int = LAST, revision: str = "HEAD") -> tuple[Recorded, ...]:
    """The last commits before and at `revision` that changed the model's figures, newest first.

    Of merges it is those of the branch that was merged into. Raises ValueError for a revision that git does not know.
    """
    paths = Paths(root)
    files = [path.relative_to(root).as_posix() for path in (paths.quality(model), paths.profile(model))]
    shown = "--format=%h%x1f%cs%x1f%D%x1f%s"
    commit = git.commit_of(root, revision)
    log = git.read(root, "log", "--first-parent", "--decorate-refs=refs/tags", f"-n{last}", shown, commit, "--", *files)
    now = project_task(root)
    return tuple(_recorded(root, model, now, *line.split("\x1f", 3)) for line in log.split("\n") if line)


def _recorded(root: Path, model: str, now: Any, commit: str, date: str, refs: str, subject: str) -> Recorded:
    side, paths = Side(root, commit), Paths(root)
    quality, profile = earlier.quality(_json(side, paths.quality(model))), _json(side, paths.profile(model))
    task = task_of(_params(side.text(paths.params) or ""))
    measure = _measure(task, *now)
    low, high = (number(quality, "intervals", measure.name, end) for end in ("low", "high"))
    rows = number(quality, "rows")
    return Recorded(
        commit, date, subject, tuple(ref.removeprefix("tag: ") for ref in refs.split(", ") if ref), task, measure,
        number(quality, measure.name), low, high, None if rows is None else int(rows),
        data_of(side.text(root / "dvc.lock") or "", paths.clean.relative_to(root).as_posix()),
        number(profile, "latency_p50_ms"), number(profile, "size_mb"), _machine(profile), str(profile.get("date", "")),
    )  # fmt: skip


def _json(side: Side, path: Path) -> dict[str, Any]:
    """The object in a file; empty where that revision has none: it is of before the model was measured."""
    content = side.text(path)
    with contextlib.suppress(ValueError):
        if content is not None and isinstance(found := json.loads(content), dict):
            return found
    return {}


def _measure(task: str, now: Any, judged: str | None) -> Measure:
    """The measure that the project judges now, so that one column is of one; of another task its usual one."""
    measures = task_measures(task)
    return judged_first(measures, judged if measures == now else None)[0]


@functools.lru_cache(maxsize=64)
def _params(text: str) -> Mapping[str, Any]:
    """The parameters of a text, which many revisions share; empty where they cannot be read."""
    try:
        found = parse(text, "params.yaml")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def data_of(lock: str, path: str) -> str:
    """The hash of an out in the text of a dvc.lock, without reading all of it as YAML: that takes a second each."""
    found = re.search(rf"^ *- path: {re.escape(path)}\n(?: +(?!- )\w+: .*\n)*? +md5: (\w+)", lock, re.MULTILINE)
    return found[1] if found else ""


def _machine(profile: Mapping[str, Any]) -> str:
    threads, processor = number(profile, "threads"), profile.get("processor")
    if threads is None or not isinstance(processor, str):
        return ""
    return f"{threads:.0f} {'thread' if threads == 1 else 'threads'} of {processor}"


def letters(names: Sequence[str]) -> dict[str, str]:
    """A letter for each that is known, in their order: A, B, ... Z, A1, ..."""
    known = list(dict.fromkeys(filter(None, names)))
    return {name: chr(65 + at % 26) + (str(at // 26) if at >= 26 else "") for at, name in enumerate(known)}


def letters_of(entries: Sequence[Recorded], of: Callable[[Recorded], str]) -> dict[str, str]:
    """The letters of what the entries, newest first, have; A is the oldest."""
    return letters([of(entry) for entry in reversed(entries)])


def judged_on(entry: Recorded) -> str:
    """What its value is of, in a line that two entries share where they can be compared; empty where not known."""
    return f"{entry.task} {entry.measure.name} {entry.data}" if entry.data else ""


def machine_of(entry: Recorded) -> str:
    """The machine of its speed; empty where that is not known."""
    return entry.machine


def with_those_before(entries: Sequence[Recorded]) -> Iterator[tuple[Recorded, Recorded | None]]:
    """Each entry, newest first, with the one before it in time; the oldest with None."""
    yield from zip(entries, [*entries[1:], None], strict=False)


def as_markdown(entries: Sequence[Recorded], model: str, lacking: str = "") -> str:
    """The table, with what its letters mean below it."""
    tests, machines = letters_of(entries, judged_on), letters_of(entries, machine_of)
    titles = " or ".join(dict.fromkeys(capital(entry.measure.title) for entry in entries))
    columns = ("revision", "date", "what", "test", titles, "interval", "change")
    header = (*columns, "machine", "p50 ms", "change of p50", "size MB")
    rows = (_row(entry, before, tests, machines) for entry, before in with_those_before(entries))
    return "\n\n".join([f"# History of {model}", table(header, rows), *map(escape, meanings(entries)), ALONE + lacking])


def _row(
    entry: Recorded, before: Recorded | None, tests: Mapping[str, str], machines: Mapping[str, str]
) -> tuple[str, ...]:
    subject = entry.subject if len(entry.subject) <= SUBJECT_SHOWN else f"{entry.subject[: SUBJECT_SHOWN - 3]}..."
    unit = entry.measure.unit
    ends = [value(end, unit) for end in (entry.low, entry.high)]
    return (
        f"`{entry.commit}`{''.join(f' {escape(tag)}' for tag in entry.tags)}",
        entry.date,
        escape(subject),
        tests.get(judged_on(entry), NOT_KNOWN),
        value(entry.value, unit),
        NOT_KNOWN if NOT_KNOWN in ends else " to ".join(ends),
        change_of_value(entry, before),
        machines.get(entry.machine, NOT_KNOWN),
        value(entry.p50_ms, ""),
        change_of_time(entry, before),
        value(entry.size_mb, ""),
    )


def change_of_value(entry: Recorded, before: Recorded | None) -> str:
    """The difference from the revision before it, or why there is none; "-" for the oldest."""
    if before is None or entry.value is None or before.value is None:
        return NOT_KNOWN
    if not entry.same_test(before):
        return "another test" if entry.data and before.data else "unknown test"
    return value(entry.value - before.value, entry.measure.unit, signed=True) if entry.value != before.value else "same"


def change_of_time(entry: Recorded, before: Recorded | None) -> str:
    """The change of p50 since the revision before it, in percent, or why there is none; "-" for the oldest."""
    if before is None or entry.p50_ms is None or not before.p50_ms:
        return NOT_KNOWN
    if not entry.same_machine(before):
        return "another machine" if entry.machine and before.machine else "unknown machine"
    percent = round(100 * (entry.p50_ms / before.p50_ms - 1))
    return f"{percent:+d}%" if percent else "same"


def meanings(entries: Sequence[Recorded]) -> Iterator[str]:
    """A line on the tests and one on the machines, by their letters."""
    tests, machines = letters_of(entries, judged_on), letters_of(entries, machine_of)
    told = {tests[judged_on(entry)]: _told(entry) for entry in entries if judged_on(entry)}
    if told:
        yield "Tests, each with rows of its own: " + "; ".join(f"{at}: {told[at]}" for at in sorted(told)) + "."
    if machines:
        yield "Machines: " + "; ".join(f"{at}: {name}" for name, at in machines.items()) + "."


def _told(entry: Recorded) -> str:
    rows = "rows not counted" if entry.rows is None else f"{entry.rows:,} rows"
    return f"{rows}, data {entry.data[:7]}, {entry.measure.title}"


def as_records(entries: Sequence[Recorded]) -> list[dict[str, Any]]:
    """The entries as plain dictionaries, for JSON; the value by the name of its measure."""
    return [
        {
            "commit": entry.commit, "date": entry.date, "subject": entry.subject, "tags": list(entry.tags),
            "task": entry.task, "measure": entry.measure.name, "value": entry.value, "low": entry.low,
            "high": entry.high, "rows": entry.rows, "data": entry.data or None, "latency_p50_ms": entry.p50_ms,
            "size_mb": entry.size_mb, "machine": entry.machine or None, "measured": entry.measured or None,
        }
        for entry in entries
    ]  # fmt: skip
