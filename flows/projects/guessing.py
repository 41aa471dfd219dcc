"""What a file of rows is for, by its names and values: its columns, the task, and limits that fit; each with a reason.

A guess is a proposal for params.yaml. Whoever knows better names the task or a column, or edits the file.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

from flows.projects.sample import Sample

TEXTS = (
    "text",
    "sentence",
    "review",
    "content",
    "body",
    "comment",
    "message",
    "question",
    "tweet",
    "document",
    "tokens",
)
TARGETS = (
    "label", "labels", "class", "category", "target", "sentiment", "stars", "rating", "score", "topic", "intent",
    "tags", "ner_tags", "spans", "entities", "emotion", "emotions", "answers", "answer", "similarity",
)  # fmt: skip
PAIRS = (
    ("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2"), ("text_a", "text_b"),
    ("text", "text_pair"), ("context", "question"), ("query", "document"), ("anchor", "positive"),
)  # fmt: skip
SPLIT_COLUMNS = ("split", "set", "partition", "fold")
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "dev", "valid", "val"),
    "test": ("test", "testing"),
}
GRADES = ("score", "similarity", "relatedness", "relatedness_score")  # of pairs: how similar they are
QUESTIONS, SIMILARITY = "question_answering", "sentence_similarity"
AMOUNTS = "Where they are amounts, say so: --task regression"
WORDS_OF_NAME = 6  # a column with more is rather called by a row
SHOWN_CHARS = 40
FEW = 20  # different whole numbers, at most, that are taken for classes
LENGTHS = (32, 64, 128, 256, 512)  # tokens
CHARS_A_TOKEN = 4.0  # of English; fewer of others, so that more is cut there: tokenize says how much


class Guess(NamedTuple):
    """A proposal: the task, the values of params.yaml by their dotted names, and why, a sentence each."""

    task: str
    values: dict[str, Any]
    reasons: list[str]


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
    if sample.tagged:
        told = f"{sample.shown} holds words with their tags, so each sentence is a text with entities."
        return Guess(task or "token_classification", {}, [told])
    reasons: list[str] = []
    values: dict[str, Any] = {}
    text, label = _named(sample, text, "--text"), _named(sample, label, "--label")
    pair = _pair(sample, text, _named(sample, text_pair, "--text-pair"))
    if pair:
        text = pair[0]
        values["ingest.columns.text_pair"] = pair[1]
        reasons.append(f"Rows are pairs: {pair[0]} and {pair[1]}.")
    by_split = _split_column(sample)
    taken = {*(pair or ()), *([by_split] if by_split else [])}
    text = text or _text_column(sample, taken)
    if label is None and pair and not _targets(sample, {*taken, text}):
        return _of_pairs_alone(sample, pair, values, task, reasons)
    label = label or _target_column(sample, {*taken, text})
    values |= {"ingest.columns.text": text, "ingest.columns.label": label}
    found, why = _task_of_pairs(sample, pair, label) if pair else _task(sample, label)
    if not pair:
        reasons.append(f"The text is the column '{text}': {_lengths(sample, text)}.")
        reasons.extend(_of_header(sample, text, label) or _of_columns_left_out(sample, text, {*taken, text, label}))
    reasons.append(f"The target is the column '{label}': {why}")
    if task not in (None, found):
        reasons[-1] += f" The task is {task}, as you said."
    if by_split:
        values |= _splits(sample, by_split)
        reasons.append(f"The column '{by_split}' says which rows are for training and which for the test.")
    _limit(sample, text, values, reasons)
    if (task or found) == QUESTIONS:
        _limit_questions(sample, label, values, reasons)
    return Guess(task or found, values, reasons)


def _pair(sample: Sample, text: str | None, second: str | None) -> tuple[str, str] | None:
    """The columns of two texts: those that somebody named, else those that are called so. None where there are none.

    Raises ValueError where the same column is named twice.
    """
    if second is None:
        return next((pair for pair in PAIRS if text in (None, pair[0]) and {*pair} <= {*sample.columns}), None)
    if text == second:
        raise ValueError(f"--text and --text-pair are both '{text}'. A pair has two columns.")
    return text or _text_column(sample, {second}), second


def _of_columns_left_out(sample: Sample, text: str, taken: set[str]) -> list[str]:
    """A sentence on another column with texts as long, which may be the other one of a pair, if there is one."""
    least = _median_chars(sample, text) / 2
    for other in sample.columns:
        if other not in taken and _is_prose(sample, other) and _median_chars(sample, other) >= least:
            first, second = (shlex.quote(column) for column in sample.columns if column in (text, other))
            what = f"The column '{other}' holds texts, too, and is not read."
            return [f"{what} Where a row is two texts: --text {first} --text-pair {second}."]
    return []


def _of_header(sample: Sample, *columns: str) -> list[str]:
    """A sentence on a first line that reads as a row does, where names of columns are expected, if it does."""
    for column in columns:
        if _is_number(column) or len(column.split()) > WORDS_OF_NAME:
            what = f"The first line of {sample.shown} is taken for the names of its columns, such as"
            return [f"{what} '{column[:SHOWN_CHARS]}'. Where it is a row, put a line of names above it."]
    return []


def _of_pairs_alone(
    sample: Sample, pair: tuple[str, str], values: dict[str, Any], task: str | None, reasons: list[str]
) -> Guess:
    """Pairs without a target: texts that belong together."""
    found = SIMILARITY
    values |= {"ingest.columns.text": pair[0], "ingest.columns.label": pair[1], "task.measure": "ndcg_at_10"}
    reasons.append(f"There is no target, so the two texts of a row are taken to belong together: {found}.")
    _limit(sample, pair[0], values, reasons)
    return Guess(task or found, values, reasons)


def _task_of_pairs(sample: Sample, pair: tuple[str, str], label: str) -> tuple[str, str]:
    if pair == ("context", "question"):
        return QUESTIONS, "quotes of the context that answer the question."
    found, why = _task(sample, label)
    values = sample.values(label)
    if found == "regression" or (label.lower() in GRADES and len({*map(_text, values)}) > 2 and _are_numbers(values)):
        return SIMILARITY, "numbers, taken for how similar the two texts are. Else: --task regression."
    if _are_numbers(values):
        why = why.replace(AMOUNTS, f"Where they say how similar the two texts are, say so: --task {SIMILARITY}")
    return found, why


def _targets(sample: Sample, taken: set[str | None]) -> list[str]:
    """The columns that can be a target, by their names."""
    free = [column for column in sample.columns if column not in taken and sample.values(column)]
    return [column for name in TARGETS for column in free if column.lower() == name]


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
    lengths = {column: _median_chars(sample, column) for column in free if _is_prose(sample, column)}
    if not lengths:
        shown = ", ".join(sample.columns)
        raise ValueError(f"{sample.shown} has no column of texts (found: {shown}). Name the one: --text COLUMN.")
    return max(lengths, key=lambda column: lengths[column])


def _is_prose(sample: Sample, column: str) -> bool:
    values = sample.values(column)
    texts = [value for value in values if isinstance(value, str) and not _is_number(value)]
    several = sum(" " in text.strip() for text in texts)
    return bool(values) and len(texts) > 0.9 * len(values) and several > 0.5 * len(texts)


def _median_chars(sample: Sample, column: str) -> float:
    return median([len(str(value)) for value in sample.values(column)] or [0])


def _lengths(sample: Sample, column: str) -> str:
    return f"half of its texts have over {_median_chars(sample, column):.0f} characters"


def _target_column(sample: Sample, taken: set[str | None]) -> str:
    """The column of that name, else the only one that is left, else the one with the fewest different values."""
    if named := _targets(sample, taken):
        return named[0]
    free = [column for column in sample.columns if column not in taken and sample.values(column)]
    distinct = {column: len({_text(value) for value in sample.values(column)}) for column in free}
    told = {column: count for column, count in distinct.items() if 1 < count <= max(2, len(sample.rows) / 2)}
    if (len(free) > 1 and not told) or not free:
        shown = ", ".join(sample.columns)
        raise ValueError(
            f"{sample.shown} has no column that looks like a target (found: {shown}). Name the one: --label COLUMN."
        )
    return min(told or distinct, key=lambda column: distinct[column])


def _task(sample: Sample, label: str) -> tuple[str, str]:
    """The task that a column's values are for, and why, as the end of a sentence."""
    values = [_parsed(value) for value in sample.values(label)]
    of_lists = [value for value in values if isinstance(value, list)]
    if len(of_lists) > 0.9 * len(values):
        items = [item for value in of_lists for item in value]
        if any(isinstance(item, dict | list) for item in items):
            return "token_classification", "places in the text, each with a type, so the task is to find entities."
        if len(sample.values("tokens")) == len(values):
            return "token_classification", "a tag for each word, so the task is to find entities."
        return "multilabel_classification", "sets of labels, so several may hold for a text."
    distinct = {_text(value) for value in values}
    if _are_numbers(values):
        if len(distinct) > FEW or not all(float(value).is_integer() for value in values):
            return "regression", f"numbers ({len(distinct)} different ones), so the task is to estimate them."
        return "text_classification", f"{len(distinct)} different whole numbers, taken for labels. {AMOUNTS}."
    return "text_classification", f"{len(distinct)} different labels, one a text."


def _parsed(value: Any) -> Any:
    """The value, or the list that its text is, as JSON or with separators."""
    if isinstance(value, str) and value.strip().startswith("["):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    if isinstance(value, str) and re.search(r"[;|]", value):
        return re.split(r"\s*[;|]\s*", value)
    return value


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(map(_is_number, values))


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    with contextlib.suppress(TypeError, ValueError):
        return float(value) == float(value)  # NaN is none
    return False


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


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


def _limit(sample: Sample, text: str, values: dict[str, Any], reasons: list[str]) -> None:
    """Limits that these rows keep: of tokens, of rows, and of characters where the usual ones are beyond them."""
    pair = values.get("ingest.columns.text_pair")
    lengths = sorted(sum(len(str(row.get(column) or "")) for column in (text, pair) if column) for row in sample.rows)
    most = lengths[int(0.95 * (len(lengths) - 1))]
    tokens = next((length for length in LENGTHS if length * CHARS_A_TOKEN >= most), LENGTHS[-1])
    values["tokenize.max_tokens"] = tokens
    reasons.append(f"95 in 100 texts have at most {most} characters: max_tokens is {tokens}.")
    if most > LENGTHS[-1] * CHARS_A_TOKEN and not pair:
        values |= {"tokenize.long_texts": "windows", "clean.max_chars": 20_000}
        reasons.append("Some are longer than a model reads at once: they are read in windows.")
    if len(sample.rows) < 200:
        values["validate.min_rows"] = max(1, len(sample.rows) // 2)
        reasons.append(
            f"There are but {len(sample.rows)} rows: min_rows is {values['validate.min_rows']}. Figures will be vague."
        )
    if _median_chars(sample, text) < 15:
        values["validate.min_median_chars"] = max(1, int(_median_chars(sample, text) // 2))
        reasons.append("Texts are short: min_median_chars is lower than usual.")


def _limit_questions(sample: Sample, label: str, values: dict[str, Any], reasons: list[str]) -> None:
    """Limits of questions: a stride that leaves room for the question, and classes, of which there may be one."""
    values["tokenize.stride"] = values["tokenize.max_tokens"] // 4
    reasons.append(f"A longer context is read in windows, which share {values['tokenize.stride']} tokens.")
    if all(_has_answer(value) for value in sample.values(label)):
        values |= {"validate.min_labels": 1, "validate.max_label_share": None}
        reasons.append("Every question has an answer: min_labels is 1, max_label_share null.")


def _has_answer(value: Any) -> bool:
    """Whether a list of answers, or the Hub's lists of their texts and places, holds any."""
    found = _parsed(value)
    return bool(found.get("text") if isinstance(found, dict) else found)
