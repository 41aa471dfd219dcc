"""Source `human_ratings`: how positive people find short texts, from -4 to 4, the mean of 15 raters or more.

    movies      10,605 sentences of film reviews      drawn into train, validation and test
    tweets       4,200 short messages                 set aside
    products     3,708 sentences on 5 products        set aside
    editorials   5,190 sentences of a newspaper       set aside

A model learns one domain, and the others, which no choice sees, say what it is worth elsewhere. Sentences of one
product review or one article are a group. Those of films come without their review, so each is a row by itself.

Source: Hutto and Gilbert 2014, VADER, doi:10.1609/icwsm.v8i1.14550; the archive is the one that corpora.txt pins.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from stages.core.contracts import RawRow, RejectedRow, as_kept
from stages.core.params.ingest import IngestParams
from stages.core.paths import HELD_OUT
from stages.reading.corpora import Pin, members, pin_of, read_archive, store

WITHIN = "additional_resources/hutto_ICWSM_2014.tar.gz"  # an archive in the archive
FILES = {
    "movies": "movieReviewSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
    "products": "amazonReviewSnippets_GroundTruth.txt",
    "editorials": "nytEditorialSnippets_GroundTruth.txt",
}
LEARNED = "movies"
DOMAIN = "domain"  # the column that `ingest.keep_columns` can keep
EXCERPT = 200  # characters of a row that is rejected


def read(
    params: IngestParams,
    seed: int,  # noqa: ARG001 (every source is called so)
    *,
    structured: Collection[str] = frozenset(),  # noqa: ARG001 (as above)
) -> Iterator[RawRow | RejectedRow]:
    """Rows by domain, then by line, with origins such as "tweets_GroundTruth.txt:17".

    `params.path` pins the archive. Raises FileNotFoundError where the archive was not fetched, ValueError where it is
    another one or lacks a file, and for a column in `params.keep_columns` that there is not.
    """
    return rows_of(params, store())


def rows_of(params: IngestParams, folder: Path) -> Iterator[RawRow | RejectedRow]:
    """As `read`, with the archive in another folder."""
    if unknown := [column for column in params.keep_columns if column != DOMAIN]:
        raise ValueError(
            f"params.yaml: ingest.keep_columns has {', '.join(unknown)}. Allowed for human_ratings: {DOMAIN}."
        )
    texts = texts_in(pin_of(Path(params.path)), folder, FILES)
    for domain, file in FILES.items():
        for number, line in enumerate(texts[domain].splitlines(), start=1):
            yield _row(line, f"{file}:{number}", domain, as_kept(params.keep_columns, [domain]))


def texts_in(pin: Pin, folder: Path, files: Mapping[str, str]) -> dict[str, str]:
    """The text of each of the files, under the same names (domains).

    They are UTF-8: ASCII but for some accents, and a mark before those with the ratings of each rater. Raises
    FileNotFoundError and ValueError as `read`.
    """
    outer, shown = f"{pin.package}-{pin.version}/{WITHIN}", f"{pin.package}-{pin.version}.tar.gz"
    inner = members(read_archive(pin, folder), [outer], shown=shown)[outer]
    root = Path(WITHIN).name.removesuffix(".tar.gz")
    names = {domain: f"{root}/{file}" for domain, file in files.items()}
    found = members(inner, list(names.values()), shown=f"{shown}: {WITHIN}")
    try:
        return {domain: found[name].decode("utf-8-sig") for domain, name in names.items()}
    except UnicodeDecodeError as error:
        raise ValueError(f"{shown}: {WITHIN}: a file is not UTF-8 ({error}). Pin 3.3.2, whose files are.") from None


def _row(line: str, origin: str, domain: str, kept: str | None) -> RawRow | RejectedRow:
    """The row of a line: its id, the mean of its ratings, and the text, with tabs between."""
    fields = line.split("\t")
    if len(fields) != 3:
        detail = f"{len(fields)} fields where 3 belong: an id, the mean rating, the text. Pin another version"
        return RejectedRow(origin, "ragged", detail, line[:EXCERPT])
    number, rating, text = fields
    document, separator, _ = number.partition("_")  # 12_3 is the third sentence of text 12
    group = f"{domain}:{document}" if separator else None
    return RawRow(text, rating, origin, None if domain == LEARNED else HELD_OUT, group, kept)
