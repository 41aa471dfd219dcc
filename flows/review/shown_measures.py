"""The measures of the project's task as its table shows them: names, titles and units, without what computes them.

A task's measures load scikit-learn, which takes a second. So what is shown of them is kept in the clone's own folder,
with a hash of the code that it is from, and holds until that changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flows.review.task import params_of, task_measures, task_of
from flows.running.root import own_folder
from stages import tasks
from stages.core.files import read_json, write_json
from stages.tasks import TASKS

if TYPE_CHECKING:
    from stages.tasks.contract import Better, Unit

CODE = Path(tasks.__file__).parent  # of all tasks, and of what they share


class Shown(NamedTuple):
    """A measure without its function; the meaning of each value stands in `stages.tasks.contract.Measure`."""

    name: str
    title: str
    unit: Unit
    better: Better
    binary: bool


class ShownTask(NamedTuple):
    """What a class of the task is called, and its measures, that which is judged last."""

    kind: str
    measures: tuple[Shown, ...]


def shown_task(root: Path) -> ShownTask:
    """The measures of the task of the project at `root`, the one that is judged last: its interval stands beside it."""
    params = params_of(root)
    section = params.get("task")
    judged = section.get("measure") if isinstance(section, dict) else None
    task = _of_task(root, task_of(params))
    return task._replace(measures=tuple(sorted(task.measures, key=lambda one: one.name != judged))[::-1])


def _of_task(root: Path, name: str) -> ShownTask:
    kept, code = own_folder(root) / f"measures-{name}.json", _hash_of_code(name)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        content = read_json(kept)
        if content["code"] == code:
            return ShownTask(content["kind"], tuple(Shown(**one) for one in content["measures"]))
    task = task_measures(name)
    shown = tuple(Shown(one.name, one.title, one.unit, one.better, one.binary) for one in task.measures)
    if (root / ".dvc").is_dir():  # to make its folder elsewhere would hide that there is none
        content = {"code": code, "kind": task.kind, "measures": [one._asdict() for one in shown]}
        with contextlib.suppress(OSError):  # a full disk, say: nothing hangs on it
            write_json(kept, content)
    return ShownTask(task.kind, shown)


def _hash_of_code(name: str) -> str:
    """The hash of the code of all tasks, and of this one where it lies elsewhere."""
    digest = hashlib.sha256()
    for file in sorted({*CODE.rglob("*.py"), *_own_code(name)}):
        digest.update(f"{file}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _own_code(name: str) -> Iterator[Path]:
    found = importlib.util.find_spec(TASKS[name])
    for folder in (found and found.submodule_search_locations) or ():
        yield from Path(folder).rglob("*.py")
