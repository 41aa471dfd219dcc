"""One side of a comparison: the files of a revision that git and DVC have, and those that are missing."""

from __future__ import annotations

import contextlib
import functools
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flows.dvc import storage
from flows.dvc.command import DvcError
from flows.running import git
from stages.core.paths import Paths
from stages.core.yaml_text import parse

if TYPE_CHECKING:
    import pyarrow as pa

    from stages.core.contracts import Text

Found = TypeVar("Found")
PATHS_SHOWN = 3  # in a note
NO_REMOTE = "they are not in this clone's cache, and it has no DVC remote to get them from (dvc remote add -d NAME URL)"


@dataclass(frozen=True)
class Side:
    """One revision's files. `commit` None: the working tree."""

    root: Path
    commit: str | None
    _said: list[str] = field(default_factory=list, repr=False)
    _missing: list[str] = field(default_factory=list, repr=False)
    _unread: dict[str, str] = field(default_factory=dict, repr=False)
    """Path of an out -> why it is not available."""
    _asked: list[str] = field(default_factory=list, repr=False)
    """Why a remote gave nothing, after it was asked in vain."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on the files that could not be read, with reasons; one note for all files with the same reason."""
        missing = f"{_listed(self._missing)} of {self._revision} {_is(self._missing)} missing."
        causes = {why: [path for path, of in self._unread.items() if of == why] for why in self._unread.values()}
        unread = (f"{_listed(paths)} of {self._revision} cannot be had: {why}." for why, paths in causes.items())
        return (*self._said, *([missing] if self._missing else []), *unread)

    def text(self, path: Path) -> str | None:
        """The text of a file in git; None where git does not have it."""
        if self.commit is None:
            return path.read_text(encoding="utf-8") if path.is_file() else None
        done = git.attempt(self.root, "show", f"{self.commit}:./{path.relative_to(self.root).as_posix()}")
        return done.stdout if done.returncode == 0 else None

    def json(self, path: Path) -> dict[str, Any]:
        """The object in a JSON file; empty, with a note, where there is none."""
        content = self.text(path)
        with contextlib.suppress(ValueError):
            if content is not None and isinstance(found := json.loads(content), dict):
                return found
        if content is None:
            self._missing.append(self._relative(path))
        else:
            self._said.append(f"{self._name(path)} is no JSON object.")
        return {}

    def yaml(self, path: Path) -> dict[str, Any]:
        try:
            found = parse(self.text(path) or "", self._name(path))
        except ValueError as error:
            found = None
            self._said.append(str(error))
        return found if isinstance(found, dict) else {}

    def artifact(self, path: Path) -> bytes | None:
        """The bytes of an out, by the hash in this side's dvc.lock; None, with a note, where it is not available."""
        return self._out(path, storage.at_hand, storage.content)

    def folder(self, path: Path) -> dict[str, bytes]:
        """The files of an out that is a folder, by their names in it; none, with a note, where it is not available."""
        return self._out(path, storage.folder_at_hand, storage.folder_content) or {}

    @functools.cached_property
    def raw_rows(self) -> pa.Table | None:
        """The ids and the texts of the rows as their source has them; None, with a note, where they cannot be had."""
        return self.rows(Paths(self.root).raw)

    @functools.cached_property
    def raw_texts(self) -> dict[str, Text | None]:
        """Those of them that were asked for so far, by their ids: all models have the same test rows."""
        return {}

    def rows(self, path: Path) -> pa.Table | None:
        """The ids and the texts in an out that is a table of rows; None, with a note, where it is not available."""
        import pyarrow.parquet as pq

        if (content := self.artifact(path)) is None:
            return None
        file = pq.ParquetFile(io.BytesIO(content))
        return file.read([name for name in ("row_id", "text", "text_pair") if name in file.schema_arrow.names])

    def _out(self, path: Path, at_hand: Callable[..., Found | None], content: Callable[..., Found]) -> Found | None:
        """An out, from here or else from the remote.

        A remote is asked until it first has nothing to give: if it is out of reach for one file, it is for all.
        """
        name = self._relative(path)
        if name not in self._hashes:
            self._unread[name] = "dvc.lock does not know it"
            return None
        if (found := at_hand(self.root, name, self._hashes[name])) is not None:
            return found
        if self._refusal is None:
            try:
                return content(self.root, name, self._hashes[name], revision=self.commit)
            except (OSError, DvcError) as error:
                self._asked.append(f"{str(error).removesuffix('.')}; nothing more was asked for")
        self._unread[name] = str(self._refusal)
        return None

    @property
    def _refusal(self) -> str | None:
        """Why the remote is not asked (any more)."""
        return next(iter(self._asked), None) or (None if self._has_remote else NO_REMOTE)

    @functools.cached_property
    def _has_remote(self) -> bool:
        return storage.has_remote(self.root)

    @functools.cached_property
    def lock(self) -> dict[str, Any]:
        """dvc.lock; empty where there is none."""
        return self.yaml(self.root / "dvc.lock")

    @functools.cached_property
    def _hashes(self) -> dict[str, str]:
        stages = (self.lock.get("stages") or {}).values()
        return {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", [])}

    def hash_of(self, path: Path) -> str | None:
        """The hash of an out in this side's dvc.lock; None where it has none."""
        return self._hashes.get(self._relative(path))

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _name(self, path: Path) -> str:
        return f"{self._relative(path)} of {self._revision}"

    @property
    def _revision(self) -> str:
        return self.commit or "the working tree"


def _listed(paths: Sequence[str]) -> str:
    """The first paths, and the number of the others."""
    more = len(paths) - PATHS_SHOWN
    return ", ".join(paths[:PATHS_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _is(paths: Sequence[str]) -> str:
    return "is" if len(paths) == 1 else "are"
