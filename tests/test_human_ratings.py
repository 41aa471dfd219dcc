"""Ratings by people: which file is which domain, what becomes of it, and which sentences belong together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from corpus_fixtures import pin_file, pinned, stored, tar
from source_fixtures import settings

from stages.core.contracts import RawRow, RejectedRow
from stages.core.params.ingest import IngestParams
from stages.sources.human_ratings import FILES, WITHIN, rows_of

TEXTS = {
    "movies": "1\t2.26666666667\tA crème brûlée of a film.\r\n2\t-0.6\tTepid.",
    "tweets": "1\t2.7\tYay &amp; so on.\r\n",
    "products": "1_1\t-0.9\tno picture.\r\n1_2\t-0.15\ta repost.\r\n12_1\t3\twell worth it.",
    "editorials": "1_1\t0.4\tOn Dec. 19.",
}


def corpus(
    folder: Path, texts: dict[str, str] = TEXTS, *, encoding: str = "utf-8", keep: tuple[str, ...] = ("domain",)
) -> IngestParams:
    """The parameters for an archive of these texts, which lies in the folder beside the file that pins it."""
    inner = tar({f"hutto_ICWSM_2014/{FILES[domain]}": text.encode(encoding) for domain, text in texts.items()})
    archive = tar({f"vaderSentiment-3.3.2/{WITHIN}": inner, "vaderSentiment-3.3.2/setup.py": b"raise SystemExit"})
    pin = pinned(archive)
    stored(archive, pin, folder)
    return settings(pin_file(pin, folder), source="human_ratings", keep_columns=[*keep])


def rows(params: IngestParams, folder: Path) -> list[RawRow]:
    found = list(rows_of(params, folder))
    assert all(isinstance(row, RawRow) for row in found)
    return [row for row in found if isinstance(row, RawRow)]


def test_a_row_has_the_mean_rating_as_it_stands_there_and_its_line(tmp_path: Path) -> None:
    first, second, *_ = rows(corpus(tmp_path), tmp_path)
    assert first == RawRow(
        "A crème brûlée of a film.", "2.26666666667", "movieReviewSnippets_GroundTruth.txt:1", None, None,
        '{"domain": "movies"}',
    )  # fmt: skip
    assert second.origin == "movieReviewSnippets_GroundTruth.txt:2"


def test_films_are_to_be_drawn_into_splits_and_the_other_domains_are_set_aside(tmp_path: Path) -> None:
    found = {(json.loads(row.kept or "")["domain"], row.split) for row in rows(corpus(tmp_path), tmp_path)}
    assert found == {("movies", None), ("tweets", "held_out"), ("products", "held_out"), ("editorials", "held_out")}


def test_sentences_of_one_text_are_a_group_and_texts_of_two_domains_never_are(tmp_path: Path) -> None:
    groups = [row.group for row in rows(corpus(tmp_path), tmp_path)]
    assert groups == [None, None, None, "products:1", "products:1", "products:12", "editorials:1"]


def test_the_domain_is_kept_where_it_is_asked_for_and_nothing_else_can_be(tmp_path: Path) -> None:
    assert {row.kept for row in rows(corpus(tmp_path, keep=()), tmp_path)} == {None}
    with pytest.raises(ValueError, match=r"ingest\.keep_columns has stars\. Allowed for human_ratings: domain\."):
        list(rows_of(corpus(tmp_path, keep=("stars",)), tmp_path))


def test_a_line_of_other_fields_is_set_aside_and_the_rest_is_read(tmp_path: Path) -> None:
    found = list(rows_of(corpus(tmp_path, TEXTS | {"tweets": "1\t2.7\r\n2\t0.5\tYay."}), tmp_path))
    (refused,) = [row for row in found if isinstance(row, RejectedRow)]
    assert (refused.origin, refused.reason, refused.excerpt) == ("tweets_GroundTruth.txt:1", "ragged", "1\t2.7")
    assert "tweets_GroundTruth.txt:2" in [row.origin for row in found]


def test_an_archive_without_one_of_the_files_or_in_another_encoding_is_refused(tmp_path: Path) -> None:
    less = {domain: text for domain, text in TEXTS.items() if domain != "tweets"}
    with pytest.raises(ValueError, match=r"hutto_ICWSM_2014\.tar\.gz has no hutto_ICWSM_2014/tweets_GroundTruth\.txt"):
        rows(corpus(tmp_path, less), tmp_path)
    with pytest.raises(ValueError, match=r"a file is not UTF-8"):
        rows(corpus(tmp_path, encoding="cp1252"), tmp_path)


def test_without_the_archive_the_command_that_fetches_it_is_named(tmp_path: Path) -> None:
    params = corpus(tmp_path)
    with pytest.raises(FileNotFoundError, match="winnow fetch"):
        rows(params, tmp_path / "elsewhere")
