"""Profiles of data, in a small file, and the drift between two of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from stages.core.files import read_json
from stages.reading.clean_rows import whole_texts
from stages.reading.kinds import kinds_of, shares_of
from stages.tasks.contract import TaskData

WORDS = 1000  # the commonest ones are kept
PERCENTS = range(5, 100, 5)  # of the lengths; the longest and the shortest texts say little
SHOWN = 3  # labels and words that are named
KEYS = frozenset({"rows", "label_shares", "chars", "common_words", "common_words_share"})


class Drift(NamedTuple):
    """The drift of some data from the released; 0: none. Each measure comes with the largest changes, in words."""

    labels: float
    """Total variation distance of the labels' shares: the share of the rows that would need another label.

    Where rows have several or none, it is half the sum of what each label's share of the rows has changed.
    """
    lost_labels: int
    """Labels of the released data that no row has now."""
    lengths: float
    """Wasserstein distance of the lengths, over their quantiles, as a share of the released median."""
    words: float
    """The loss in the common words' share of all words, from the released data to this."""
    rows_lost: float
    """The share of the released rows that are missing now."""
    changes: dict[str, list[str]]


def profile(clean: pd.DataFrame, data: TaskData) -> dict[str, Any]:
    """The profile of N rows with `text`, of pairs `text_pair` too, and `label`; `drift` compares and DVC shows it.

    A label's share is that of the rows with a target that hold it.
    """
    texts = whole_texts(clean).dropna().astype("str")
    counts = word_counts(texts)
    common = sorted(counts.index, key=lambda word: (-counts[word], word))[:WORDS]
    chars = texts.str.len()
    return {
        "rows": len(clean),
        "label_shares": shares_of(kinds_of(clean["label"], data), int(clean["label"].count())),
        "chars": {f"p{percent:02}": round(float(chars.quantile(percent / 100)), 3) for percent in PERCENTS},
        "common_words": sorted(common),
        "common_words_share": round(_share(counts, common), 6),
    }


def word_counts(texts: pd.Series) -> pd.Series:
    """How often each word, in lower case, is in the texts. A word is a run of letters and digits of any script."""
    lowered = pc.utf8_lower(pa.array(texts.dropna().astype("str"), pa.large_string()))
    words = pc.list_flatten(pc.split_pattern_regex(lowered, r"[^\p{L}\p{M}\p{N}_]+"))
    counted = pc.value_counts(words.filter(pc.not_equal(words, "")))
    return pd.Series(counted.field("counts").to_numpy(), counted.field("values").to_pylist(), dtype="int64")


def _share(counts: pd.Series, words: list[str]) -> float:
    """The share that `words` make of all words; 1 where there is none."""
    return float(counts.reindex(words).sum() / counts.sum()) if len(counts) else 1.0


def read_released(path: Path) -> dict[str, Any] | None:
    """The profile of the last released data; None where nothing was released yet.

    Raises FileNotFoundError, and ValueError for a file that is no profile.
    """
    mend = "`winnow promote` writes it; {} stands for: nothing is released yet"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, which new data is compared with. {mend}.")
    try:
        found = read_json(path)
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}. {mend}.") from None
    if found == {}:
        return None
    if not isinstance(found, dict) or not found.keys() >= KEYS:
        raise ValueError(f"{path}: no profile of data: {', '.join(sorted(KEYS))} are expected. {mend}.")
    return found


def drift(released: dict[str, Any], now: dict[str, Any], counts: pd.Series) -> Drift:
    """The drift of the data with the profile `now` and the `word_counts` from the released data.

    Total variation and transportation (Wasserstein) distance: Levin and Peres 2017, "Markov Chains and Mixing Times".
    """
    shares = pd.DataFrame({"had": released["label_shares"], "has": now["label_shares"]}).fillna(0.0).sort_index()
    lost = sorted(set(released["label_shares"]) - set(now["label_shares"]))
    had, has = (np.array([one["chars"][f"p{percent:02}"] for percent in PERCENTS]) for one in (released, now))
    common_share = _share(counts, released["common_words"])
    return Drift(
        labels=round(float((shares["has"] - shares["had"]).abs().sum() / 2), 6),
        lost_labels=len(lost),
        lengths=round(float(np.abs(has - had).mean() / max(released["chars"]["p50"], 1)), 6),
        words=round(max(released["common_words_share"] - common_share, 0.0), 6),
        rows_lost=round(max(1 - now["rows"] / max(released["rows"], 1), 0.0), 6),
        changes={
            "label_drift": _moved(shares),
            "lost_labels": [f"no row has {label!r} any more" for label in lost[:SHOWN]],
            "length_drift": [
                f"{name} {released['chars'][key]:g} -> {now['chars'][key]:g} characters"
                for name, key in (("5th percentile", "p05"), ("median", "p50"), ("95th percentile", "p95"))
            ],
            "word_drift": [
                f"the common words make {released['common_words_share']:.1%} -> {common_share:.1%} of all words",
                *_new_words(counts, released["common_words"]),
            ],
            "rows_lost": [f"{released['rows']:,} -> {now['rows']:,} rows"],
        },
    )


def _moved(shares: pd.DataFrame) -> list[str]:
    """The labels whose shares changed most."""
    change = (shares["has"] - shares["had"]).abs().sort_values(ascending=False, kind="stable")
    most = shares.loc[change.index[:SHOWN]]
    return [f"{row.Index!r} is {row.had:.1%} -> {row.has:.1%} of the rows" for row in most.itertuples()]


def _new_words(counts: pd.Series, common: list[str]) -> list[str]:
    """The commonest of the words that are not among the `common` ones."""
    others = counts.drop(common, errors="ignore").sort_index().sort_values(ascending=False, kind="stable")
    return [f"{word!r}, {count} times, is none of them" for word, count in others.head(SHOWN).items()]
