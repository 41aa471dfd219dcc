"""The expectations on the raw rows, on the clean rows, and on counts taken from both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import great_expectations.expectations as gxe
import pandas as pd
from great_expectations.expectations.metadata_types import FailureSeverity

from stages.core.contracts import as_labels
from stages.core.params.validate import ValidateParams
from stages.core.paths import SPLITS
from stages.reading.clean_rows import DUPLICATES, TEXT_PAIR, whole_texts
from stages.reading.kinds import kinds_of, one_row_a_kind, rows_by_kind
from stages.tasks.contract import TaskData
from stages.validation.alike import look_alikes
from stages.validation.flaws import counted
from stages.validation.profiles import Drift
from stages.validation.written import LANGUAGES, targets_of

COLUMNS = ("row_id", "text", "label", "origin", "split")
TEXT_TYPES = ["large_string", "string"]
EXAMPLES = 5


class Suite(NamedTuple):
    """A table and the expectations on it. The values of `id_column` name its rows.

    A column of a table of counts may have `examples` of its own: rows that were counted, or the largest changes.
    """

    name: str
    table: pd.DataFrame
    id_column: str
    expectations: Sequence[gxe.Expectation]
    examples: Mapping[str, Sequence[str]] = {}


@dataclass(frozen=True)
class Data:
    """The rows of `ingest` and `clean`, as they lie on the disk."""

    raw: pd.DataFrame
    clean: pd.DataFrame
    quarantine: pd.DataFrame
    unreadable: pd.DataFrame
    transfer: pd.DataFrame
    """Clean rows without labels, of the split `transfer`; they are not among `clean`."""
    held_out: pd.DataFrame
    """Clean rows that are set aside; they are not among `clean` either."""
    task: TaskData
    """It says which labels a row has: its own, or those of its spans."""
    types: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """"raw" and "clean": the type of each column in the file."""

    @cached_property
    def is_whole(self) -> bool:
        """Whether the clean rows have every column; where one is missing, counts cannot be taken by it."""
        return set(COLUMNS) <= set(self.clean.columns)

    @cached_property
    def given(self) -> frozenset[str]:
        """The splits that the data brings."""
        return frozenset(self.raw["split"].dropna()) if "split" in self.raw else frozenset()


def suites(data: Data, drift: Drift | None, params: ValidateParams) -> list[Suite]:
    """All suites. `drift` None: nothing was released yet, so there are no expectations on it."""
    ask = Ask(params)
    found = [
        Suite("raw", data.raw, "row_id", [*_of_rows(data.raw, data, ask), *_of_raw_rows(data.raw, ask)]),
        Suite("clean", data.clean, "row_id", [*_of_rows(data.clean, data, ask), *_of_clean_rows(data.clean)]),
        *(Suite(f"{name}_columns", *_types(types)) for name, types in data.types.items()),
        *_of_labels_by_themselves(data, ask),
        *_of_targets(data),
        _totals(data, ask),
    ]
    if data.task.writes == "target" and {"row_id", "text", "label"} <= set(data.clean.columns):
        found.append(_of_targets_to_write(data, ask))
    if len(data.transfer):
        found.append(Suite("transfer", data.transfer, "row_id", [*_of_clean_texts(data.transfer)]))
    if len(data.held_out):
        found.append(Suite("held_out", data.held_out, "row_id", [*_of_rows_set_aside(data)]))
    if data.is_whole:
        found += _of_counts(data, ask)
    if drift is not None:
        found.append(_of_drift(drift, ask))
    return found


Says = Callable[[Any], str]
"""says(limit): the message for the user where the data exceeds it."""


def _meta(limit: str | None, says: str | None, *, warns: bool) -> dict[str, Any]:
    severity = FailureSeverity.WARNING if warns else FailureSeverity.CRITICAL
    return {"meta": {"limit": limit, "says": says}, "severity": severity}


@dataclass(frozen=True)
class Ask:
    """Expectations with the limits of params.yaml."""

    params: ValidateParams

    def limit(self, name: str, says: str | None = None) -> dict[str, Any]:
        """Metadata of an expectation for the limit `name`: its name, and whether exceeding it only warns.

        `says`: the message for the user, where the name of the expectation would be jargon.
        """
        return _meta(name, says, warns=name in self.params.warn_only)

    def between(
        self, column: str, *, low: str | None = None, high: str | None = None, says: Says | None = None
    ) -> Iterator[gxe.Expectation]:
        """Expect no value of `column` below the limit `low` or above `high`; a limit that is null expects nothing."""
        for name, key in ((low, "min_value"), (high, "max_value")):
            if name is not None and (value := getattr(self.params, name)) is not None:
                told = None if says is None else says(value)
                yield gxe.ExpectColumnValuesToBeBetween(column=column, **{key: value}, **self.limit(name, told))

    def present(self, column: str, limit: str) -> Iterator[gxe.Expectation]:
        """Expect a value in all rows but the share `limit`."""
        if (share := getattr(self.params, limit)) is not None:
            yield gxe.ExpectColumnValuesToNotBeNull(column=column, mostly=1 - share, **self.limit(limit))


def _of_rows(rows: pd.DataFrame, data: Data, ask: Ask) -> Iterator[gxe.Expectation]:
    """Expectations for raw and for clean rows alike. A missing column gets no further expectation."""
    yield gxe.ExpectTableRowCountToBeBetween(min_value=ask.params.min_rows, **ask.limit("min_rows"))
    for column in COLUMNS:
        yield gxe.ExpectColumnToExist(column=column)
    if "row_id" in rows:
        yield gxe.ExpectColumnValuesToNotBeNull(column="row_id")
        yield gxe.ExpectColumnValuesToBeUnique(column="row_id")
    if "label" in rows and data.task.exclusive:
        yield from _of_labels(ask)


def _of_labels(ask: Ask) -> Iterator[gxe.Expectation]:
    least = ask.params.min_labels
    yield gxe.ExpectColumnUniqueValueCountToBeBetween(column="label", min_value=least, **ask.limit("min_labels"))
    if (labels := ask.params.labels) is not None:
        allowed = as_labels(labels)
        yield gxe.ExpectColumnValuesToBeInSet(column="label", value_set=allowed, **ask.limit("labels"))


def _of_labels_by_themselves(data: Data, ask: Ask) -> Iterator[Suite]:
    """The suites on the labels of rows that may have several, or none: a table with a row for each."""
    if data.task.exclusive:
        return
    for name, rows in (("raw", data.raw), ("clean", data.clean)):
        if "label" in rows:
            yield Suite(f"{name}_labels", one_row_a_kind(rows, data.task), "row_id", [*_of_labels(ask)])
    if data.is_whole and (known := _labels_of(data.clean[data.clean["split"] == "train"], data)):
        asked = one_row_a_kind(data.clean[data.clean["split"] != "train"], data.task)
        in_training = gxe.ExpectColumnValuesToBeInSet(column="label", value_set=known)
        yield Suite("labels_in_training", asked, "row_id", [in_training])
    if len(data.held_out) and data.is_whole:
        aside = one_row_a_kind(data.held_out, data.task)
        yield Suite("held_out_labels", aside, "row_id", [_known_label(data)])


def _of_targets(data: Data) -> Iterator[Suite]:
    """The suites on the mistakes that the task knows of targets: a column for each, of which a row has 0."""
    if data.task.flaws is None:
        return
    for name, rows in (("raw", data.raw), ("clean", data.clean), ("held_out", data.held_out)):
        if {"row_id", "text", "label"} <= set(rows.columns) and (len(rows) or name != "held_out"):
            none = [gxe.ExpectColumnValuesToBeBetween(column=one, max_value=0) for one in data.task.flaws.columns]
            yield Suite(f"{name}_targets", counted(rows, data.task.flaws), "row_id", none)


def _of_raw_rows(rows: pd.DataFrame, ask: Ask) -> Iterator[gxe.Expectation]:
    for column in ("text", TEXT_PAIR):
        if column in rows:
            yield from ask.present(column, "max_missing_text_share")
    if "label" in rows:
        yield from ask.present("label", "max_missing_label_share")


def _of_clean_texts(rows: pd.DataFrame) -> Iterator[gxe.Expectation]:
    for column in ("text", TEXT_PAIR):
        if column in rows:
            yield gxe.ExpectColumnValuesToNotBeNull(column=column)
            yield gxe.ExpectColumnValueLengthsToBeBetween(column=column, min_value=1)


def _of_clean_rows(rows: pd.DataFrame) -> Iterator[gxe.Expectation]:
    yield from _of_clean_texts(rows)
    if "label" in rows:
        yield gxe.ExpectColumnValuesToNotBeNull(column="label")
    if "split" in rows:
        yield gxe.ExpectColumnValuesToNotBeNull(column="split")
        yield gxe.ExpectColumnValuesToBeInSet(column="split", value_set=list(SPLITS))


def _of_rows_set_aside(data: Data) -> Iterator[gxe.Expectation]:
    """Expect that none is missing a text or a label, none is a clean row, and each has a label that models know."""
    yield from _of_clean_texts(data.held_out)
    yield gxe.ExpectColumnValuesToNotBeNull(column="label")
    if data.is_whole:
        if data.task.exclusive:
            yield _known_label(data)
        yield gxe.ExpectColumnValuesToNotBeInSet(column="row_id", value_set=data.clean["row_id"].tolist())


def _known_label(data: Data) -> gxe.Expectation:
    return gxe.ExpectColumnValuesToBeInSet(column="label", value_set=_labels_of(data.clean, data))


def _labels_of(rows: pd.DataFrame, data: Data) -> list[str]:
    return sorted(kinds_of(rows["label"], data.task).unique())


def _types(types: Mapping[str, str]) -> tuple[pd.DataFrame, str, list[gxe.Expectation]]:
    table = pd.DataFrame({"column": list(types), "type": list(types.values())})
    return table, "column", [gxe.ExpectColumnValuesToBeInSet(column="type", value_set=TEXT_TYPES)]


def _totals(data: Data, ask: Ask) -> Suite:
    """The suite on shares of all rows, and on lengths, in a table of one row."""
    everything = len(data.raw) + len(data.unreadable)
    foreign = data.quarantine.loc[data.quarantine["reason"].isin(LANGUAGES), "row_id"]
    repeated = data.quarantine.loc[data.quarantine["reason"].isin(DUPLICATES), "row_id"]
    texts = whole_texts(data.clean).dropna() if "text" in data.clean else pd.Series(dtype="str")
    chars = texts.astype("str").str.len()
    by_length = chars.sort_values(kind="stable").index
    ids = data.clean["row_id"] if "row_id" in data.clean else pd.Series(dtype="str")
    labels = kinds_of(data.clean["label"], data.task) if "label" in data.clean else pd.Series(dtype="str")
    alike = look_alikes(labels.astype("str").value_counts().to_dict())
    totals = {
        "look_alike_labels": len(alike),
        "other_language_share": len(foreign) / max(everything, 1),
        "dropped_share": 1 - (len(data.clean) + len(data.transfer) + len(data.held_out)) / max(everything, 1),
        "duplicate_share": len(repeated) / max(len(data.raw), 1),
        "median_chars": float(chars.median()) if len(chars) else 0.0,
        "p95_chars": float(chars.quantile(0.95)) if len(chars) else 0.0,
    }
    examples = {
        "dropped_share": [*data.quarantine["row_id"].head(EXAMPLES), *data.unreadable["origin"].head(EXAMPLES)],
        "duplicate_share": repeated.head(EXAMPLES).tolist(),
        "other_language_share": foreign.head(EXAMPLES).tolist(),
        "median_chars": ids.reindex(by_length[len(by_length) // 2 :][:EXAMPLES]).tolist(),
        "p95_chars": ids.reindex(by_length[-EXAMPLES:][::-1]).tolist(),
    }
    expectations = [
        *ask.between("look_alike_labels", high="max_look_alike_labels", says=lambda most: _alike(alike, most)),
        *ask.between("dropped_share", high="max_dropped_share"),
        *ask.between("other_language_share", high="max_other_language_share"),
        *ask.between("duplicate_share", high="max_duplicate_share"),
        *ask.between("median_chars", low="min_median_chars", high="max_median_chars"),
        *ask.between("p95_chars", high="max_p95_chars"),
    ]
    table = pd.DataFrame([{"of": "all rows", **totals}])
    return Suite("totals", table, "of", expectations, {name: rows[:EXAMPLES] for name, rows in examples.items()})


def _of_targets_to_write(data: Data, ask: Ask) -> Suite:
    """The suite on targets that are texts, in a table of one row."""
    found, examples = targets_of(data.clean)
    expectations = [
        *ask.between("median_target_chars", low="min_median_target_chars"),
        *(
            expectation
            for column in ("p95_target_chars", "p95_length_ratio", "copied_target_share", "repeated_target_share")
            for expectation in ask.between(column, high=f"max_{column}")
        ),
    ]
    return Suite("written_targets", pd.DataFrame([{"of": "the clean rows", **found}]), "of", expectations, examples)


def _alike(look_alikes: Sequence[str], most: int) -> str:
    shown = "; ".join(look_alikes[:EXAMPLES])
    return (
        f"labels: {len(look_alikes)} may be another, allowed {most}: {shown}. Where they mean the same, write them"
        " the same in the data; where not, raise the limit."
    )


def _of_counts(data: Data, ask: Ask) -> list[Suite]:
    """The suites on numbers of rows by split, and by label and split."""
    clean, given = data.clean, data.given
    counts = rows_by_kind(clean, data.task)
    labels = counts.assign(share=counts.sum(axis=1) / max(len(clean), 1)).rename_axis(columns=None).reset_index()
    in_splits = clean.loc[clean["label"].notna(), "split"].value_counts().reindex(list(SPLITS), fill_value=0)
    splits = in_splits.rename_axis("split").rename("rows").reset_index()
    drawn = counts[[split for split in SPLITS if split == "train" or split not in given]].sum(axis=1)
    said = _Said(labels, pd.Series(drawn.to_numpy(), labels.index), data.task.exclusive)
    of_labels = [
        *ask.between("train", low="min_rows_per_label", says=said.few_to_learn_from),
        *(
            gxe.ExpectColumnValuesToBeBetween(
                column=split, min_value=1, **_meta(None, said.none_in(split, split in given), warns=split in given)
            )
            for split in ("validation", "test")
        ),
        *ask.between("share", low="min_label_share", says=said.small_shares),
        *ask.between("share", high="max_label_share", says=said.large_shares),
    ]
    empty = ", ".join(splits.loc[splits["rows"] == 0, "split"])
    rows = gxe.ExpectColumnValuesToBeBetween(
        column="rows", min_value=1, **_meta(None, f"splits: no clean row is in {empty}. Add rows.", warns=False)
    )
    return [Suite("splits", splits, "split", [rows]), Suite("labels", labels, "label", of_labels)]


class _Said(NamedTuple):
    """The messages for the user on labels with few rows or many."""

    labels: pd.DataFrame
    """label, a column of counts for each split, and share, a row a label."""
    drawn: pd.Series
    """For each label, the number of rows that `clean` compares with `rare_label_rows`."""
    exclusive: bool
    """Whether a row has one label, so that `clean` can drop or merge those that are rare."""

    def few_to_learn_from(self, least: int) -> str:
        rare = self.labels["train"] < least
        return f"{self._named(rare, 'train', f'fewer than {least} training rows')}. {self._step(rare)}"

    def none_in(self, split: str, given: bool) -> str:
        without = self.labels[split] == 0
        what = self._named(without, None, f"no {split} row")
        if not given:
            return f"{what}. {self._step(without)}"
        return f"{what}. The data brings that split, so it stays; nothing is measured for such a label there."

    def small_shares(self, least: float) -> str:
        rare = self.labels["share"] < least
        return f"{self._named(rare, 'share', f'less than {least:.3g} of the clean rows')}. {self._step(rare)}"

    def large_shares(self, most: float) -> str:
        named = self._named(self.labels["share"] > most, "share", f"more than {most:.3g} of the clean rows")
        return f"{named}. Add rows of the others, or raise the limit."

    def _named(self, some: pd.Series, column: str | None, what: str) -> str:
        """The number of labels that have `what`, and the first of them, with their numbers in `column`."""
        shown = self.labels[some].head(EXAMPLES)
        named = [f"'{label}'" for label in shown["label"]]
        if column is not None:
            form = ".3g" if column == "share" else ","
            named = [f"{label} ({count:{form}})" for label, count in zip(named, shown[column], strict=True)]
        more = f", and {int(some.sum()) - len(shown)} more" if some.sum() > len(shown) else ""
        return f"labels: {int(some.sum())} of {len(some)} with {what}: {', '.join(named)}{more}"

    def _step(self, some: pd.Series) -> str:
        if not self.exclusive:
            return "Add rows of them, or take them out of the targets."
        rows = max(int(self.drawn[some].max()) + 1, 2) if some.any() else 2
        return f"Add rows of them, or set clean.rare_labels to drop or merge, with clean.rare_label_rows at {rows}."


def _of_drift(drift: Drift, ask: Ask) -> Suite:
    table = pd.DataFrame(
        [
            {
                "of": "the clean rows",
                "label_drift": drift.labels,
                "lost_labels": drift.lost_labels,
                "length_drift": drift.lengths,
                "word_drift": drift.words,
                "rows_lost": drift.rows_lost,
            }
        ]
    )
    expectations = [
        expectation
        for column in ("label_drift", "length_drift", "word_drift", "rows_lost")
        for expectation in ask.between(column, high=f"max_{column}")
    ]
    if ask.params.max_label_drift is not None:
        none = gxe.ExpectColumnValuesToBeBetween(column="lost_labels", max_value=0, **ask.limit("max_label_drift"))
        expectations.append(none)
    return Suite("drift", table, "of", expectations, drift.changes)
