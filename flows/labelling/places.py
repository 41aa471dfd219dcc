"""Where labelled rows and corrections lie in a project, and what makes `ingest` read them.

ingest.path                                labelled rows go to
data/reviews.csv                           data/labelled.csv           set ingest.path: data
data, files not named after splits         data/labelled.csv           read as it is
data with train.csv or train/ in it        data/train/labelled.csv     read as it is
reviews.csv, in the project's own folder   data/labelled.csv           told to move the file to data/
elsewhere, S3, a source without files      data/labelled.csv           told what is to be done
a copy in data/_corrected                  where they go of the data that it is a copy of
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from stages.core.files import read_object
from stages.core.params.ingest import IngestParams
from stages.core.paths import Paths
from stages.reading.storage import find
from stages.sources.files import is_of_split

NAME = "labelled.csv"
FOLDER = "data"
FILES = "files"  # the source that reads files of one's own
COPIES = Path(FOLDER, "_corrected")  # whose name says to `ingest` that it is no data of the folder that it lies in
SOURCE = "_source.json"  # in it: what the copies are of


class Place(NamedTuple):
    """Where labelled rows go, and what is to be done so that they are read."""

    path: Path
    """From the project's folder."""
    next_step: str


def corrections_of(paths: Paths) -> Path:
    """The file of corrections: ids and targets without texts, for git."""
    return paths.root / "corrections.csv"


def copied_from(root: Path, ingest: IngestParams) -> str | None:
    """What ingest.path is a copy of, of the project at `root`; None where it is the data itself.

    Raises ValueError where it lies among the copies, and nothing says of what they are.
    """
    path = _within(root, ingest.path)
    if ingest.source != FILES or path is None or not path.is_relative_to(COPIES):
        return None
    marker = root / COPIES / SOURCE
    if not marker.is_file():
        raise ValueError(
            f"ingest.path is '{ingest.path}', a copy, and {marker}, which says of what, is not there. Set `path` under"
            " ingest in params.yaml back to the data itself."
        )
    return str(read_object(marker)["path"])


def _within(root: Path, path: str) -> Path | None:
    """The path from the folder `root`, without `..`; None where it is a URL, or lies outside."""
    whole, full = root.absolute(), straight(root, path)
    return full.relative_to(whole) if "://" not in path and full.is_relative_to(whole) else None


def straight(root: Path, path: str) -> Path:
    """The whole path, from the folder `root`, without `..`. Links stay: one to DVC's cache leads to another name."""
    return Path(os.path.normpath(root.absolute() / path))


def source_of(root: Path, ingest: IngestParams) -> str:
    """What is to be copied: ingest.path; or where that is a copy, what it was made of.

    Raises ValueError where that is no file of this machine.
    """
    if ingest.source != FILES or "://" in ingest.path:
        raise ValueError(
            f"ingest.source is '{ingest.source}' and ingest.path '{ingest.path}': corrections are written to copies of"
            " files of this machine alone (ingest.source: files). Correct the rows where they are made."
        )
    return copied_from(root, ingest) or ingest.path


def place_of(root: Path, ingest: IngestParams) -> Place:
    """Where labelled rows of the project at `root` go. Nothing is written, and no file of rows is read.

    A copy is made anew by `winnow label apply`, so rows never go there. Raises ValueError as `copied_from`.
    """
    source = copied_from(root, ingest)
    return _place_of(root, ingest) if source is None else place_of_source(root, ingest, source)


def place_of_source(root: Path, ingest: IngestParams, source: str) -> Place:
    """Where labelled rows go of `source`, of which a copy is read."""
    place = _place_of(root, ingest.model_copy(update={"path": source}))
    return place._replace(next_step=f"{place.next_step.rstrip('.')}; then `winnow label apply` again.")


def _place_of(root: Path, ingest: IngestParams) -> Place:
    usual = Path(FOLDER, NAME)
    if ingest.source != FILES:
        return Place(
            usual,
            f"ingest.source is '{ingest.source}', which reads no file of yours, so nothing reads it. For rows of your"
            f" own, begin a project with `winnow init FOLDER --data {usual}`.",
        )
    folder = _within(root, ingest.path)
    if folder is None:
        return Place(
            usual,
            f"the data is '{ingest.path}', outside of the project. Copy {NAME} to the data there, as a file of the"
            f" same folder, and name that folder in ingest.path of params.yaml.",
        )
    if folder.suffix and not (root / folder).is_dir():
        is_at_top = folder.parent == Path()  # whose other files are no data
        parent = Path(FOLDER) if is_at_top else folder.parent
        move = f"move '{ingest.path}' to {FOLDER}/, and " if is_at_top else ""
        return Place(
            parent / NAME,
            f"{move}set `path: {parent.as_posix()}` under ingest in params.yaml, so that all files in that folder are"
            f" read; '{ingest.path}' is one file. Rows keep their ids.",
        )
    named = _splits_in(root / folder, ingest)
    place = folder / (ingest.splits.train if named else "") / NAME
    if ingest.pattern is not None:
        return Place(place, f"ingest.pattern is '{ingest.pattern}': see that it matches {place.as_posix()}.")
    why = f", as its folder is called '{ingest.splits.train}' (ingest.splits.train)" if named else ""
    return Place(place, f"all of '{ingest.path}' is read, and this file with it{why}.")


def _splits_in(folder: Path, ingest: IngestParams) -> bool:
    """Whether files of the folder are named after splits, so that others beside them are not read."""
    try:
        return any(is_of_split(file.name, ingest) for file in find(str(folder), None))
    except FileNotFoundError:  # the first rows are yet to come
        return False
