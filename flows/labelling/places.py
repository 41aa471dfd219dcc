"""Where labelled rows and corrections lie in a project, and what makes `ingest` read them.

ingest.path                                labelled rows go to
data/reviews.csv                           data/labelled.csv           set ingest.path: data
data, files not named after splits         data/labelled.csv           read as it is
data with train.csv or train/ in it        data/train/labelled.csv     read as it is
elsewhere, S3, a source without files      data/labelled.csv           told what is to be done
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from stages.core.params.ingest import IngestParams
from stages.core.paths import Paths
from stages.reading.storage import ENDINGS

NAME = "labelled.csv"
FOLDER = "data"
FILES = "files"  # the source that reads files of one's own


class Place(NamedTuple):
    """Where labelled rows go, and what is to be done so that they are read."""

    path: Path
    """From the project's folder."""
    next_step: str


def corrections_of(paths: Paths) -> Path:
    """The file of corrections: ids and targets without texts, for git."""
    return paths.root / "corrections.csv"


def place_of(root: Path, ingest: IngestParams) -> Place:
    """Where labelled rows of the project at `root` go. Nothing is written, and no other file is read."""
    usual = Path(FOLDER, NAME)
    if ingest.source != FILES:
        return Place(
            usual,
            f"ingest.source is '{ingest.source}', which reads no file of yours, so nothing reads it. For rows of your"
            f" own, begin a project with `winnow init FOLDER --data {usual}`.",
        )
    if ingest.is_outside:
        return Place(
            usual,
            f"ingest.path is '{ingest.path}', outside of the project. Copy {NAME} to the data there, as a file of the"
            f" same folder, and name that folder in ingest.path of params.yaml.",
        )
    folder = Path(ingest.path)
    if not (root / folder).is_dir():
        parent = folder.parent
        return Place(
            parent / NAME,
            f"set `path: {parent.as_posix()}` under ingest in params.yaml, so that all files in that folder are read;"
            f" it is '{ingest.path}', one file. Rows keep their ids.",
        )
    named = _splits_in(root / folder, ingest)
    place = folder / (ingest.splits.train if named else "") / NAME
    if ingest.pattern is not None:
        return Place(place, f"ingest.pattern is '{ingest.pattern}': see that it matches {place.as_posix()}.")
    why = f", as its folder is called '{ingest.splits.train}' (ingest.splits.train)" if named else ""
    return Place(place, f"ingest.path is '{ingest.path}', so it is read as it is{why}.")


def _splits_in(folder: Path, ingest: IngestParams) -> bool:
    """Whether files of the folder are named after splits, so that others beside them are not read."""
    names = "|".join(map(re.escape, (ingest.splits.train, ingest.splits.validation, ingest.splits.test)))
    endings = "|".join(map(re.escape, ENDINGS))
    one = re.compile(rf"({names})([-_]?\d[^/.]*)?(/|({endings})(\.gz)?$)", re.IGNORECASE)
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return any(one.match(name) for name in files)
