"""Ratings by models and by a lexicon: `PYTHONPATH=.venv/peers python benchmarks/ratings.py [PROJECT]`.

It takes the models of a project of the source `human_ratings`, after `make repro PROJECT=ratings` and `make peers`, and
VADER (Hutto and Gilbert 2014), whose rules and words were made by the authors of the ratings. VADER reads the texts as
people rated them, before any cleaning.

Writes ratings.json beside this file: Pearson's correlation with the mean rating, on the test rows of the domain that
was learned and on all rows of the three others, which are set aside and by which nothing was chosen. The unit of the
intervals is the review or the article. `ceiling` is what a perfect model would have, as means of raters are not exact.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import record

from stages.core.contracts import Text
from stages.core.params.file import Params, load_params
from stages.core.paths import Paths
from stages.measures.counted import counted
from stages.measures.opened import Opened, opened
from stages.measures.paired import difference_interval, interval
from stages.measures.score import Interval
from stages.reading.clean_rows import GROUP, read_split, texts_of
from stages.reading.corpora import pin_of, store
from stages.sources.human_ratings import DOMAIN, FILES, LEARNED, texts_in
from stages.tasks.contract import Measure
from stages.tasks.regression.measures import MEASURES

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("baseline", "teacher", "quantized")
LEXICON = "vader"
COLUMNS = (GROUP, "kept")
Ask = Callable[[Sequence[Text]], Sequence[str]]  # the answers to texts, each a number as a text
RATERS = {domain: file.replace("GroundTruth", "anonDataRatings") for domain, file in FILES.items()}


def domains(paths: Paths) -> Iterator[tuple[str, pa.Table]]:
    """The rows that are judged, by domain: the test rows of the learned one, all rows set aside of each other."""
    test = read_split(paths.clean, "test", *COLUMNS)
    aside = pq.read_table(paths.held_out, columns=["row_id", "text", "label", *COLUMNS])
    for table in (test, aside):
        domain_N = np.array([json.loads(kept)[DOMAIN] for kept in table["kept"].to_pylist()])
        for domain in FILES:
            if (domain_N == domain).any():
                yield domain, table.filter(pa.array(domain_N == domain))


def raw_texts(paths: Paths, rows: pa.Table) -> list[str]:
    """The texts of the rows as the source gives them."""
    raw = pq.read_table(paths.raw, columns=["row_id", "text"])
    of_row = dict(zip(raw["row_id"].to_pylist(), raw["text"].to_pylist(), strict=True))
    return [of_row[row] for row in rows["row_id"].to_pylist()]


def judged(answers: Mapping[str, Sequence[str]], rows: pa.Table, params: Params) -> dict[str, Any]:
    """Pearson's correlation of each one's answers to N rows, and its difference from the lexicon's, with intervals."""
    drawn: Any = {
        "confidence": params.evaluate.confidence, "resamples": params.evaluate.resamples, "seed": params.data_seed
    }  # fmt: skip
    truths, units = rows["label"].to_pylist(), rows[GROUP].to_pylist()
    measure = _pearson(truths)
    of = {name: counted(MEASURES, measure, truths, given, units) for name, given in answers.items()}
    found: dict[str, Any] = {"rows": len(rows), "units": len({*units})}
    for name, given in of.items():
        found[name] = {"pearson": _rounded(interval(given, measure, **drawn))}
        if name != LEXICON:
            apart = difference_interval(of[LEXICON], given, measure, **drawn)
            found[name]["against_vader"] = _rounded(apart)
    return found


def _pearson(truths: Sequence[str]) -> Measure:
    return next(measure for measure in MEASURES.of(truths) if measure.name == "pearson")


def _rounded(of: Interval) -> dict[str, float]:
    return {"value": round(of.estimate, 6), "low": round(of.low, 6), "high": round(of.high, 6)}


def ceiling(ratings: Sequence[Sequence[float]]) -> float:
    """The correlation of the means of such ratings with what the means of ever more raters would tend to.

    `ratings`: those of each of N texts, two or more. It is the root of the means' reliability: of their variance the
    part that is not the raters' own. Source: Lord and Novick 1968, Statistical Theories of Mental Test Scores, 3.
    """
    means_N = np.array([np.mean(of_text) for of_text in ratings])
    noise = float(np.mean([np.var(of_text, ddof=1) / len(of_text) for of_text in ratings]))
    return math.sqrt(max(0.0, 1 - noise / float(np.var(means_N, ddof=1))))


def ratings_of(params: Params, root: Path) -> dict[str, list[list[float]]]:
    """Every rater's rating of each text, by domain."""
    texts = texts_in(pin_of(root / params.ingest.path), store(), RATERS)
    return {domain: [json.loads(line.split("\t")[3]) for line in text.splitlines()] for domain, text in texts.items()}


def of_model(model: Opened) -> Ask:
    return lambda texts: model.ask(texts).answers


def of_lexicon() -> Ask:
    """VADER's `compound`, from -1 to 1."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()
    return lambda texts: [str(analyzer.polarity_scores(text)["compound"]) for text in texts]


def as_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    names = (LEXICON, *MODELS)
    lines = [f"| domain | rows | {' | '.join(names)} | ceiling |", f"| --- | ---: |{' ---: |' * (len(names) + 1)}"]
    for domain, of in found.items():
        each = [of[name]["pearson"] for name in names]
        cells = [f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})" for one in each]
        lines.append(f"| {domain} | {of['rows']:,} | {' | '.join(cells)} | {of['ceiling']:.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, nargs="?", default=ROOT / "projects/ratings")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/ratings.json")
    chosen = parser.parse_args()
    params, paths = load_params(chosen.project / "params.yaml"), Paths(chosen.project)
    lexicon = of_lexicon()
    models = {name: of_model(opened(paths.model(name))) for name in MODELS}
    ratings, found = ratings_of(params, chosen.project), {}
    for domain, rows in domains(paths):
        print(f"{domain}: {len(rows):,} rows", flush=True)
        answers = {name: ask(texts_of(rows)) for name, ask in models.items()}
        answers[LEXICON] = lexicon(raw_texts(paths, rows))
        found[domain] = {**judged(answers, rows, params), "ceiling": round(ceiling(ratings[domain]), 6)}
    record.write(chosen.output, {"learned": LEARNED, "domains": found})
    print(as_table(found))


if __name__ == "__main__":
    main()
