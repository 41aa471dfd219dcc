"""Writing artifacts: byte-stable, and published whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


@contextlib.contextmanager
def publish(path: Path) -> Iterator[Path]:
    """A temporary neighbour of `path` to write a file or a folder to; it takes `path`'s place if nothing is raised."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    _remove(draft)
    try:
        yield draft
        if path.is_dir():
            _remove(path)
        draft.replace(path)
    finally:
        _remove(draft)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Sorted keys, two spaces, a newline at the end; NaN is refused."""
    text = json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    with publish(path) as draft:
        draft.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def write_parquet(path: Path, table: pa.Table) -> None:
    """One file, fixed settings and no metadata but the schema, so that equal tables give equal bytes."""
    import pyarrow.parquet as pq

    with publish(path) as draft:
        pq.write_table(
            table.replace_schema_metadata(None).combine_chunks(), draft, compression="zstd", row_group_size=65_536
        )


def sha256(path: Path) -> str:
    """The file's SHA-256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_remote_code(folder: Path) -> None:
    """Raise ValueError where a model folder's configuration names Python code to run."""
    for name in ("config.json", "tokenizer_config.json"):
        path = folder / name
        if path.is_file() and "auto_map" in read_json(path):
            raise ValueError(f"{path}: 'auto_map' names code to run. Winnow runs no code that comes with a model.")
