"""Files: artifacts, byte-stable and published whole or not at all, and the names of weights in a checkpoint."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_ROWS = 65_536  # of Parquet; a group is what a reader holds at once
GROUP_CHARS = 1 << 26  # fewer rows, where they are long
# Prefixes that wrappers of modules put into the names of weights: torch.compile, FSDP, activation checkpointing.
WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
OLD_ENDS = {"gamma": "weight", "beta": "bias"}  # of layer norms, from the time of TensorFlow
BUFFERS = ("position_ids", "token_type_ids", "inv_freq")  # what older versions of transformers saved, and none reads
SHOWN = 3  # names of weights in a message


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
    """Write JSON with sorted keys, an indent of two spaces and a newline at the end; NaN is refused."""
    text = json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    with publish(path) as draft:
        draft.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises ValueError, with its name, where it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # of JSON, of UTF-8, and of a thousand brackets
        raise ValueError(f"{path}: not JSON ({error}). Write or fetch it again.") from None


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in the file. Raises ValueError, with its name, for anything else."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path}: a {type(found).__name__}, where a JSON object belongs. Write or fetch it again.")
    return found


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write one Parquet file, with fixed settings and only the schema as metadata: equal tables give equal bytes."""
    import pyarrow.parquet as pq

    with publish(path) as draft:
        pq.write_table(
            table.replace_schema_metadata(None).combine_chunks(), draft, compression="zstd", row_group_size=GROUP_ROWS
        )


class ParquetRows:
    """Writes rows to a Parquet file a few at a time, to bound memory; the bytes are those of `write_parquet`."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        import pyarrow.parquet as pq

        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._rows: list[Sequence[str | None]] = []
        self._chars = 0

    def __enter__(self) -> ParquetRows:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()

    def write(self, row: Sequence[str | None]) -> None:
        """Write one row: its texts in the order of the schema."""
        self._rows.append(row)
        self._chars += sum(len(value) for value in row if value is not None)
        if len(self._rows) == GROUP_ROWS or self._chars > GROUP_CHARS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            columns = [list(column) for column in zip(*self._rows, strict=True)]
            self._writer.write_table(pa.table(columns, schema=self._schema), row_group_size=GROUP_ROWS)
        self._rows, self._chars = [], 0


def sha256(path: Path) -> str:
    """The file's SHA-256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_remote_code(folder: Path) -> None:
    """Raise ValueError where a model folder's configuration names Python code to run."""
    for name in ("config.json", "tokenizer_config.json"):
        path = folder / name
        if path.is_file() and "auto_map" in read_object(path):
            raise ValueError(f"{path}: 'auto_map' names code to run. Winnow runs no code that comes with a model.")


def plain_names(found: Iterable[str]) -> dict[str, str]:
    """The names in a checkpoint by their names without wrappers. Raises ValueError where two are the same."""
    sources: dict[str, str] = {}
    for name in found:
        if sources.setdefault(plain(name), name) != name:
            raise ValueError(
                f"it has {plain(name)} twice ({sources[plain(name)]}, {name}). Allowed: every weight once."
            )
    return sources


def plain(name: str) -> str:
    """The name without the prefixes of wrappers, and with today's endings."""
    parts = [part for part in name.split(".") if part not in WRAPPERS]
    if len(parts) > 1 and parts[-1] in OLD_ENDS and "norm" in parts[-2].lower():
        parts[-1] = OLD_ENDS[parts[-1]]
    return ".".join(parts)


def prefixes(found: Iterable[str], known: Collection[str]) -> Mapping[str, int]:
    """Each prefix, with its dot, of the `known` names in `found`, and how many of these names it precedes."""
    counts: Counter[str] = Counter()
    for name in found:
        parts = name.split(".")
        for at in range(len(parts)):
            if ".".join(parts[at:]) in known:
                counts["".join(f"{part}." for part in parts[:at])] += 1
    return counts


def one_prefix(whole: Collection[str], counts: Mapping[str, int]) -> str:
    """The prefix of the model's weights: none if possible; else a `whole` one before others, the commonest of those."""
    return "" if "" in whole else max(whole or counts, key=lambda each: counts[each], default="")


def some(names: Sequence[str]) -> str:
    """The first few of the names."""
    shown = ", ".join(names[:SHOWN])
    return f"{shown}, ..." if len(names) > SHOWN else shown or "none"
