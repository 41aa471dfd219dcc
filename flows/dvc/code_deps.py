"""Write the code among the `deps` of dvc.yaml: `python -m flows.dvc.code_deps`; --check says what is stale.

A stage depends on every file that it imports, and on those of the plug-ins that it loads by name:

    stages/distill.py ── imports ── stages/training/loop.py ── ...     each as it is called
                     └─ loads ──── stages/models/encoder.py            as stages/models/${distill.family}.py

The name tables (`__init__.py` of plug-in packages) are left out: they map a name to the file of that name.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from flows.dvc.locked import read_yaml
from flows.running.root import find_root
from stages.backends import QUANTIZERS
from stages.core.paths import MODELS
from stages.measures import ANSWERS, COSTS
from stages.models import FAMILIES
from stages.sources import SOURCES
from stages.tasks import TASKS

TEACHER, STUDENT = "models/${model.family}.py", "models/${distill.family}.py"
SOURCE = "sources/${ingest.source}.py"
DATA, ENCODING, LEARNING, ANSWERS_OF_TASK, MEASURES, SETTINGS, BASELINE = (
    f"tasks/${{task.name}}/{part}.py"
    for part in ("data", "encoding", "learning", "answers", "measures", "settings", "baseline")
)
BACKEND = "backends/${quantize.backend}"
RULES = [f"cleaning/{name}.py" for name in ("characters", "markdown", "markup", "masks", "stop_words")]
# The files that run a model, by the model; of `evaluate` they stand beside its name in dvc.yaml, in `foreach`.
RUN_BY = {
    "baseline": ["backends/linear/runner.py", BASELINE],
    "static": ["backends/static/runner.py", "backends/static/features.py"],
    "probe": ["backends/pytorch/runner.py", TEACHER],
    "teacher": ["backends/pytorch/runner.py", TEACHER],
    "student": ["backends/pytorch/runner.py", STUDENT],
    "pruned": ["backends/pytorch/runner.py", STUDENT],
    "quantized": [f"{BACKEND}/runner.py"],
}
# The values of a parameter that names a plug-in.
PLUGINS = {
    "ingest.source": SOURCES, "task.name": TASKS, "model.family": FAMILIES, "distill.family": FAMILIES,
    "quantize.backend": QUANTIZERS,
}  # fmt: skip
# The modules that each stage loads by a name in params.yaml or in the code, rather than by an import.
LOADED = {
    "ingest": [SOURCE, DATA],
    "clean": [*RULES, DATA],
    "validate": [DATA],
    "report": [DATA, *RULES],
    "tokenize": [ENCODING],
    "baseline": [BASELINE, ENCODING, ANSWERS_OF_TASK, "cleaning/stop_words.py"],
    "static": [LEARNING, TEACHER, "cleaning/stop_words.py"],
    "probe": [LEARNING, TEACHER, "cleaning/stop_words.py"],
    "finetune": [LEARNING, TEACHER, "cleaning/stop_words.py"],
    "cache_logits": [LEARNING, TEACHER],
    "distill": [LEARNING, TEACHER, STUDENT],
    "prune": [ENCODING, LEARNING, STUDENT],
    "quantize": [
        ANSWERS_OF_TASK, ENCODING, SETTINGS, STUDENT, *RULES, f"{BACKEND}/quantizer.py", f"{BACKEND}/runner.py",
        "backends/pytorch/runner.py",
    ],
    "evaluate": [
        ANSWERS_OF_TASK, ENCODING, MEASURES, *RULES, *(f"measures/{name}.py" for name in ANSWERS),
        "tasks/shared/words.py",  # of the baseline alone
    ],
    "compare": [MEASURES],
    "profile": [
        "programs/timing.py", ANSWERS_OF_TASK, ENCODING, *RULES, *(f"measures/{name}.py" for name in COSTS),
        *chain(*RUN_BY.values()),
    ],
}  # fmt: skip
# What one model alone needs of these is too small for a slot of its own.
BENEATH = (
    "stages/core/", "stages/models/", "stages/decoding/", "stages/tokens/", "stages/backends/writing.py",
    "stages/backends/pytorch/stepping.py",
)  # fmt: skip
FOLDERS = ("stages/core/params",)  # a folder stands for its files where a stage depends on all of them


class Code:
    """The code of the project at `root`; each file is read once. Only imports of `packages` are followed."""

    def __init__(self, root: Path, packages: Collection[str] = ("stages",)) -> None:
        self.root, self._packages = root, packages
        self._imported: dict[Path, list[Path]] = {}

    def closure(self, *start: Path) -> set[Path]:
        """The files, and all that they import of `packages`, less the name tables."""
        return {path for path in self.reached(*start) if not is_name_table(path)}

    def reached(self, *start: Path, beyond: Collection[Path] = ()) -> set[Path]:
        """The same with the name tables, and without what is `beyond`."""
        seen: set[Path] = set()
        todo = [*start, self.root / "stages/__init__.py"]  # the package itself comes first
        while todo:
            path = todo.pop()
            if path not in seen and path not in beyond:
                seen.add(path)
                todo += self._imports_of(path)
        return seen

    def _imports_of(self, path: Path) -> list[Path]:
        if path not in self._imported:
            modules = (name.replace(".", "/") for name in imports(path) if name.partition(".")[0] in self._packages)
            files = (self.root / name for module in modules for name in (f"{module}.py", f"{module}/__init__.py"))
            self._imported[path] = [file for file in files if file.is_file()]
        return self._imported[path]

    def of_stage(self, name: str, *loaded: str) -> set[str]:
        """The code that a stage depends on, as dvc.yaml names it; `loaded` beside the plug-ins in LOADED.

        It has the imports of every plug-in that params.yaml could name, so it does not depend on which one it names.
        """
        templates = [*LOADED.get(name, []), *loaded]
        found = self.closure(self.root / f"stages/{name}.py")
        for template in templates:
            for file in self._files_of(template):
                found |= self.closure(file) - {file}
        return {self._named(path) for path in found} | {f"stages/{template}" for template in templates}

    def _files_of(self, template: str) -> list[Path]:
        """The files that a template stands for, one for each plug-in that params.yaml could name."""
        parameter = re.search(r"\$\{([\w.]+)\}", template)
        names = [template] if parameter is None else [template.replace(parameter[0], n) for n in PLUGINS[parameter[1]]]
        return [path for path in (self.root / "stages" / name for name in names) if path.is_file()]

    def _named(self, path: Path) -> str:
        """A path as dvc.yaml has it: a task's own files by the parameter that names the task."""
        place = path.relative_to(self.root).as_posix()
        return re.sub(r"^stages/tasks/(?!shared/)\w+/", "stages/tasks/${task.name}/", place)


def imports(path: Path) -> set[str]:
    """Every module that the file imports when it runs, wherever in it; not those for the type checker."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            found.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def is_name_table(path: Path) -> bool:
    """Whether the file is an __init__.py with at most a docstring and dicts of names to "module:attribute"."""
    return path.name == "__init__.py" and all(
        (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
    )


def code_deps(root: Path) -> dict[str, list[str]]:
    """The code of each stage of dvc.yaml, as its `deps` name it, sorted."""
    code = Code(root)
    stages = read_yaml(root / "dvc.yaml")["stages"]
    found = {name: _of_all_models(code) if name == "evaluate" else code.of_stage(name) for name in stages}
    return {name: sorted(_folded(files, root)) for name, files in found.items()}


def _of_all_models(code: Code) -> set[str]:
    """The code that `evaluate` depends on for every model, and the template slots of the code that runs one of them."""
    each = [code.of_stage("evaluate", *RUN_BY[model]) for model in MODELS]
    small = {path for path in set.union(*each) if path.startswith(BENEATH) and "$" not in path}
    return {*set.intersection(*each), *small, *(f"${{item.{slot}}}" for slot in ("family", "runner"))}


def _folded(found: set[str], root: Path) -> set[str]:
    """The files, with a folder in place of its files: those of backends that quantize, and those of FOLDERS."""
    for folder in FOLDERS:
        files = {path.relative_to(root).as_posix() for path in (root / folder).glob("*.py")}
        files -= {f"{folder}/__init__.py"}
        if files <= found:
            found = (found - files) | {folder}
    if f"stages/{BACKEND}/quantizer.py" in found:
        beneath = (f"stages/{BACKEND}/", *(f"stages/backends/{name}/" for name in QUANTIZERS))
        found = {path for path in found if not path.startswith(beneath)} | {f"stages/{BACKEND}"}
    return found


def written(root: Path) -> str:
    """dvc.yaml with the code of its stages as it is now; data, parameters and comments stay."""
    deps = code_deps(root)
    lines = (root / "dvc.yaml").read_text(encoding="utf-8").splitlines()
    return "".join(f"{line}\n" for line in _lines(lines, deps))


def _lines(lines: Iterable[str], deps: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The lines of dvc.yaml with the code of each list of `deps` as it is now, at its end."""
    stage, of, pad = "", "", None  # the stage whose lines these are, and that of the list that is open
    for line in lines:
        if pad is not None and not line.startswith((f"{pad}  - ", f"{pad}  #")):  # the list is at its end
            yield from (f"{pad}  - {path}" for path in deps[of])
            pad = None
        if named := re.fullmatch(r"  ([^\s#:-][^\s#:]*):\s*(#.*)?", line):
            stage = named[1]
        if pad is not None and re.match(r"\s*- (stages/|\$\{item\.)", line):
            continue
        yield line
        if stage in deps and (opened := re.fullmatch(r"( +)deps:\s*(#.*)?", line)):
            pad, of = opened[1], stage
    if pad is not None:
        yield from (f"{pad}  - {path}" for path in deps[of])


def main() -> None:
    """Write dvc.yaml again; with --check only report by exit code 1 whether it would change."""
    root = find_root(Path.cwd())
    path, text = root / "dvc.yaml", written(root)
    if path.read_text(encoding="utf-8") == text:
        return
    if "--check" in sys.argv[1:]:
        sys.exit("dvc.yaml: the code among the deps is not what the stages import. Run: make deps")
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
