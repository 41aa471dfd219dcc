"""What the tests of the source `files` share: its parameters, and rows read with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from conftest import REPOSITORY

from stages.core.contracts import RawRow, RejectedRow
from stages.core.params.file import Params, load_params
from stages.core.params.ingest import IngestParams
from stages.sources import files


def settings(path: Path | str, **changes: object) -> IngestParams:
    """The section `ingest` of the repository's params.yaml, for files at `path`; `columns` may name some of them."""
    values = load_params(REPOSITORY / "params.yaml").ingest.model_dump()
    columns = values["columns"] | cast(dict[str, Any], changes.pop("columns", {}))
    return IngestParams.model_validate(values | {"source": "files", "path": str(path), "columns": columns} | changes)


def project_params(ingest: IngestParams) -> Params:
    return load_params(REPOSITORY / "params.yaml").model_copy(update={"ingest": ingest})


def read(path: Path | str, *, structured: frozenset[str] = frozenset(), **changes: Any) -> list[RawRow | RejectedRow]:
    return list(files.read(settings(path, **changes), 0, structured=structured))


def kept(path: Path | str, **changes: Any) -> list[RawRow]:
    return [row for row in read(path, **changes) if isinstance(row, RawRow)]


def rejected(path: Path | str, **changes: Any) -> dict[str, str]:
    """Origins of the rows that cannot be read, to reasons."""
    return {row.origin: row.reason for row in read(path, **changes) if isinstance(row, RejectedRow)}
