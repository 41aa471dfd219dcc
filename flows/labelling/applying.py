"""The project's data with its corrections, as a copy in which every row keeps its place, and so its id.

    data/reviews.csv ── corrections.csv ──> data/_corrected/reviews.csv      path: under ingest says which is read

Nothing that was there is changed: the way back is the line of params.yaml. The copy is read again as `ingest` reads it,
and but for the corrections every row must be as before.
"""

from __future__ import annotations

import itertools
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from flows.labelling.keeping import DROPPED, KEEP, labelled_ids, read_rows, text_hash
from flows.labelling.places import (
    COPIES,
    NAME,
    SOURCE,
    Place,
    copied_from,
    corrections_of,
    place_of_source,
    source_of,
    straight,
)
from flows.labelling.rewriting import rewrite
from stages.core import plugins
from stages.core.contracts import WHOLE_NUMBER, RawRow, RejectedRow
from stages.core.files import publish, write_json
from stages.core.params.file import Params
from stages.core.params.ingest import IngestParams
from stages.core.paths import Paths
from stages.reading.storage import DataFile, find
from stages.sources.files import read
from stages.tasks import TASKS
from stages.tasks.contract import TaskData


class Applied(NamedTuple):
    """What was written."""

    path: Path
    """The copy, from the project's folder."""
    source: str
    """What it is a copy of."""
    relabelled: int
    dropped: int
    faults: list[str]
    """A line for each correction that does not fit the data, and was left out."""
    unread: Place | None
    """Labelled rows beside the data that are not in the copy, as the data is one file."""


def apply(paths: Paths, params: Params) -> Applied:
    """Write the copy. The current folder is the project's, as paths in params.yaml are from there.

    Raises FileNotFoundError where there are no corrections, and ValueError for data that cannot be copied so, and
    where labelled rows lie in a copy and nowhere else.
    """
    file = corrections_of(paths)
    rows = [row for row in read_rows(file) if row["action"] != KEEP]
    if not rows:
        copied = copied_from(paths.root, params.ingest)
        back = "" if copied is None else f" Set `path` under ingest in params.yaml back to {copied}."
        raise FileNotFoundError(f"{file.name} has nothing to change. `winnow label take` adds to it.{back}")
    source = source_of(paths.root, params.ingest)
    labelled = place_of_source(paths.root, params.ingest, source)
    _refuse_stranded(labelled.path, find(source, params.ingest.pattern))
    data: TaskData = plugins.part(TASKS, params.task.name, "data", key="task.name")
    changes, faults = _fitting(rows, _read(params, source, data), data)
    if not changes:
        raise ValueError("\n".join([*faults, "no correction fits the data, so nothing was written."]))
    is_file, name = Path(source).is_file(), straight(paths.root, source).name  # a path may end in `..`
    target = COPIES / name
    with publish(target) as draft:
        # A file by its own name, and a folder, are read as they will be where the copy lies.
        place = draft / name if is_file else draft
        _copy(params.ingest, source, place, changes)
        _compare(_read(params, source, data), _read(params, place.as_posix(), data), changes)
        if place != draft:
            place.replace(draft.with_name(f"{draft.name}.file"))
            shutil.rmtree(draft)
            draft.with_name(f"{draft.name}.file").replace(draft)
    write_json(COPIES / SOURCE, {"path": source})
    dropped = sum(new is None for new in changes.values())
    unread = labelled if is_file and labelled.path.is_file() else None
    return Applied(target, source, len(changes) - dropped, dropped, faults, unread)


def _refuse_stranded(labelled: Path, data: Iterable[DataFile]) -> None:
    """Raise ValueError where a copy has labelled rows that neither the data has nor the file `labelled` beside it."""
    ours = {labelled, *(Path(file.shown) for file in data if Path(file.name).name == NAME)}
    known = set().union(*map(labelled_ids, ours))
    for file in sorted(COPIES.rglob(NAME)):
        if lacking := sorted(labelled_ids(file) - known):
            raise ValueError(
                f"{file} has labelled rows that are not in the data that it is a copy of ({len(lacking):,}, such as"
                f" {lacking[0]}), and a new copy would be without them, so nothing was written. Move them to"
                f" {labelled}; or remove {file}, if you took them out of the data."
            )


def _read(params: Params, path: str, data: TaskData) -> Iterator[RawRow | RejectedRow]:
    """The rows at `path`, as `ingest` reads them."""
    ingest = params.ingest.model_copy(update={"path": path})
    return data.read(read(ingest, params.data_seed, structured=data.structured))


def _fitting(
    corrections: list[dict[str, str]], rows: Iterator[RawRow | RejectedRow], data: TaskData
) -> tuple[dict[str, str | None], list[str]]:
    """The new targets by origin, of corrections whose row is as it was; and a line for each of the others."""
    wanted = {row["origin"]: row for row in corrections}
    found: dict[str, str | None] = {}
    faults = []
    for row in rows:
        own = wanted.pop(row.origin, None)
        if own is None:
            continue
        if isinstance(row, RejectedRow) or text_hash(_text(row)) != own["text_sha256"]:
            faults.append(f"{row.origin}: another text stands there than when its label was doubted. Left out.")
        elif not _same(row.label, own["was"], data):
            faults.append(
                f"{row.origin}: its label is {row.label!r}, and was {own['was']!r} when it was doubted. Left out."
            )
        else:
            found[row.origin] = None if own["action"] == DROPPED else own["now"]
    faults += [f"{origin}: there is no such row. Left out." for origin in wanted]
    return found, faults


def _text(row: RawRow) -> str | tuple[str, str]:
    return row.text or "" if row.text_pair is None else (row.text or "", row.text_pair)


def _same(one: str | None, other: str | None, data: TaskData) -> bool:
    """Whether two targets are the same; of classes that are numbers 1.0 is 1."""
    texts = [one or "", other or ""]
    if data.numbers:
        texts = [re.sub(WHOLE_NUMBER, r"\1", text) for text in texts]
    return texts[0] == texts[1]


def _copy(ingest: IngestParams, source: str, place: Path, changes: Mapping[str, str | None]) -> None:
    """All files that are read, those with changes rewritten."""
    by_file: dict[str, dict[int, str | None]] = defaultdict(dict)
    for origin, new in changes.items():
        name, _, number = origin.rpartition(":")
        by_file[name][int(number)] = new
    for file in find(source, ingest.pattern):
        target = place if Path(source).is_file() else place / file.name
        if file.name in by_file:
            rewrite(file, target, by_file[file.name], ingest)
        else:
            _copy_as_it_is(file, target)


def _copy_as_it_is(file: DataFile, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with file.open() as stream, target.open("wb") as out:
        shutil.copyfileobj(stream, out)


def _compare(
    before: Iterator[RawRow | RejectedRow], after: Iterator[RawRow | RejectedRow], changes: Mapping[str, str | None]
) -> None:
    """Raise ValueError where a row is another one than before, but for the changes."""
    for one, other in itertools.zip_longest(before, after):
        if isinstance(one, RawRow) and one.origin in changes:
            one = one._replace(label=changes[one.origin])
        if one != other:
            where = next(row.origin for row in (one, other) if row is not None)
            raise ValueError(
                f"{where}: the copy would be read as another row than the file, so nothing was written. Correct the"
                f" file by hand; {len(changes):,} rows are to be changed (corrections.csv)."
            )
