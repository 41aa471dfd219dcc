"""What a file of rows is for, by its names and values: its columns, the task, and limits that fit; each with a reason.

A guess is a proposal for params.yaml. Whoever knows better names the task or a column, or edits the file.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from statistics import median
from typing import Any, NamedTuple

from flows.projects import of_files, of_lines, targets
from flows.projects.sample import ROWS, SPLITS, Sample
from flows.projects.telling import Told
from flows.running.code import OURS
from stages.core import plugins
from stages.core.params.file import load_params
from stages.tasks import TASKS
from stages.tasks.contract import TaskSettings
from stages.tasks.shared import claims
from stages.tasks.shared.claims import Claim, Shown

TEXTS = (
    "text", "sentence", "review", "content", "body", "comment", "message", "question", "tweet", "document", "tokens",
)  # fmt: skip
SOURCES = ("source", "src", "input", "prompt", "instruction", "article", "dialogue")  # where they hold texts
TARGETS = ("label", "labels", "target")  # before those that tasks name
WORDS_OF_NAME = 6  # a column with more is rather called by a row
SHOWN_CHARS = 40
WORDS = "tokens"  # the column of a list of words
SPLIT_COLUMNS = ("split", "set", "partition", "fold")
LENGTHS = (32, 64, 128, 256, 512)  # tokens
UPDATES = 300  # of the teacher, at least: with fewer it has hardly begun to learn
MOST_EPOCHS = 10  # times as many as usual, at most
CHARS_A_TOKEN = 4.0  # of English; fewer of others, so that more is cut there: tokenize says how much


class Guess(NamedTuple):
    """A proposal: the task, the values of params.yaml by their dotted names, and why, a sentence each."""

    task: str
    values: dict[str, Any]
    reasons: list[str]
    warnings: tuple[str, ...] = ()
    """What speaks against it, a line each."""


def guess(
    sample: Sample,
    *,
    task: str | None = None,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
) -> Guess:
    """The proposal for these rows; what is given is kept.

    Raises ValueError, with what to name, where no column can be the text or the target.
    """
    settings = _settings()
    if sample.tagged:
        of_words, claim = _claimed(settings, Shown(tags_words=True)) or ("", Claim(0, ""))
        called = of_files.values(sample)
        reasons = [f"The target is in {sample.shown}: {claim.why}", *of_files.told(called)]
        return Guess(task or of_words, called, reasons)
    values: dict[str, Any] = {}
    text, label = _named(sample, text, "--text"), _named(sample, label, "--label")
    pair = _pair(sample, settings, text, _named(sample, text_pair, "--text-pair"))
    by_split = _split_column(sample)
    taken = {*(pair or ()), *([by_split] if by_split else [])}
    text = pair[0] if pair else text or _text_column(sample, taken)
    by_words = {} if pair else targets.told(sample, settings, text, taken, task, label)
    named = label
    if task is None or settings[task].writes != "text":
        label = label or _target_column(sample, settings, {*taken, text}, by_words, has_pair=bool(pair))
    shown = Shown(
        sample.columns, pair, _values(sample, label), _tags_words(sample, label), label, parallel=bool(sample.parts)
    )
    found, claim = _claimed(settings, shown) or (task, Claim(0, "as you said."))
    if found is None or (label is None and task not in (None, found) and settings[task or found].writes != "text"):
        raise ValueError(f"{sample.shown} has no column that looks like a target. Name the one: --label COLUMN.")
    values |= {"ingest.columns.text": text, "ingest.columns.text_pair": pair[1] if pair else None}
    values |= {"ingest.columns.label": label, **claim.values} if label else claim.values
    writes = settings[task or found].writes
    if writes == "text":
        label = values["ingest.columns.label"] = text
    of_label = f"{label!r}: " if label else ""
    reasons = [
        _of_text(sample, text, pair),
        *_doubts(sample, {*taken, text, *filter(None, [label])}, text, label, pair),
        f"The target is the column {of_label}{claim.why}",
    ]
    if task not in (None, found):
        reasons[-1] += f" The task is {task}, as you said."
    reasons += targets.compared(by_words, text, label if named is None else None)
    if sample.parts and label:
        values |= of_lines.values(sample)
        reasons.append(of_lines.direction(sample, text, label))
    values |= (called := of_files.values(sample))
    reasons += of_files.told(called)
    if by_split:
        values |= _splits(sample, by_split)
        told = f", as far as the first {len(sample.rows):,} rows tell" if len(sample.rows) == ROWS else ""
        reasons.append(f"The column '{by_split}' says which rows are for training and which for the test{told}.")
    _limit(sample, text, values, reasons, in_windows=writes != "target")
    if writes == "target" and label:
        _make_room(sample, label, values, reasons)
    values |= _of_tokens(settings[task or found].starts, values["tokenize.max_tokens"])
    if writes is None:  # those that write begin with epochs of their own
        _learn_longer(sample, by_split, settings[task or found].starts, values, reasons)
    return Guess(task or found, values, reasons, tuple(targets.doubted(by_words, text, label)))


def _of_tokens(starts: Mapping[str, Any], most: int) -> dict[str, Any]:
    """Where the values that a task begins with are of fewer tokens than these rows have, or share more: others."""
    stride, scratch = starts.get("tokenize.stride"), starts.get("model.scratch")
    values: dict[str, Any] = {"tokenize.stride": min(stride, most // 4)} if stride else {}
    if scratch and scratch["positions"] < most:
        values["model.scratch"] = {**scratch, "positions": most}
    return values


def _learn_longer(
    sample: Sample, by_split: str | None, starts: Mapping[str, Any], values: dict[str, Any], reasons: list[str]
) -> None:
    """More epochs for few rows, so that they come to UPDATES steps of the optimizer; none stops early then."""
    usual = load_params(OURS / "params.yaml")
    by_stage = {"finetune": usual.finetune.epochs, "distill": usual.distill.epochs, "prune": usual.prune.epochs}
    epochs = {f"{name}.epochs": starts.get(f"{name}.epochs", usually) for name, usually in by_stage.items()}
    if by_split is not None:
        others = {values[f"ingest.splits.{split}"] for split in ("validation", "test")}
        rows = sum(str(row.get(by_split)) not in others for row in sample.rows)
    else:
        rows = int(len(sample.rows) * (1 - usual.clean.validation_fraction - usual.clean.test_fraction))
    batch = starts.get("finetune.batch_size", usual.finetune.batch_size)
    updates = max(1, math.ceil(rows / batch)) * epochs["finetune.epochs"]
    times = min(MOST_EPOCHS, math.ceil(UPDATES / updates))
    if len(sample.rows) == ROWS or times == 1:
        return
    values |= {name: times * usually for name, usually in epochs.items()}
    values |= {f"{name}.patience": values[f"{name}.epochs"] for name in ("finetune", "distill")}
    reasons.append(
        f"{rows:,} rows are few, and so learned {times} times as often: {values['finetune.epochs']} epochs,"
        " of which the best by the validation rows is kept."
    )


def _settings() -> dict[str, TaskSettings]:
    return {task: plugins.part(TASKS, task, "settings", key="--task") for task in TASKS}


def _claimed(settings: dict[str, TaskSettings], shown: Shown) -> tuple[str, Claim] | None:
    """The task with the strongest claim to such a file."""
    return claims.strongest({task: own.claim(shown) for task, own in settings.items()})


def _pair(
    sample: Sample, settings: dict[str, TaskSettings], text: str | None, second: str | None
) -> tuple[str, str] | None:
    """The columns of the two texts, by their names; `text` and `second` are those that somebody named.

    Raises ValueError where they are the same.
    """
    if second is not None and text == second:
        raise ValueError(f"--text and --text-pair are both '{text}'. A pair has two columns.")
    if second is not None:
        return text or _text_column(sample, {second}), second
    pairs = claims.in_turn([own.pairs for own in settings.values()])
    return next((pair for pair in pairs if text in (None, pair[0]) and {*pair} <= {*sample.columns}), None)


def _values(sample: Sample, label: str | None) -> tuple[Any, ...]:
    return tuple(targets.parsed(value) for value in sample.values(label)) if label else ()


def _tags_words(sample: Sample, label: str | None) -> bool:
    """Whether there is a list of words beside each list of the target."""
    values = _values(sample, label)
    return Shown(values=values).of_lists and len(sample.values(WORDS)) == len(values)


def _of_text(sample: Sample, text: str, pair: tuple[str, str] | None) -> str:
    if pair:
        return f"Rows are pairs: {pair[0]} and {pair[1]}."
    return f"The text is the column '{text}': half of its texts have over {_median_chars(sample, text):.0f} characters."


def _doubts(sample: Sample, taken: set[str], text: str, label: str | None, pair: tuple[str, str] | None) -> list[str]:
    """A sentence on what may be another way: a first line that reads as a row does, else texts that are not read."""
    for column in filter(None, (text, label)):
        if claims.is_number(column) or len(column.split()) > WORDS_OF_NAME:
            what = f"The first line of {sample.shown} is taken for the names of its columns, such as"
            return [f"{what} '{column[:SHOWN_CHARS]}'. Where it is a row, put a line of names above it."]
    if pair:
        return []
    least = _median_chars(sample, text) / 2
    for other in sample.columns:
        if other not in taken and _is_prose(sample, other) and _median_chars(sample, other) >= least:
            first, second = (shlex.quote(column) for column in sample.columns if column in (text, other))
            what = f"The column '{other}' holds texts, too, and is not read."
            return [f"{what} Where a row is two texts: --text {first} --text-pair {second}."]
    return []


def _targets(settings: dict[str, TaskSettings], free: list[str]) -> list[str]:
    """The columns that can be a target, by their names."""
    names = dict.fromkeys([*TARGETS, *claims.in_turn([own.targets for own in settings.values()])])
    return [column for name in names for column in free if column.lower() == name]


def _named(sample: Sample, column: str | None, option: str) -> str | None:
    """The column that somebody named. Raises ValueError where the file has none of that name."""
    if column is not None and column not in sample.columns:
        raise ValueError(f"{option} is '{column}'. {sample.shown} has the columns {', '.join(sample.columns)}.")
    return column


def _text_column(sample: Sample, taken: set[str]) -> str:
    """The column of that name, else the one with the longest texts of several words."""
    free = [column for column in sample.columns if column not in taken]
    if named := next((column for name in TEXTS for column in free if column.lower() == name), None):
        return named
    sources = (column for name in SOURCES for column in free if column.lower() == name)
    if source := next((column for column in sources if sample.parts or _is_prose(sample, column)), None):
        return source
    if sample.parts:
        return free[0]
    lengths = {column: _median_chars(sample, column) for column in free if _is_prose(sample, column)}
    if not lengths:
        shown = ", ".join(sample.columns)
        raise ValueError(f"{sample.shown} has no column of texts (found: {shown}). Name the one: --text COLUMN.")
    return max(lengths, key=lambda column: lengths[column])


def _is_prose(sample: Sample, column: str) -> bool:
    values = sample.values(column)
    texts = [value for value in values if isinstance(value, str) and not claims.is_number(value)]
    several = sum(" " in text.strip() for text in texts)
    return bool(values) and len(texts) > 0.9 * len(values) and several > 0.5 * len(texts)


def _median_chars(sample: Sample, column: str) -> float:
    return median([len(str(value)) for value in sample.values(column)] or [0])


def _target_column(
    sample: Sample, settings: dict[str, TaskSettings], taken: set[str], told: Mapping[str, Told], *, has_pair: bool
) -> str | None:
    """The column of that name, else the one that the words tell best, else the only one, or of the fewest values.

    Names that only tasks have give way where the words tell another column, and not theirs.
    None for pairs where nothing is left that can be a target, and for texts that are alone.
    """
    free = [column for column in sample.columns if column not in taken and sample.values(column)]
    if not has_pair and len(sample.columns) == 1:
        return None
    if sample.parts and len(free) > 1:
        raise ValueError(
            f"{sample.shown} has lines in {', '.join(sample.columns)}. Name two of them: --text {sample.columns[0]}"
            f" --label {sample.columns[1]}."
        )
    named = _targets(settings, free)
    if named and (named[0].lower() in TARGETS or named[0] not in told):
        return named[0]
    for columns in (named, free):
        if best := targets.best(told, columns):
            return best
    if named:
        return named[0]
    distinct = {column: len({claims.as_text(value) for value in sample.values(column)}) for column in free}
    few = {column: count for column, count in distinct.items() if 1 < count <= max(2, len(sample.rows) / 2)}
    if has_pair and not few:
        return None
    if (len(free) > 1 and not few) or not free:
        shown = ", ".join(sample.columns)
        raise ValueError(
            f"{sample.shown} has no column that looks like a target (found: {shown}). Name the one: --label COLUMN."
        )
    return min(few or distinct, key=lambda column: distinct[column])


def _split_column(sample: Sample) -> str | None:
    """A column whose name and values both say which split a row is of."""
    for column in sample.columns:
        found = {str(value).lower() for value in sample.values(column)}
        if column.lower() in SPLIT_COLUMNS and found and found <= {name for names in SPLITS.values() for name in names}:
            return column
    return None


def _splits(sample: Sample, column: str) -> dict[str, Any]:
    found = dict.fromkeys(str(value) for value in sample.values(column))
    called = {split: next((name for name in found if name.lower() in names), split) for split, names in SPLITS.items()}
    return {"ingest.split_column": column, **{f"ingest.splits.{split}": name for split, name in called.items()}}


def _make_room(sample: Sample, label: str, values: dict[str, Any], reasons: list[str]) -> None:
    """Room for every target, as none is cut; a tokenizer that knows their words badly has two characters a token."""
    most = max(len(claims.as_text(value)) for value in sample.values(label))
    tokens = next((length for length in LENGTHS if 2 * length >= most), LENGTHS[-1])
    values |= {"tokenize.max_target_tokens": tokens, "generate.max_new_tokens": tokens}
    reasons.append(f"The longest target has {most} characters: max_target_tokens is {tokens}, as no target is cut.")


def _limit(sample: Sample, text: str, values: dict[str, Any], reasons: list[str], *, in_windows: bool) -> None:
    """Limits that these rows keep: of tokens, of rows, and of characters where the usual ones are beyond them.

    `in_windows`: whether the task can read a text in several parts.
    """
    pair = values.get("ingest.columns.text_pair")
    lengths = sorted(sum(len(str(row.get(column) or "")) for column in (text, pair) if column) for row in sample.rows)
    most = lengths[int(0.95 * (len(lengths) - 1))]
    tokens = next((length for length in LENGTHS if length * CHARS_A_TOKEN >= most), LENGTHS[-1])
    values["tokenize.max_tokens"] = tokens
    reasons.append(f"95 in 100 texts have at most {most} characters: max_tokens is {tokens}.")
    if most > LENGTHS[-1] * CHARS_A_TOKEN and not pair and in_windows:
        values |= {"tokenize.long_texts": "windows", "clean.max_chars": 20_000}
        reasons.append("Some are longer than a model reads at once: they are read in windows.")
    if len(sample.rows) < 200:
        least = values["validate.min_rows"] = max(1, len(sample.rows) // 2)
        reasons.append(f"{sample.shown} has but {len(sample.rows)} rows: min_rows is {least}. Figures will be vague.")
    if _median_chars(sample, text) < 15:
        values["validate.min_median_chars"] = max(1, int(_median_chars(sample, text) // 2))
        reasons.append("Texts are short: min_median_chars is lower than usual.")
