"""Source `docstrings`: the first paragraph of every docstring of installed libraries, labelled by library.

The sources are parsed, never imported or run. A library's own names are masked, so that a model has to learn its
subject. The draw depends on the seed and on the place of a docstring alone: one of each file, then a second, so that no
module's words stand for a whole library. The rows of a file are one group: a split that had a module's words on both
sides would flatter every model.
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
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import NamedTuple

from stages.core.contracts import RawRow
from stages.core.machine import cores
from stages.core.params.ingest import IngestParams
from stages.core.paths import HELD_OUT

log = logging.getLogger("winnow")

MASK = "LIBRARY"
SKIPPED_FOLDERS = frozenset({"tests", "testing", "_vendor"})
NOT_ON_EVERY_PYTHON = ("numpy/distutils",)  # the wheels for Python 3.12 and later lack it: other rows would come out
ALIASES = {
    "daft": ("getdaft",),
    "datasets": ("hugging face", "huggingface"),
    "great_expectations": ("gx",),
    "matplotlib": ("mpl",),
    "networkx": ("nx",),
    "numpy": ("np",),
    "onnxruntime": ("onnx runtime", "ort"),
    "pandas": ("pd",),
    "polars": ("pl",),
    "sklearn": ("scikit-learn", "scikit"),
    "sqlalchemy": ("sa",),
    "tensorflow": ("tf",),
    "torch": ("pytorch",),
    "transformers": ("hugging face", "huggingface"),
}
LONGEST_SHORT_NAME = 4  # these ("np", "daft") are masked as whole words only, longer ones also inside words


class _Library(NamedTuple):
    """The task of one process: a library, and the numbers of rows to draw from it and to set aside."""

    name: str
    rows: int
    min_chars: int
    max_chars: int
    seed: int
    held_out: int = 0


class _Drawn(NamedTuple):
    rows: list[RawRow]
    unparsable: int


def read(
    params: IngestParams,
    seed: int,
    *,
    structured: Collection[str] = frozenset(),  # noqa: ARG001 (every source is called so)
) -> Iterator[RawRow]:
    """Rows by library, then by origin, for instance "pandas/core/frame.py:DataFrame.head".

    `params.path` pins the libraries' versions (lines of `name==version`). Raises FileNotFoundError where it
    is missing, ValueError where a library is not pinned, not installed, or installed in another version.
    """
    names = sorted(set(params.docstrings.libraries))
    check_versions(names, Path(params.path))
    settings = params.docstrings
    libraries = [
        _Library(
            name, settings.rows_per_library, settings.min_chars, settings.max_chars, seed,
            settings.held_out_rows_per_library,
        )
        for name in names
    ]  # fmt: skip
    workers = min(cores(), len(libraries))
    yield from _read_all(libraries, workers)


def _read_all(libraries: Sequence[_Library], workers: int) -> Iterator[RawRow]:
    largest_first = sorted(libraries, key=lambda library: -_source_bytes(library.name))
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        drawn = dict(zip([library.name for library in largest_first], pool.map(_draw, largest_first), strict=True))
    unparsable = sum(part.unparsable for part in drawn.values())
    if unparsable:
        log.info("ingest: %d source files could not be parsed and were skipped.", unparsable)
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


def _source_files(library: str) -> tuple[Path, list[Path]]:
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
    return sum(file.stat().st_size for file in _source_files(library)[1])


def _draw(library: _Library) -> _Drawn:
    """The rows of one library, no text twice: one of each file, in the order of a hash, then a second, until enough.

    If enough files give one, the next files give those that are set aside; a library with few files has none.
    """
    files, unparsable = _candidates(library)
    rounds = chain.from_iterable(zip_longest(*files[: library.rows]))
    drawn = islice((row for row in rounds if row is not None), library.rows)
    aside = (file[0]._replace(split=HELD_OUT) for file in files[library.rows :])
    return _Drawn(sorted([*drawn, *aside], key=lambda row: row.origin), unparsable)


def _hash(seed: int, place: str) -> bytes:
    return hashlib.sha256(f"{seed}:{place}".encode()).digest()


def _candidates(library: _Library) -> tuple[list[list[RawRow]], int]:
    """The candidate rows by file, files and rows in the order of a hash; and the number of files that did not parse.

    Reading stops when as many files have given a row as rows are to be drawn and to be set aside.
    """
    mask = own_names(library.name)
    root, files = _source_files(library.name)
    files.sort(key=lambda file: _hash(library.seed, file.relative_to(root).as_posix()))
    by_file: list[list[RawRow]] = []
    known: set[str] = set()
    unparsable = 0
    gc.disable()  # syntax trees hold no cycles, and the collector would walk them again and again
    try:
        for file in files:
            source = file.read_bytes()
            if b'"""' not in source and b"'''" not in source:
                continue
            try:
                path = file.relative_to(root).as_posix()
                found = sorted(paragraphs(source, path), key=lambda one: _hash(library.seed, one[0]))
            except (SyntaxError, ValueError, RecursionError):
                unparsable += 1
                continue
            texts: dict[str, str] = {}
            for origin, paragraph in found:
                texts.setdefault(mask.sub(MASK, paragraph), origin)
            fits = [text for text in texts if library.min_chars <= len(text) <= library.max_chars]
            new = [text for text in fits if text not in known]
            known.update(new)
            if new:
                by_file.append([RawRow(text, library.name, texts[text], group=path) for text in new])
            if len(by_file) == library.rows + library.held_out:
                break
    finally:
        gc.enable()
    return by_file, unparsable


def paragraphs(source: bytes, path: str) -> Iterator[tuple[str, str]]:
    """Origin ("PATH" or "PATH:QUALIFIED.NAME") and first paragraph of every docstring in a Python source.

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
        first = re.split(r"\n[^\S\n]*\n", docstring, maxsplit=1)[0]
        yield f"{path}:{name}{counter}" if name else path, first.encode("utf-8", "replace").decode()


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


def own_names(library: str) -> re.Pattern[str]:
    """A pattern of names that give a library away: its name and aliases in any case; short ones as whole words only."""
    names = sorted({library, *ALIASES.get(library, ())}, key=lambda name: (-len(name), name))
    return re.compile("|".join(_name_pattern(name) for name in names), re.IGNORECASE)


def _name_pattern(name: str) -> str:
    pattern = r"[\s_-]?".join(re.escape(part) for part in re.split(r"[\s_-]", name))
    if len(name) > LONGEST_SHORT_NAME:
        return pattern
    return rf"(?<![A-Za-z0-9]){pattern}(?![A-Za-z0-9])"
