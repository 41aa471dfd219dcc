"""dvc.yaml tells the truth: deps are what is imported, params are what is read, and imports point one way."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY

from stages.core.paths import MODELS
from stages.measures import ANSWERS, COSTS

DVC = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))
PARAMS = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
PLUGINS = {"sources": "ingest.source", "tasks": "task"}
# Whose family a stage opens or makes: the teacher's, the student's.
TEACHERS, STUDENTS = "model.family", "distill.family"
FAMILIES_OF = {
    "finetune": [TEACHERS], "cache_logits": [TEACHERS], "distill": [TEACHERS, STUDENTS], "prune": [STUDENTS],
    "quantize": [STUDENTS],
}  # fmt: skip
# What a stage loads by a name that stands in the code, or beneath a plug-in that params.yaml may name instead.
RULES = [f"cleaning/{name}.py" for name in ("characters", "markdown", "markup", "masks", "stop_words")]
BY_LITERAL_NAME = {
    "clean": RULES, "quantize": RULES, "baseline": ["cleaning/stop_words.py"], "finetune": ["cleaning/stop_words.py"],
    "ingest": [f"reading/{name}.py" for name in ("lines", "records", "storage", "values")],  # for the source `files`
    "evaluate": [*RULES, *(f"measures/{name}.py" for name in ANSWERS)],
    "profile": ["programs/timing.py", *RULES, *(f"measures/{name}.py" for name in COSTS)],
}  # fmt: skip


def value_of(dotted: str, item: dict[str, Any], key: str) -> str:
    if dotted == "key":
        return key
    value: Any = {"item": item, **PARAMS}
    for part in dotted.split("."):
        value = value[part]
    return resolved(value, item, key)


def resolved(text: str, item: dict[str, Any], key: str) -> str:
    return re.sub(r"\$\{([\w.]+)\}", lambda match: value_of(match[1], item, key), text)


def stages() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(address, module, definition with its templates filled in) of every stage."""
    for name, definition in DVC["stages"].items():
        items = definition.get("foreach", {"": {}})
        body = definition.get("do", definition)
        for key, item in items.items():
            filled = {**body, "cmd": resolved(body["cmd"], item, key)}
            filled["deps"] = [resolved(dep, item, key) for dep in body["deps"]]
            yield (f"{name}@{key}" if key else name), name, filled


STAGES = {address: (module, definition) for address, module, definition in stages()}


def file_of(module: str) -> Path | None:
    path = REPOSITORY / module.replace(".", "/")
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


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


def closure(*start: Path) -> set[Path]:
    seen: set[Path] = set()
    todo = [*start, REPOSITORY / "stages/__init__.py"]  # the package itself comes first
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            todo += [file for module in imports(path) if module.startswith("stages") and (file := file_of(module))]
    return seen


def is_name_table(path: Path) -> bool:
    """An __init__.py with a docstring and dicts of names to "module:attribute" at most."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return path.name == "__init__.py" and all(
        (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict))
        for node in body
    )


def plugins_of(module: str, definition: dict[str, Any], tables: set[str]) -> list[Path]:
    """The files of the plug-ins that this stage loads, by the tables that it imports and the names in params.yaml."""
    stages_folder = REPOSITORY / "stages"
    chosen = [
        stages_folder / package / f"{value_of(key, {}, '')}.py" for package, key in PLUGINS.items() if package in tables
    ]
    chosen += [stages_folder / name for name in BY_LITERAL_NAME.get(module, [])]
    chosen += [family_file(key) for key in FAMILIES_OF.get(module, [])]
    backend = PARAMS["quantize"]["backend"]
    if module == "quantize":
        chosen += [
            stages_folder / f"backends/{backend}/quantizer.py",
            stages_folder / f"backends/{backend}/runner.py",
            stages_folder / "backends/pytorch/runner.py",  # the student's own answers
        ]
    opened = {"evaluate": definition["cmd"].split()[-1:], "profile": MODELS}
    for model in opened.get(module, []):
        runner = {"baseline": "tfidf", "quantized": backend}.get(model, "pytorch")
        chosen.append(stages_folder / f"backends/{runner}/runner.py")
        if runner == "pytorch":
            chosen.append(family_file(TEACHERS if model == "teacher" else STUDENTS))
    return chosen


def family_file(key: str) -> Path:
    return REPOSITORY / f"stages/models/{value_of(key, {}, '')}.py"


def code_of(deps: list[str]) -> Iterator[str]:
    """The files of code among the deps; a folder of code stands for all in it."""
    for dep in deps:
        if dep.endswith(".py"):
            yield dep
        elif dep.startswith("stages/"):
            files = (REPOSITORY / dep).rglob("*.py")
            yield from (file.relative_to(REPOSITORY).as_posix() for file in files if not is_name_table(file))


@pytest.mark.parametrize("student", ["encoder", "bilstm"])
@pytest.mark.parametrize("address", STAGES)
def test_deps_are_the_import_closure(address: str, student: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARAMS["distill"], "family", student)
    module, definition = next(one[1:] for one in stages() if one[0] == address)
    own = closure(REPOSITORY / f"stages/{module}.py")
    tables = {path.parent.name for path in own if path.name == "__init__.py"}
    reached = closure(*own, *plugins_of(module, definition, tables))
    needed = {path.relative_to(REPOSITORY).as_posix() for path in reached if not is_name_table(path)}
    assert set(code_of(definition["deps"])) == needed


def all_uses(functions: list[ast.FunctionDef], section: str) -> int:
    """How often `params.SECTION` stands in the functions."""
    return sum(
        isinstance(node, ast.Attribute) and node.attr.rstrip("_") == section
        and isinstance(node.value, ast.Name) and node.value.id == "params"
        for function in functions for node in ast.walk(function)
    )  # fmt: skip


@pytest.mark.parametrize("address", STAGES)
def test_params_are_those_that_the_stage_reads(address: str) -> None:
    module, definition = STAGES[address]
    tree = ast.parse((REPOSITORY / f"stages/{module}.py").read_text(encoding="utf-8"))
    takes_all = [
        function
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        and any(
            a.arg == "params" and a.annotation and ast.unparse(a.annotation) == "Params" for a in function.args.args
        )
    ]
    read = {
        node.attr.rstrip("_")
        for function in takes_all
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "params"
    }
    named = definition.get("params", [])
    assert {name.partition(".")[0] for name in named} == read
    below = [  # a section of which single values are named: all that is read of it must be among them
        (node.value.attr.rstrip("_"), node.attr)
        for function in takes_all
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute)
        and isinstance(node.value.value, ast.Name) and node.value.value.id == "params"
    ]  # fmt: skip
    for section in {name.partition(".")[0] for name in named if "." in name}:
        reads = [f"{of}.{value}" for of, value in below if of == section]
        assert {name for name in named if name.startswith(f"{section}.")} == set(reads)
        assert all_uses(takes_all, section) == len(reads), "the section is passed on as a whole"


@pytest.mark.parametrize("address", STAGES)
def test_a_command_is_the_stages_module_and_nothing_of_params_or_host(address: str) -> None:
    module, definition = STAGES[address]
    name = address.partition("@")[2]
    assert definition["cmd"] == f"python -m stages.{module}" + (f" {name}" if name else "")
    assert name in ("", *MODELS)


def test_all_models_are_timed_by_one_stage_so_that_no_table_is_of_two_machines() -> None:
    of_profile = [address for address in STAGES if address.partition("@")[0] == "profile"]
    assert of_profile == ["profile"]
    outs = [path for out in STAGES["profile"][1]["metrics"] for path in out]
    assert outs == [f"metrics/profile/{model}.json" for model in MODELS]
    assert {f"artifacts/models/{model}" for model in MODELS} <= {*STAGES["profile"][1]["deps"]}


@pytest.mark.parametrize("address", STAGES)
def test_every_stage_says_what_it_does(address: str) -> None:
    assert STAGES[address][1].get("desc")


def test_no_stage_is_longer_than_a_screenful_or_two() -> None:
    long = {m: n for m in DVC["stages"] if (n := len((REPOSITORY / f"stages/{m}.py").read_text().splitlines())) > 140}
    assert long == {}


def test_no_stage_imports_another() -> None:
    modules = {f"stages.{name}" for name in DVC["stages"]}
    for name in DVC["stages"]:
        assert not (imports(REPOSITORY / f"stages/{name}.py") & modules), name


def test_packages_beneath_know_no_stage_and_nothing_of_each_other() -> None:
    stage_modules = {f"stages.{name}" for name in DVC["stages"]} | {"stages.core.entry"}
    packages = [
        "sources", "cleaning", "validation", "tokens", "tasks", "models", "training", "compression", "backends",
        "measures",
    ]  # fmt: skip
    allowed = {("backends", "models"), ("backends", "cleaning")}
    for package in packages:
        for path in (REPOSITORY / "stages" / package).rglob("*.py"):
            found = imports(path)
            assert not found & stage_modules, path
            for other in packages:
                if other != package and (package, other) not in allowed:
                    assert not any(module.startswith(f"stages.{other}") for module in found), path


TABLES = ("sources", "tasks", "models", "backends", "measures")
LIGHT = {
    "core", "backends.runners", "compression.recipe", "compression.refusals", "measures", "models.pretrained",
    "reading", "sources.files",
}  # fmt: skip


def within(module: str, light: str) -> bool:
    """Whether the module is a light one, in it, or a package around it."""
    return f"{module}.".startswith(f"stages.{light}.") or f"stages.{light}.".startswith(f"{module}.")


def test_flows_see_of_the_stages_only_what_is_light() -> None:
    for path in (REPOSITORY / "flows").rglob("*.py"):
        for module in imports(path):
            parts = module.split(".")
            assert parts[0] not in {"torch", "transformers", "deepspeed", "datasets", "daft", "great_expectations"}, (
                path
            )
            if parts[0] == "stages" and len(parts) > 1:
                assert parts[1] in TABLES or any(within(module, light) for light in LIGHT), (path, module)


def test_contributing_names_what_flows_may_see_and_files_that_there_are() -> None:
    page = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`stages\.([\w.]+)`", page)) == LIGHT
    named = re.findall(r"`((?:flows|stages|tests|docs)/[\w/]+\.\w+)`", page)
    assert [name for name in named if "NAME" not in name and not (REPOSITORY / name).is_file()] == []
    assert len(named) > 50


def test_plugin_packages_hold_their_name_table_and_nothing_else() -> None:
    for package in TABLES:
        assert is_name_table(REPOSITORY / "stages" / package / "__init__.py"), package


def test_cleaning_never_loads_torch() -> None:
    import subprocess
    import sys

    code = "import sys, stages.clean, stages.ingest; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
