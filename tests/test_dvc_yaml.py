"""dvc.yaml tells the truth: deps are what is imported, params are what is read, and imports point one way."""

from __future__ import annotations

import ast
import difflib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY

from flows.dvc import code_deps
from flows.dvc.code_deps import Code, imports, is_name_table
from stages.core.paths import MODELS
from stages.tasks import TASKS

DVC = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))
PARAMS = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))


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
def test_deps_hold_the_import_closure(address: str, student: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARAMS["distill"], "family", student)
    name, definition = next(one[1:] for one in stages() if one[0] == address)
    loaded = [*code_deps.LOADED.get(name, []), *code_deps.RUN_BY.get(address.partition("@")[2], [])]
    files = [REPOSITORY / "stages" / resolved(path, {}, "") for path in loaded]
    reached = Code(REPOSITORY).closure(REPOSITORY / f"stages/{name}.py", *files)
    needed = {path.relative_to(REPOSITORY).as_posix() for path in reached}
    assert needed - set(code_of(definition["deps"])) == set()


@pytest.mark.parametrize("name", DVC["stages"])
def test_the_script_knows_of_every_plugin_that_a_stage_loads_by_name(name: str) -> None:
    files = [REPOSITORY / f"stages/{name}.py", *([REPOSITORY / "stages/programs/timing.py"] * (name == "profile"))]
    wanted = {template for file in files for template in loaded_by_name(ast.parse(file.read_text(encoding="utf-8")))}
    assert [options for options in wanted if not set(options) & set(code_deps.LOADED.get(name, []))] == []


def loaded_by_name(tree: ast.Module) -> Iterator[tuple[str, ...]]:
    """Of each plug-in that a file loads the templates of which dvc.yaml must have one."""
    tables = {
        "SOURCES": (code_deps.SOURCE,), "FAMILIES": (code_deps.TEACHER, code_deps.STUDENT),
        "QUANTIZERS": (f"{code_deps.BACKEND}/quantizer.py",), "COSTS": ("measures/speed.py",),
        "ANSWERS": ("measures/quality.py",),
    }  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in {f"stages.{package}" for package in TABLES}:
            yield from (tables[alias.name] for alias in node.names if alias.name in tables)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "plugins.part":
            yield (f"tasks/${{task.name}}/{ast.literal_eval(node.args[2])}.py",)


def test_dvc_yaml_is_as_the_script_writes_it() -> None:
    assert code_deps.written(REPOSITORY) == (REPOSITORY / "dvc.yaml").read_text(encoding="utf-8")


STAGE_DEPS = {"first": ["stages/new.py"], "more-of": ["stages/b.py"]}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("  first:\n    deps:\n      - data\n      - stages/old.py\n    outs: [x]\n",
         "  first:\n    deps:\n      - data\n      - stages/new.py\n    outs: [x]\n"),
        ("  first:  # a comment\n    deps:\n      - stages/old.py\n",
         "  first:  # a comment\n    deps:\n      - stages/new.py\n"),
        ("  first:\n    deps:\n      - data\n  more-of:\n    deps:  # a\n      - stages/old.py\n",
         "  first:\n    deps:\n      - data\n      - stages/new.py\n  more-of:\n    deps:  # a\n      - stages/b.py\n"),
        ("  first:\n    deps:\n      - data\n      # why\n      - stages/old.py\n\nplots:\n  - x\n",
         "  first:\n    deps:\n      - data\n      # why\n      - stages/new.py\n\nplots:\n  - x\n"),
        ("  unknown:\n    deps:\n      - stages/old.py\n", "  unknown:\n    deps:\n      - stages/old.py\n"),
    ],
)  # fmt: skip
def test_the_script_writes_each_stages_own_code_and_leaves_the_rest(before: str, after: str) -> None:
    assert [*code_deps._lines(before.splitlines(), STAGE_DEPS)] == after.splitlines()


@pytest.mark.parametrize("check", [["--check"], []])
def test_what_is_stale_is_said_or_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: list[str]) -> None:
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    shutil.copytree(REPOSITORY / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".dvc").mkdir()
    path = tmp_path / "dvc.yaml"
    right = path.read_text()
    stale = right.replace("      - stages/compare.py\n", "")
    path.write_text(stale)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["code_deps", *check])
    if check:
        with pytest.raises(SystemExit, match=r"is not what the stages import\. Run: make deps"):
            code_deps.main()
    else:
        code_deps.main()
    assert path.read_text() == (stale if check else right)


def test_the_script_puts_in_what_a_stage_imports_and_takes_out_what_it_does_not(tmp_path: Path) -> None:
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    shutil.copytree(REPOSITORY / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    stage, dvc_yaml = tmp_path / "stages/compare.py", tmp_path / "dvc.yaml"
    before, code = dvc_yaml.read_text(), stage.read_text()
    stage.write_text(f"{code}\nfrom stages.measures import size\n")
    after = code_deps.written(tmp_path)
    changed = [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[0] in "+-"]
    assert changed == ["+       - stages/measures/size.py"]
    dvc_yaml.write_text(after)
    stage.write_text(code)
    assert code_deps.written(tmp_path) == before


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


def test_how_texts_are_written_reruns_no_training() -> None:
    reading = {address.partition("@")[0] for address, (_, one) in STAGES.items() if "generate" in one.get("params", [])}
    assert reading == {"quantize", "evaluate"}


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


def is_contract(module: str) -> bool:
    """Whether it is the name table of the tasks, the records that they are made of, or what they share."""
    return re.fullmatch(r"stages\.tasks(\.[A-Z]+|\.(contract|shared)(\.\w+)*)?", module) is not None


def test_packages_beneath_know_no_stage_and_nothing_of_each_other() -> None:
    stage_modules = {f"stages.{name}" for name in DVC["stages"]} | {"stages.core.entry"}
    packages = [
        "sources", "cleaning", "validation", "tokens", "tasks", "models", "training", "compression", "backends",
        "decoding", "measures", "prompting",
    ]  # fmt: skip
    allowed = {("measures", "backends"), *(("backends", one) for one in ("cleaning", "decoding", "models", "tokens"))}
    for package in packages:
        for path in (REPOSITORY / "stages" / package).rglob("*.py"):
            found = imports(path)
            assert not found & stage_modules, path
            for other in packages:
                if other != package and (package, other) not in allowed:
                    known = {module for module in found if module.startswith(f"stages.{other}")}
                    assert [module for module in known if not is_contract(module)] == [], path


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_the_same_files(task: str) -> None:
    """dvc.yaml names a task's files by the parameter that names the task: one that others lack would stop them."""
    parts = {"answers", "baseline", "data", "encoding", "learning", "measures", "scores", "settings"}
    found = {path.stem for path in (REPOSITORY / "stages/tasks" / task).glob("*.py")}
    unread = {"aspects", "blind", "doubts", "labelling"}
    assert found - unread == {"__init__", *parts}, "no stage reads these, so a task may lack them"


TABLES = ("sources", "tasks", "models", "backends", "measures")
LIGHT = {
    "core", "backends.batching", "backends.records", "backends.runners", "cleaning.markup", "cleaning.masks",
    "compression.recipe", "compression.refusals", "measures", "models.fetched", "models.pretrained",
    "prompting.values", "reading", "sources.files", "sources.parallel", "tasks.contract", "tasks.shared",
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
                is_table = parts[1] in TABLES and (len(parts) == 2 or parts[2].isupper())
                assert is_table or any(within(module, light) for light in LIGHT), (path, module)


def test_contributing_names_what_flows_may_see_and_files_that_there_are() -> None:
    page = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`stages\.([\w.]+)`", page)) == LIGHT
    named = re.findall(r"`((?:flows|stages|tests|docs)/[\w/]+\.\w+)`", page)
    assert [name for name in named if "NAME" not in name and not (REPOSITORY / name).is_file()] == []
    assert len(named) > 50


def test_stages_and_flows_hold_nothing_beside_their_rooms_and_contributing_names_each() -> None:
    beside = {path.stem for path in (REPOSITORY / "stages").glob("*.py")} - {"__init__"}
    assert beside == {*DVC["stages"]}
    assert {path.stem for path in (REPOSITORY / "flows").glob("*.py")} - {"__init__"} == {"reproduce", "retrain"}
    page = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = [path.parent for top in ("stages", "flows") for path in (REPOSITORY / top).glob("*/__init__.py")]
    assert [room for room in rooms if f"`{room.relative_to(REPOSITORY).as_posix()}`" not in page] == []


def test_the_lowest_rooms_of_flows_know_only_those_beneath() -> None:
    for room, beneath in (("running", ["running"]), ("dvc", ["dvc", "running"])):
        for path in (REPOSITORY / "flows" / room).glob("*.py"):
            known = {module.split(".")[1] for module in imports(path) if re.match(r"flows\.[a-z]", module)}
            assert known <= {*beneath}, path


def taken_in_private(path: Path) -> Iterator[str]:
    """The names with a leading underscore that the file takes of modules of stages and flows."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    ours = [alias for node in froms if re.match(r"(stages|flows)\b", node.module or "") for alias in node.names]
    yield from (alias.name for alias in ours if re.match("_[^_]", alias.name))
    modules = {name for alias in ours if (name := alias.asname or alias.name).islower()}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            yield from ([f"{node.value.id}.{node.attr}"] if re.match("_[^_]", node.attr) else [])


def test_no_module_takes_what_is_anothers_own() -> None:
    paths = [path for room in ("flows", "stages", "benchmarks") for path in (REPOSITORY / room).rglob("*.py")]
    found = {(path.relative_to(REPOSITORY).as_posix(), name) for path in paths for name in taken_in_private(path)}
    assert found == set()


def test_plugin_packages_hold_their_name_table_and_nothing_else() -> None:
    for package in TABLES:
        assert is_name_table(REPOSITORY / "stages" / package / "__init__.py"), package


def test_cleaning_never_loads_torch() -> None:
    import subprocess
    import sys

    code = "import sys, stages.clean, stages.ingest; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
