"""The one place that runs DVC: always its command line in a child process, never its Python interface.

Threads of one process do not exclude each other in DVC, and a `dvc repro` that gets SIGTERM leaves its stage
running. So every stage is a child in a process group of its own, and the group ends as one.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
import selectors
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from flows.dvc.mending import mend
from flows.running.masking import masked, masked_start
from flows.running.processes import Children, ending_signals_raise
from flows.running.root import clone_of, own_folder
from stages.core.yaml_text import parse

LINE_LIMIT = 2000  # characters of one line that go on; a log is not the place for more
PENDING_LIMIT = 1 << 20  # bytes of a line that are held until it ends

Graph = dict[str, tuple[str, ...]]
State = Literal["ran", "unchanged", "restored"]


class DvcError(RuntimeError):
    """DVC, or a stage that it ran, failed; the message is theirs."""


@dataclass(frozen=True)
class Outcome:
    """What `reproduce` did with a stage, and DVC's reason."""

    stage: str
    state: State
    reason: str


@dataclass(frozen=True)
class Plan:
    """The graph, and the reasons of each stage that would run; both in topological order."""

    graph: Graph = field(repr=False)
    reasons: dict[str, tuple[str, ...]]


def graph(root: Path) -> Graph:
    """Each stage with the stages that it follows: in topological order, and else in that of dvc.yaml."""
    return _graph(read(root, "dag", "--dot"))


def _graph(dot: str) -> Graph:
    names: list[str] = []
    upstream: dict[str, list[str]] = {}
    for line in dot.splitlines():
        if edge := re.fullmatch(r'"(.+)" -> "(.+)";', line):
            upstream[edge[2]].append(edge[1])
        elif node := re.fullmatch(r'"(.+)";', line):
            names.append(node[1])
            upstream[node[1]] = []
    ordered: Graph = {}
    while len(ordered) < len(names):
        ready = next(n for n in names if n not in ordered and all(up in ordered for up in upstream[n]))
        ordered[ready] = tuple(sorted(upstream[ready], key=names.index))
    return ordered


def _status(root: Path, said: str) -> dict[str, tuple[str, ...]]:
    """The stages that are not up to date by themselves, each with the reasons in plain words."""
    locked = lock_of(root).get("stages", {})
    return {stage: tuple(_reasons(root, locked.get(stage), changes)) for stage, changes in json.loads(said).items()}


def stale(root: Path) -> tuple[str, ...]:
    """The stages whose entry in dvc.lock is not of this code, these parameters and this data.

    Outs that are not here count as what dvc.lock says they are, so that a clone without the data can be checked.
    """
    mend(root)
    # With the run cache, a dry run takes what it would bring back for granted, and then misses it.
    command = ["--wait-for-lock", "repro", "--dry", "--allow-missing", "--no-run-cache", "--keep-going"]
    done = _attempt(root, *command)
    # A stage that would run, but whose inputs are not here, fails even in a dry run.
    missed = r"^ERROR: failed to reproduce (?:stages: )?(.+)$" if "No such file" in done.stderr else r"(?!)"
    failed = re.findall(r"'([^']+)'", " ".join(re.findall(missed, done.stderr, re.MULTILINE)))
    if done.returncode != 0 and not failed:
        raise _error(command, done)
    return (*re.findall(r"^Running stage '(.+?)':$", done.stdout, re.MULTILINE), *failed)


def plan(root: Path, stages: Sequence[str] = ()) -> Plan:
    """What `reproduce` would run, and why: stages that changed, and those that follow ("after finetune").

    With `stages`, of these and all before them; a foreach stage's name stands for all of its stages. A stage that
    follows is skipped in the end where the outs before it come out as they were. Raises DvcError for a stage that
    dvc.yaml does not have.
    """
    mend(root)
    order, changed = _graph_and_status(root)
    if stages:
        order = _up_to(order, stages)
    reasons: dict[str, tuple[str, ...]] = {}
    for stage, upstream in order.items():
        after = [up for up in upstream if up in reasons]
        why = (*changed.get(stage, ()), *([f"after {', '.join(after)}"] if after else []))
        if why:
            reasons[stage] = why
    return Plan(order, reasons)


def _graph_and_status(root: Path) -> tuple[Graph, dict[str, tuple[str, ...]]]:
    """Both from one child: of what each takes alone, half is DVC's start."""
    script = "import sys; from dvc.cli import main; code = main(['dag', '--dot']); print(chr(0), flush=True); "
    script += "sys.exit(code or main(['--wait-for-lock', 'status', '--json']))"
    done = _run(root, [sys.executable, "-P", "-c", script])
    if done.returncode != 0:
        raise _error(["status"], done)
    dot, _, said = done.stdout.partition("\0")
    return _graph(dot), _status(root, said)


def _up_to(order: Graph, stages: Sequence[str]) -> Graph:
    kept: set[str] = set()
    for name in stages:
        named = {stage for stage in order if name in (stage, stage.partition("@")[0])}
        if not named:
            close = difflib.get_close_matches(name, order, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise DvcError(f"dvc.yaml has no stage '{name}'. Allowed: {', '.join(order)}.{hint}")
        kept |= named
    for stage in reversed(order):
        if stage in kept:
            kept.update(order[stage])
    return {stage: upstream for stage, upstream in order.items() if stage in kept}


def forced(order: Graph, stages: Sequence[str]) -> set[str]:
    """The stages that `--force` is about: the named ones, or all."""
    return {stage for stage in order if not stages or stage in stages or stage.partition("@")[0] in stages}


def definitions(root: Path) -> dict[str, Any]:
    """What dvc.yaml says of each stage, before templates and loops are resolved."""
    return _yaml(root / "dvc.yaml").get("stages") or {}


def cores_wanted(root: Path) -> dict[str, int]:
    """The stages that do not use the whole machine, with the cores that they use: `meta: {cores: 1}` in dvc.yaml."""
    wanted: dict[str, int] = {}
    for name, definition in definitions(root).items():
        loop = definition.get("foreach") or definition.get("matrix")
        count = ((definition.get("do") or definition).get("meta") or {}).get("cores")
        if isinstance(count, int):
            items = loop if isinstance(loop, list | dict) else []
            wanted |= {name: count} | {f"{name}@{item}": count for item in items}
    return wanted


def _reasons(root: Path, locked: dict[str, Any] | None, changes: Iterable[Any]) -> Iterator[str]:
    if locked is None:
        yield "it has never run"
        return
    for change in changes:
        if change == "changed command":
            yield f"its command changed (it was: {locked.get('cmd')})"
        elif isinstance(change, str):
            yield change
        else:
            for path, state in change.get("changed deps", {}).items():
                yield from _dependency(root, locked, path, state)
            for path, state in change.get("changed outs", {}).items():
                yield f"{path} {_OUT_WORDS.get(state, f'is {state}')}"


_OUT_WORDS = {
    "modified": "is not what the stage wrote",
    "deleted": "is missing",
    "new": "is a new out",
    "not in cache": "is not in DVC's cache",
}
_DEPENDENCY_WORDS = {"modified": "changed", "deleted": "is missing", "new": "is a new dependency"}


def _dependency(root: Path, locked: dict[str, Any], path: str, state: str | dict[str, str]) -> Iterator[str]:
    if isinstance(state, str):
        yield f"{path} {_DEPENDENCY_WORDS.get(state, f'is {state}')}"
        return
    before, now = locked.get("params", {}).get(path, {}), _parameters(root / path)
    for key, how in state.items():
        if how == "modified":
            differences = list(_differences(key, before.get(key), _value(now, key)))
            yield from differences or [f"{key} changed"]
        else:
            yield f"{key} {'is no longer in ' + path if how == 'deleted' else 'is a new parameter'}"


def changed_parameters(root: Path, locked: dict[str, Any]) -> Iterator[str]:
    """The parameters of a stage, by its entry in dvc.lock, that have another value here: "finetune.epochs: 3 -> 4"."""
    for path, values in (locked.get("params") or {}).items():
        now = _parameters(root / path)
        for key, before in values.items():
            yield from _differences(key, before, _value(now, key))


def _differences(key: str, before: Any, now: Any) -> Iterator[str]:
    """The values below `key` that differ, as "finetune.epochs: 3 -> 4"."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*now, *before]):
            yield from _differences(f"{key}.{name}", before.get(name), now.get(name))
    elif before != now:
        yield f"{key}: {_shown(before)} -> {_shown(now)}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _value(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


def _parameters(path: Path) -> dict[str, Any]:
    return _yaml(path) if path.suffix in {".yaml", ".yml", ".json"} else {}


def lock_of(root: Path) -> dict[str, Any]:
    """What dvc.lock says; empty where there is none."""
    return _yaml(root / "dvc.lock")


def locked_stages(root: Path) -> dict[str, dict[str, Any]]:
    """The stages of dvc.lock that dvc.yaml has; DVC leaves those that it has no more in dvc.lock for ever."""
    defined = definitions(root)

    def is_there(address: str) -> bool:
        name, _, item = address.partition("@")
        return name in defined and bool(item) == bool({"do", "matrix"} & defined[name].keys())

    return {address: stage for address, stage in (lock_of(root).get("stages") or {}).items() if is_there(address)}


def _yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return parse(path.read_text(encoding="utf-8"), path.name) or {}
    except ValueError as error:
        raise DvcError(f"{error} Restore it with git.") from None


def reproduce(
    ready: Ready,
    stage: str,
    on_line: Callable[[str], object],
    *,
    force: bool = False,
    on_bar: Callable[[str], object] | None = None,
) -> Outcome:
    """Bring one stage up to date; what comes before it must be so already. By `force` it runs in any case.

    `on_line` gets what DVC and the stage print, a line at a time, in this thread; `on_bar` the states of a progress
    bar. Raises DvcError with their own words where the stage fails, and EndedError where the children were ended.
    Where this thread is interrupted, all that the child started is ended.
    """
    outcome: Outcome | None = None
    tail: deque[str] = deque(maxlen=50)
    mend(ready.root)
    command = ["dvc", "--wait-for-lock", "repro", "--single-item", *(["--force"] if force else []), "--", stage]
    with ending_signals_raise(), ready.children.until_left(ready.take()) as process:
        _order(process, command)
        for line in _lines(process, on_bar):
            # DVC speaks first: what the stage prints later cannot change what is said here.
            outcome = outcome or _outcome(stage, line)
            tail.append(line)
            if not line.strip().startswith(_ADVICE):
                on_line(line)
        code = process.wait()
    if code != 0:
        raise DvcError(_failure(stage, list(tail), code))
    if outcome is None:
        raise DvcError(f"{stage}: DVC did not say what it did. Its last line: {tail[-1] if tail else 'none'}")
    return outcome


class Ready:
    """Children of DVC's that are started, and have loaded all, before it is known what they are to do: half their time.

    When one is taken, the next gets ready, as long as there are `uses`.
    """

    def __init__(self, root: Path, children: Children, *, uses: int) -> None:
        self.root, self.children, self._uses = root, children, uses
        # What is cut off in a worktree, which then goes, shall go on in the next.
        kept = own_folder(clone_of(root)) / "checkpoints"
        self._environment = _environment() | {"WINNOW_PROGRESS": "1", "WINNOW_CHECKPOINTS": str(kept)}
        self._lock = threading.Lock()
        self._next = self._start() if uses else None

    def take(self) -> subprocess.Popen[bytes]:
        """One that waits for its order."""
        with self._lock:
            taken, self._next = self._next or self._start(), None
            self._uses -= 1
            if self._uses > 0:
                self._next = self._start()
        return taken

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-c", _LOADED]
        return self.children.start(command, self.root, self._environment, stdin=subprocess.PIPE)

    def __enter__(self) -> Ready:
        return self

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            left, self._next, self._uses = self._next, None, 0
        if left is not None:
            with self.children.until_left(left):
                _order(left, [])


_LOADED = """
import json, sys
import dvc.cli, dvc.commands.repro, dvc.repo.reproduce, dvc.output, dvc.stage.run, dvc.stage.cache
sys.argv = json.loads(sys.stdin.readline() or "[]")
sys.exit(dvc.cli.main(sys.argv[1:]) if sys.argv else 0)
"""


def _order(process: subprocess.Popen[bytes], command: list[str]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as line:  # one that died says so by its exit code
        line.write(f"{json.dumps(command)}\n".encode())


_ADVICE = (  # of DVC's to somebody who sits before a terminal
    "Updating lock file", "To track the changes with git", "git add ", "To enable auto staging",
    "dvc config core.autostage", "Use `dvc push`",
)  # fmt: skip
_DVC = [sys.executable, "-P", "-m", "dvc"]  # -P: no file of the project can stand in for a module of DVC's


def stream(root: Path, arguments: list[str], on_line: Callable[[str], object], children: Children) -> None:
    """Run a DVC command that takes long; `on_line` gets what it prints. Raises DvcError with DVC's words."""
    _stream(root, [*_DVC, "--wait-for-lock", *arguments], f"dvc {arguments[0]}", on_line, children)


def run_module(
    root: Path, module: str, arguments: Sequence[str], on_line: Callable[[str], object], children: Children
) -> None:
    """Run a module of the project by itself, as stages run, of which DVC keeps nothing.

    Raises DvcError with its last line.
    """
    _stream(root, [sys.executable, "-m", module, *arguments], module, on_line, children)


def _stream(root: Path, command: list[str], name: str, on_line: Callable[[str], object], children: Children) -> None:
    tail: deque[str] = deque(maxlen=20)
    with (
        ending_signals_raise(),
        children.until_left(children.start(command, root, _environment())) as process,
    ):
        for line in _lines(process, None):
            tail.append(line)
            on_line(line)
        code = process.wait()
    if code != 0:
        raise DvcError(f"{name}: {_causes(tail) or (tail[-1] if tail else f'exit code {code}')}")


def _causes(lines: Iterable[str]) -> str:
    """DVC's errors in one line: why the first file failed stands for all files, and what DVC gave up at for all."""
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    transfers = [re.sub(r"'.*?' - ", "a file: ", error, count=1) for error in errors if error.startswith(_TRANSFER)]
    unexpected = [error.removeprefix(_UNEXPECTED) for error in errors if error.startswith(_UNEXPECTED)]
    others = [error for error in errors if not error.startswith((_TRANSFER, _UNEXPECTED))]
    return "; ".join(unexpected or [*transfers[:1], *others])


_TRANSFER, _UNEXPECTED = "failed to transfer ", "unexpected error - "


def _outcome(stage: str, line: str) -> Outcome | None:
    """What one line of DVC's says about `stage`; the texts are those of DVC 3."""
    if line in (f"Stage '{stage}' didn't change, skipping", f"'{stage}' didn't change, skipping"):
        return Outcome(stage, "unchanged", "nothing that it depends on has changed")
    if line == f"Stage '{stage}' is cached - skipping run, checking out outputs":
        return Outcome(stage, "restored", "the same inputs have run before: its outs come from DVC's cache")
    if line == f"Running stage '{stage}':" or line.startswith("Verifying data sources in stage: "):
        return Outcome(stage, "ran", "it ran")
    return None


_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def _lines(process: subprocess.Popen[bytes], on_bar: Callable[[str], object] | None) -> Iterator[str]:
    """What the child prints, a line at a time; of a progress bar only its last state, the others go to `on_bar`."""
    assert process.stdout is not None
    pending = b""
    selector = selectors.DefaultSelector()
    selector.register(process.stdout, selectors.EVENT_READ)
    while True:
        if selector.select(timeout=1.0):
            chunk = os.read(process.stdout.fileno(), 65_536)
            if not chunk:
                break
            *complete, pending = (pending + chunk).split(b"\n")
            yield from filter(None, map(_shortened, complete))
            if b"\r" in pending[:-1]:  # a bar under way: what it showed before is gone
                pending = pending[pending.rindex(b"\r", 0, -1) :]
            pending = pending[:PENDING_LIMIT]
            if on_bar and b"\r" in pending and (bar := _shortened(pending)):
                on_bar(bar)
        elif process.poll() is not None:
            break  # it ended, and something that it left behind still holds its output
    selector.close()
    if last := _shortened(pending):
        yield last


def _shortened(raw: bytes) -> str:
    shown = raw.decode("utf-8", errors="replace").rstrip("\r").rsplit("\r", 1)[-1]
    return masked_start(_ANSI.sub("", shown).rstrip(), LINE_LIMIT)


def _failure(stage: str, lines: list[str], code: int) -> str:
    """The lines that matter: the stage's own ("clean: ..."), else the last it said; then DVC's."""
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    name = stage.rpartition(":")[2]
    own = [line for line in lines if line.startswith((f"{name}: ", f"{name.partition('@')[0]}: "))]
    if not own:
        said = [line for line in lines if not line.startswith(("ERROR: ", "Running stage ", "> "))]
        own = said[-1:] if errors and any("failed to run" in error for error in errors) else []
    dvc = "; ".join(errors) or f"dvc repro {stage} ended with exit code {code}: {lines[-1] if lines else 'no output'}"
    if re.search(r"exited with -9\b|exited with 137\b", dvc):
        dvc += " (killed; out of memory, perhaps)"
    return "\n".join([*own[-10:], dvc])


def read(root: Path, *arguments: str) -> str:
    """What a DVC command that only reads prints. Raises DvcError with its message where it fails."""
    done = _attempt(root, *arguments)
    if done.returncode != 0:
        raise _error(arguments, done)
    return done.stdout


def _attempt(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return _run(root, [*_DVC, *arguments])


def _run(root: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=root, env=_environment(), capture_output=True, text=True, check=False)


def _error(arguments: Sequence[str], done: subprocess.CompletedProcess[str]) -> DvcError:
    said = [line.removeprefix("ERROR: ").strip() for line in done.stderr.splitlines() if line.strip()]
    name = next(argument for argument in arguments if not argument.startswith("-"))
    return DvcError(masked(f"dvc {name}: {' '.join(said) or f'exit code {done.returncode}'}"))


def _environment() -> dict[str, str]:
    """The child's: this Python first on PATH, lines as they are printed, and the same shell on every host."""
    folder = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": os.pathsep.join([folder, os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        "DVC_NO_ANALYTICS": "1",
        "SHELL": "/bin/sh",
    }
