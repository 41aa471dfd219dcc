"""A new project: its parameters, its graph, and repositories of git and DVC where it has none."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from flows.dvc import command
from flows.dvc.edits import add_missing, set_values
from flows.projects.guessing import Guess
from flows.projects.sample import refuse_missing
from flows.releases.registry import artifact
from flows.running import git
from flows.running.code import LINK, OURS, code_of, holds_code, link_code
from stages.core import plugins
from stages.core.params.values import RelativeOrAbsolutePath
from stages.core.paths import Paths
from stages.core.yaml_text import parse
from stages.reading.links import refuse_links
from stages.tasks import TASKS
from stages.tasks.contract import TaskSettings

PATHS: TypeAdapter[str] = TypeAdapter(RelativeOrAbsolutePath)
DATA = "data"
PINS = "constraints.txt"  # which packages' docstrings: the data of most sources that need none
PLOTS = "\nplots:\n"
SHOWN_CHARS = 80  # of a value
LINES_ADDED = (".gitignore", ".dvcignore")  # files that may be there, and get lines of ours or of DVC's
VALIDATION = "validation-"  # of the names of plots: of measures by epoch
IGNORED = f"/{LINK.parts[0]}/"
DVC_CORE = {"analytics": "false", "check_update": "false", "autostage": "false"}  # of .dvc/config


@dataclass(frozen=True)
class Started:
    """What was written, for people."""

    root: Path
    written: list[str] = field(default_factory=list)


def start(folder: Path, task: str, data: Path | None, guess: Guess | None) -> Started:
    """Write a project of the task into `folder`, which is made; `data` is copied into it, and kept by DVC.

    Raises ValueError for an unknown task and where there is a project already, and OSError as the disk does. Of a
    folder that was made for it nothing is left then.
    """
    refuse_unknown(task)
    settings: TaskSettings = plugins.part(TASKS, task, "settings", key="--task")
    root, data = Path(os.path.abspath(folder)), data and Path(os.path.abspath(data))  # noqa: PTH100 (without ..)
    _refuse(root, data)
    if data is None and not settings.corpus:
        raise ValueError(f"the task {task} has no corpus of its own. Give --data FILE.")
    before = _Before.of(root, data)
    try:
        root.mkdir(parents=True, exist_ok=True)
        started = Started(root)
        _repositories(root, started.written.append)
        artifact(root)  # refuses names that no release could have
        values = _values(root, task, settings, data, guess)
        _write(root, settings, values, started.written.append)
        link_code(root)
        if data is not None:
            _keep(root, data, started.written.append)
    except BaseException:
        before.restore()
        raise
    return started


def refuse_unknown(task: str) -> None:
    """Raise ValueError, with what is allowed and the nearest guess, where no task is called so."""
    try:
        plugins.check(TASKS, task, key="--task")
    except ValueError as error:  # it takes an option for a parameter
        raise ValueError(str(error).removeprefix("params.yaml: ")) from None


@dataclass(frozen=True)
class _Before:
    """What a folder held before it became a project."""

    root: Path
    there: Mapping[Path, bytes | None]
    """What may be written, of what was there: of files that lines are added to their content."""
    may_be_made: Sequence[Path]
    in_index: frozenset[str]
    """The files in git's index, by their paths from the folder."""

    @classmethod
    def of(cls, root: Path, data: Path | None) -> _Before:
        place = None if data is None else root / _place(root, data)
        beside = [] if place is None else [place, Path(f"{place}.dvc"), place.parent / ".gitignore", place.parent]
        may_be_made = [root / ".gitignore", root / ".dvcignore", *beside]
        there = {path: _content(path) for path in [root, *_within(root), *may_be_made] if path.exists()}
        return cls(root, there, may_be_made, _indexed(root))

    def restore(self) -> None:
        """Leave nothing in the folder but what was there; nothing of the folder where it was not."""
        if not self.root.is_dir():
            return
        added = _indexed(self.root) - self.in_index
        made = [self.root] if self.root not in self.there else [*_within(self.root), *self.may_be_made]
        for path in made:
            if path in self.there:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        for path, content in self.there.items():
            if content is not None and path.name in LINES_ADDED:
                path.write_bytes(content)
        if added:  # `dvc init` adds its files to the next commit
            folder = next(path for path in (self.root, *self.root.parents) if path.is_dir())
            names = [os.path.relpath(self.root / name, folder) for name in sorted(added)]
            git.attempt(folder, "rm", "--cached", "-f", "--quiet", "--", *names, GIT_LITERAL_PATHSPECS="1")


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() and path.name in LINES_ADDED else None


def _within(root: Path) -> list[Path]:
    return [*root.iterdir()] if root.is_dir() else []


def _indexed(root: Path) -> frozenset[str]:
    """The files in git's index beneath the folder; none where there is no repository, or no git."""
    with contextlib.suppress(OSError):
        return frozenset(filter(None, git.attempt(root, "ls-files", "-z").stdout.split("\0")))
    return frozenset()


def _refuse(root: Path, data: Path | None) -> None:
    there = [name for name in ("params.yaml", "dvc.yaml", "dvc.lock") if (root / name).exists()]
    if there:
        raise ValueError(
            f"{root} has {', '.join(there)}: it is a project already. To change what was proposed, edit"
            " params.yaml there, such as ingest.columns.text and ingest.columns.label, and look at it with"
            " `winnow check`. For other data, or another task, name another folder."
        )
    if root.exists() and not root.is_dir():
        raise ValueError(f"{root} is a file. Name a folder, which is made where it is not there.")
    if holds_code(root):
        raise ValueError(f"{root} is Winnow's own folder. Name another one.")
    if data is None:
        return
    refuse_missing(data)
    try:
        PATHS.validate_python(_place(root, data))
    except ValidationError:
        raise ValueError(
            f"--data is '{data}', whose name has a character that a shell would read as a command. Allowed: any but"
            " ; | & $ ` < >. Rename it, or give a folder that holds it."
        ) from None
    target = root / _place(root, data)
    if target != data and target.exists():
        raise ValueError(f"{target} is there already, and the copy of --data would stand in its place. Move it away.")
    if root.resolve().is_relative_to(data.resolve()):
        raise ValueError(
            f"--data is '{data}', which the project's folder is in. Name a folder of data alone, or a file."
        )
    refuse_links(data)


def _repositories(root: Path, tell: Callable[[str], object]) -> None:
    """Make the folder a repository of DVC, in the git repository around it, or else in one of its own."""
    if git.attempt(root, "rev-parse", "--is-inside-work-tree").stdout.strip() != "true":
        if git.in_repository(root):  # which git refuses, as that of somebody else, say
            git.read(root, "rev-parse", "--is-inside-work-tree")
        git.read(root, "init", "--quiet", "--initial-branch=main")
        tell("a git repository, as there was none around it")
    if not (root / ".dvc").is_dir():
        within = ["--subdir"] if git.prefix(root) else []
        command.read(root, "init", *within)
    config = root / ".dvc/config"
    if config.is_file() and not config.read_text(encoding="utf-8").strip():  # a new one: three starts of DVC are saved
        lines = ["[core]", *(f"    {name} = {value}" for name, value in DVC_CORE.items())]
        config.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return
    for name, value in DVC_CORE.items():
        command.read(root, "config", "--quiet", f"core.{name}", value)


def _values(root: Path, task: str, settings: TaskSettings, data: Path | None, guess: Guess | None) -> Mapping[str, Any]:
    """The parameters in which the project differs from Winnow's own."""
    values: dict[str, Any] = {"task.name": task, "task.measure": settings.measures[0], **settings.starts}
    if data is None:
        values |= settings.corpus
        values["ingest.path"] = (LINK / values.get("ingest.path", PINS)).as_posix()
    else:
        values |= {"ingest.source": "files", "ingest.path": _place(root, data)}
        values |= {"ingest.docstrings.held_out_rows_per_library": 0}
    return values | (guess.values if guess else {})


def _place(root: Path, data: Path) -> str:
    """Where the data is to lie, from the project's folder: where it is, if that is within it."""
    return (data.relative_to(root) if data.is_relative_to(root) else Path(DATA, data.name)).as_posix()


def _write(root: Path, settings: TaskSettings, values: Mapping[str, Any], tell: Callable[[str], object]) -> None:
    shutil.copyfile(OURS / "params.yaml", root / "params.yaml")
    set_values(root / "params.yaml", values)
    tell(f"params.yaml: every value that can change a result, as {_origin()} but for these {len(values)}:")
    for name, value in values.items():
        tell(f"  {name}: {_shown(value)}")
    (root / "dvc.yaml").write_text(graph_of(settings, values["task.measure"]), encoding="utf-8")
    tell("dvc.yaml: the graph, which is Winnow's own")
    for name, more in ((".gitignore", [IGNORED]), (".dvcignore", [])):
        have = (root / name).read_text(encoding="utf-8").splitlines() if (root / name).is_file() else []
        ours = [line for line in (OURS / name).read_text(encoding="utf-8").splitlines() if line not in have]
        lines = [*have, *ours, *(line for line in more if line not in have)]
        (root / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    released = Paths(root).released_data
    released.parent.mkdir(exist_ok=True)
    if not released.exists():
        released.write_text("{}\n", encoding="utf-8")  # nothing yet


def _shown(value: Any) -> str:
    """A value as a line of params.yaml has it, cut where it is long."""
    line = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and _reads_as_itself(value):
        line = value
    return line if len(line) <= SHOWN_CHARS else f"{line[: SHOWN_CHARS - 3]}..."


def _reads_as_itself(text: str) -> bool:
    """Whether the text without quotes is no other value in YAML, such as null or 12."""
    with contextlib.suppress(ValueError):
        return parse(text, "a value") == text
    return False


def _origin() -> str:
    """Where the other values are from; somebody may have made Winnow's own folder a project of theirs."""
    is_changed = git.attempt(OURS, "diff", "--quiet", "HEAD", "--", "params.yaml").returncode == 1
    return f"in {OURS / 'params.yaml'}, which somebody changed," if is_changed else "Winnow's own"


def _keep(root: Path, data: Path, tell: Callable[[str], object]) -> None:
    """Bring the data into the project, and have DVC keep it."""
    place = _place(root, data)
    target = root / place
    if target != data:
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if data.is_dir() else shutil.copyfile)(data, target)
    command.read(root, "add", "--", place)
    tell(f"{place}: a copy of your data, kept by DVC ({place}.dvc is for git)")


def graph_of(settings: TaskSettings, measure: str, own: Path = OURS) -> str:
    """dvc.yaml of a project of the task, whose task.measure is `measure`.

    It is Winnow's own, with its code behind the link, and with the plots that the task has.
    """
    text = (own / "dvc.yaml").read_text(encoding="utf-8")
    head, mark, plots = text.partition(PLOTS)
    head = re.sub(r"^(\s+(?:-|runner:|family:) )stages/", rf"\g<1>{LINK.as_posix()}/stages/", head, flags=re.MULTILINE)
    kept = "".join(_plots(plots.splitlines(keepends=True), settings, measure))
    return f"{head}{mark}{kept}"


def renew_parameters(root: Path) -> list[str]:
    """Add to the project's params.yaml the parameters of this Winnow's that it lacks, with its values; their names.

    Raises ValueError for Winnow's own folder.
    """
    _refuse_own(root)
    return add_missing(root / "params.yaml", code_of(root) / "params.yaml")


def renew_graph(root: Path, settings: TaskSettings) -> bool:
    """Write the stages of the project's dvc.yaml as this Winnow has them; its plots stay. Returns whether it changed.

    Raises ValueError for Winnow's own folder.
    """
    _refuse_own(root)
    path = root / "dvc.yaml"
    before = path.read_text(encoding="utf-8")
    path.write_text(_renewed(before, settings, code_of(root)), encoding="utf-8")
    return path.read_text(encoding="utf-8") != before


def _refuse_own(root: Path) -> None:
    if holds_code(root):
        raise ValueError(f"{root} is Winnow's own folder, whose graph `make deps` writes.")


def is_current(root: Path, settings: TaskSettings) -> bool:
    """Whether the stages of the project's dvc.yaml are those of its code; a graph of one's own is."""
    code, text = code_of(root), (root / "dvc.yaml").read_text(encoding="utf-8")
    if code == root or f"{LINK.as_posix()}/" not in text:
        return True
    return _renewed(text, settings, code) == text


def _renewed(text: str, settings: TaskSettings, code: Path) -> str:
    stages, mark, plots = graph_of(settings, settings.measures[0], code).partition(PLOTS)
    own = text.partition(PLOTS)[2] if PLOTS in text else plots
    return f"{stages}{mark}{own}"


def _plots(lines: Sequence[str], settings: TaskSettings, measure: str) -> Iterator[str]:
    """The plots of a task: those that it has the tables for, and in the place of Winnow's own measures `measure`."""
    names = [name for name, _ in _blocks(lines)]
    ours = [name.removeprefix(VALIDATION) for name in names if name.startswith(VALIDATION)]
    of_tables = {kind for task in TASKS for kind in plugins.part(TASKS, task, "settings", key="--task").plots}
    for name, block in _blocks(lines):
        kind = name.partition("-")[0]
        if kind in of_tables - settings.plots:
            continue
        if not name.startswith(VALIDATION):
            yield block
        elif name == f"{VALIDATION}{ours[0]}":
            yield _of_measure(block, ours[0], measure)


def _blocks(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each plot with its lines."""
    starts = [at for at, line in enumerate(lines) if line.startswith("  - ")]
    for at, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield lines[at].strip(" -:\n"), "".join(lines[at:end])


def _of_measure(block: str, ours: str, measure: str) -> str:
    """The plot of the measure `ours` for another one: its titles, its name and its files."""
    new = measure.replace("_", "-")
    for form in (_title, _in_words, str):
        block = block.replace(form(ours), form(new))
    return block.replace(ours.replace("-", "_"), measure)


def _in_words(name: str) -> str:
    return name.replace("-f1", "-F1")


def _title(name: str) -> str:
    return _in_words(name.capitalize())
