"""Rows from the docstrings of installed libraries: which files are read, in pinned versions, and how rows are drawn.

The sources are parsed, never imported or run. The draw depends on the seed and on the place of a row alone: one of each
file, then a second, so that no module's words stand for a whole library. The rows of a file are one group: a split that
had a module's words on both sides would flatter every model.
"""

from __future__ import annotations

import ast
import difflib
import gc
import hashlib
import importlib.metadata
import importlib.util
import logging
import multiprocessing
import re
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import NamedTuple

from stages.core.contracts import RawRow, RejectedRow
from stages.core.machine import cores
from stages.core.params.ingest import IngestParams
from stages.core.paths import HELD_OUT, TRANSFER

log = logging.getLogger("winnow")

SKIPPED_FOLDERS = frozenset({"tests", "testing", "_vendor"})
NOT_ON_EVERY_PYTHON = ("numpy/distutils",)  # the wheels for Python 3.12 and later lack it: other rows would come out


class Library(NamedTuple):
    """The task of one process: a library, and the numbers of rows to draw, to set aside, and without a label."""

    name: str
    rows: int
    min_chars: int
    max_chars: int
    seed: int
    rows_of: RowsOf
    held_out: int = 0
    unlabelled: int = 0


RowsOf = Callable[[bytes, str, Library], Sequence[RawRow | RejectedRow]]
"""rows_of(source, path, library): the rows of a Python file, in the order in which they are drawn; a function of a
module, as other processes call it. Those that it rejects are counted and not drawn. Raises SyntaxError where the source
is none."""


class Drawn(NamedTuple):
    """The rows of a library, by origin, the number of its files that could not be parsed, and of rows rejected."""

    rows: list[RawRow]
    unparsable: int
    rejected: int = 0


def reader(rows_of: RowsOf) -> Callable[..., Iterator[RawRow]]:
    """The `read` of a source whose rows are these of each file: a row's origin is "scipy/linalg/_basic.py:solve"."""

    def read(params: IngestParams, seed: int, *, structured: Collection[str] = frozenset()) -> Iterator[RawRow]:  # noqa: ARG001 (every source is called so)
        return read_libraries(params, seed, rows_of)

    return read


def read_libraries(params: IngestParams, seed: int, rows_of: RowsOf) -> Iterator[RawRow]:
    """Rows by library, then by origin, as `ingest.docstrings` says; no text of a library twice.

    `params.path` pins the libraries' versions (lines of `name==version`). Raises FileNotFoundError where it
    is missing, ValueError where a library is not pinned, not installed, or installed in another version.
    """
    names = sorted(set(params.docstrings.libraries))
    check_versions(names, Path(params.path))
    settings = params.docstrings
    libraries = [
        Library(
            name, settings.rows_per_library, settings.min_chars, settings.max_chars, seed, rows_of,
            settings.held_out_rows_per_library, settings.unlabelled_rows_per_library,
        )
        for name in names
    ]  # fmt: skip
    workers = min(cores(), len(libraries))
    yield from read_all(libraries, workers)


def read_all(libraries: Sequence[Library], workers: int) -> Iterator[RawRow]:
    """The rows of each library, in this order; the same for any number of processes."""
    largest_first = sorted(libraries, key=lambda library: -_source_bytes(library.name))
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        drawn = dict(zip([library.name for library in largest_first], pool.map(draw, largest_first), strict=True))
    unparsable = sum(part.unparsable for part in drawn.values())
    if unparsable:
        log.info("ingest: %d source files could not be parsed and were skipped.", unparsable)
    if rejected := sum(part.rejected for part in drawn.values()):
        log.info("ingest: %s places in the files read give no row: their target is not known.", f"{rejected:,}")
    for library in libraries:
        yield from drawn[library.name].rows


def check_versions(libraries: Sequence[str], pins_file: Path) -> None:
    """Raise ValueError, a line a library, where the installed version differs from that in `pins_file`.

    Public versions are compared: 2.13.0+cpu is 2.13.0.
    """
    pins = _read_pins(pins_file)
    installed = importlib.metadata.packages_distributions()
    problems = [problem for library in libraries if (problem := _problem(library, pins, installed, pins_file))]
    if problems:
        raise ValueError("\n".join(problems))


def _problem(library: str, pins: Mapping[str, str], installed: Mapping[str, list[str]], pins_file: Path) -> str | None:
    where = f"params.yaml: ingest.docstrings.libraries names '{library}'"
    if library not in installed:
        return f"{where}, which is not installed.{_guess(library, installed)} Or run `make setup`."
    distributions = installed[library]
    pinned = [name for name in distributions if _normal(name) in pins]
    if not pinned:
        known = [name for name, theirs in installed.items() if any(_normal(one) in pins for one in theirs)]
        return f"{where} ({distributions[0]}), which {pins_file} does not pin.{_guess(library, known)}"
    for name in pinned:
        found, wanted = importlib.metadata.version(name), pins[_normal(name)]
        if found.partition("+")[0] != wanted.partition("+")[0]:
            return (
                f"{name} {found} is installed, {pins_file} pins {wanted}: other rows would come out. Run `make setup`."
            )
    return None


def _read_pins(path: Path) -> dict[str, str]:
    """Distribution names, normalised, to versions."""
    if not path.is_file():
        raise FileNotFoundError(
            f"params.yaml: ingest.path is '{path}': no such file. "
            "The source docstrings needs a file of `name==version` lines, such as constraints.txt."
        )
    lines = path.read_text(encoding="utf-8").splitlines()
    pins = (re.match(r"\s*([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*==\s*([^\s;#,]+)", line) for line in lines)
    return {_normal(pin[1]): pin[2] for pin in pins if pin}


def _normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _guess(library: str, known: Mapping[str, object] | Sequence[str]) -> str:
    near = difflib.get_close_matches(library, known, n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def source_files(library: str) -> tuple[Path, list[Path]]:
    """The folder that origins are relative to, and the library's source files in a fixed order."""
    spec = importlib.util.find_spec(library)
    if spec is None or not (spec.submodule_search_locations or (spec.origin or "").endswith(".py")):
        raise ValueError(f"'{library}' has no Python sources. Take it out of ingest.docstrings.libraries.")
    if not spec.submodule_search_locations:
        file = Path(str(spec.origin))
        return file.parent, [file]
    folders = [Path(folder) for folder in spec.submodule_search_locations]
    files = [file for folder in folders for file in folder.rglob("*.py")]
    kept = [file for file in files if SKIPPED_FOLDERS.isdisjoint(file.relative_to(_root(file, folders)).parts[:-1])]
    root = folders[0].parent
    elsewhere = [root / folder for folder in NOT_ON_EVERY_PYTHON]
    return root, sorted(file for file in kept if not any(map(file.is_relative_to, elsewhere)))


def _root(file: Path, folders: Sequence[Path]) -> Path:
    return next(folder for folder in folders if file.is_relative_to(folder))


def _source_bytes(library: str) -> int:
    return sum(file.stat().st_size for file in source_files(library)[1])


def draw(library: Library) -> Drawn:
    """The rows of one library, no text twice: one of each file, in the order of a hash, then a second, until enough.

    The next rows of these files are those without a label. If enough files give a row, the next files give those that
    are set aside; a library with few files has none.
    """
    files, unparsable, rejected = _candidates(library)
    rounds = (row for row in chain.from_iterable(zip_longest(*files[: library.rows])) if row is not None)
    drawn = list(islice(rounds, library.rows))
    unlabelled = (row._replace(label=None, split=TRANSFER) for row in islice(rounds, library.unlabelled))
    aside = (file[0]._replace(split=HELD_OUT) for file in files[library.rows :])
    return Drawn(sorted([*drawn, *unlabelled, *aside], key=lambda row: row.origin), unparsable, rejected)


def order(seed: int, place: str) -> bytes:
    """By what the draw sorts: a hash of the place, such as an origin."""
    return hashlib.sha256(f"{seed}:{place}".encode()).digest()


def _candidates(library: Library) -> tuple[list[list[RawRow]], int, int]:
    """The candidate rows by file, files in the order of a hash; the numbers of unparsable files and of rejected rows.

    Reading stops when as many files have given a row as rows are to be drawn and to be set aside.
    """
    root, files = source_files(library.name)
    files.sort(key=lambda file: order(library.seed, file.relative_to(root).as_posix()))
    by_file: list[list[RawRow]] = []
    known: set[str | None] = set()
    unparsable = rejected = 0
    gc.disable()  # syntax trees hold no cycles, and the collector would walk them again and again
    try:
        for file in files:
            source = file.read_bytes()
            if b'"""' not in source and b"'''" not in source:
                continue
            try:
                found = library.rows_of(source, file.relative_to(root).as_posix(), library)
            except (SyntaxError, ValueError, RecursionError):
                unparsable += 1
                continue
            rows = [row for row in found if isinstance(row, RawRow)]
            rejected += len(found) - len(rows)
            new = [row for row in _fitting(rows, library) if row.text not in known]
            known.update(row.text for row in new)
            if new:
                by_file.append(new)
            if len(by_file) == library.rows + library.held_out:
                break
    finally:
        gc.enable()
    return by_file, unparsable, rejected


def _fitting(rows: Sequence[RawRow], library: Library) -> list[RawRow]:
    """The first row of each text, where it is neither too short nor too long."""
    first: dict[str, RawRow] = {}
    for row in rows:
        first.setdefault(row.text or "", row)
    return [row for text, row in first.items() if library.min_chars <= len(text) <= library.max_chars]


def docstrings(source: bytes, path: str) -> Iterator[tuple[str, str]]:
    """Origin ("PATH" or "PATH:QUALIFIED.NAME") and text of every docstring in a Python source.

    A name that repeats gets a counter: "PATH:Frame.head#2". Raises SyntaxError where the source is none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = ast.parse(source)
    seen: Counter[str] = Counter()
    for name, node in _documented(module, ""):
        docstring = ast.get_docstring(node)
        if not docstring:
            continue
        seen[name] += 1
        counter = f"#{seen[name]}" if seen[name] > 1 else ""
        yield f"{path}:{name}{counter}" if name else path, docstring


def paragraphs(docstring: str) -> list[str]:
    """Its paragraphs; half a surrogate pair becomes "?"."""
    return re.split(r"\n[^\S\n]*\n", without_surrogates(docstring))


def without_surrogates(docstring: str) -> str:
    """With "?" for half a surrogate pair, which no file can hold."""
    return docstring.encode("utf-8", "replace").decode()


_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _documented(node: ast.AST, name: str) -> Iterator[tuple[str, _Documented]]:
    """Everything below `node` that may have a docstring, with its qualified name; no expressions."""
    if isinstance(node, _Documented):
        yield name, node
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(node, block, ()):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _documented(child, f"{name}.{child.name}" if name else child.name)
            elif hasattr(child, "body"):
                yield from _documented(child, name)
