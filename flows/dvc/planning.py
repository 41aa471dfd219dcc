"""The graph of stages, and the stages in it that would run."""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flows.dvc import differences
from flows.dvc.command import DvcError, attempt, error_of, read, run
from flows.dvc.differences import NEVER, reasons_of
from flows.dvc.locked import lock_of
from flows.dvc.mending import mend
from flows.running.masking import masked

Graph = dict[str, tuple[str, ...]]
AFTER = "after "  # how a reason begins that is a mere consequence of other stages
NOT_HERE = (" is missing", " is not in DVC's cache")  # how one ends that is about a file that is not here
STOPPED = "stopped. What had ended is kept; `winnow reproduce` goes on, a training from its last checkpoint."
UP_TO_DATE = "every stage was up to date"  # the message of a run that had nothing to do


@dataclass(frozen=True)
class Plan:
    """The graph, and the reasons of each stage that would run; both in topological order."""

    graph: Graph = field(repr=False)
    reasons: dict[str, tuple[str, ...]]


def is_data(name: str) -> bool:
    """Whether it is data that DVC keeps: it is in the graph, and is no stage."""
    return name.endswith(".dvc")


def own_reasons(why: Iterable[str]) -> list[str]:
    """The reasons of a stage without those that only follow from other stages."""
    return [reason for reason in why if not reason.startswith(AFTER)]


def changes(why: Iterable[str]) -> list[str]:
    """Those of them that say what changed: neither that the stage is new, nor that a file is not here."""
    return [reason for reason in own_reasons(why) if reason != NEVER and not reason.endswith(NOT_HERE)]


def in_short(plan: Plan) -> str:
    """What changed, for the name of a run: "seed 20 -> 21, stages/prune.py changed and 2 more"."""
    own = list(dict.fromkeys(reason for why in plan.reasons.values() for reason in own_reasons(why)))
    changed = [reason.replace(": ", " ", 1) for reason in changes(own)]
    if not changed:
        return "nothing changed" if not own else "first run" if NEVER in own else "files missing"
    return masked(differences.in_short(changed))


def graph(root: Path) -> Graph:
    """Each stage with the stages that it follows; in topological order, and otherwise in the order of dvc.yaml."""
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
    """The stages that are not up to date by themselves, each with its reasons in plain words."""
    locked = lock_of(root).get("stages", {})
    return {stage: tuple(reasons_of(root, locked.get(stage), changes)) for stage, changes in json.loads(said).items()}


def stale(root: Path) -> tuple[str, ...]:
    """The stages whose entry in dvc.lock belongs to other code, parameters or data than the present ones.

    Missing outs count as unchanged since dvc.lock, so that a clone without the data can be checked.
    """
    mend(root)
    # With the run cache, a dry run takes what it would bring back for granted, and then misses it.
    command = ["--wait-for-lock", "repro", "--dry", "--allow-missing", "--no-run-cache", "--keep-going"]
    done = attempt(root, *command)
    # A stage that would run, but whose inputs are not here, fails even in a dry run.
    missed = r"^ERROR: failed to reproduce (?:stages: )?(.+)$" if "No such file" in done.stderr else r"(?!)"
    failed = re.findall(r"'([^']+)'", " ".join(re.findall(missed, done.stderr, re.MULTILINE)))
    if done.returncode != 0 and not failed:
        raise error_of(command, done)
    return (*re.findall(r"^Running stage '(.+?)':$", done.stdout, re.MULTILINE), *failed)


def plan(root: Path, stages: Sequence[str] = ()) -> Plan:
    """The stages that `reproduce` would run, and why: those that changed, and those that follow ("after finetune").

    With `stages`, only these and all before them; a foreach stage's name stands for all of its stages. A stage that
    follows is skipped in the end where the outs before it are unchanged. Raises DvcError for a stage that dvc.yaml does
    not have.
    """
    mend(root)
    order, changed = _graph_and_status(root)
    if stages:
        order = _up_to(order, stages)
    reasons: dict[str, tuple[str, ...]] = {}
    for stage, upstream in order.items():
        after = [up for up in upstream if up in reasons]
        why = (*changed.get(stage, ()), *([f"{AFTER}{', '.join(after)}"] if after else []))
        if why:
            reasons[stage] = why
    return Plan(order, reasons)


def _graph_and_status(root: Path) -> tuple[Graph, dict[str, tuple[str, ...]]]:
    """The graph and the status, both from one child process: half the time of either alone is DVC's start-up."""
    script = "import sys; from dvc.cli import main; code = main(['dag', '--dot']); print(chr(0), flush=True); "
    script += "sys.exit(code or main(['--wait-for-lock', 'status', '--json']))"
    done = run(root, [sys.executable, "-P", "-c", script])
    if done.returncode != 0:
        raise error_of(["status"], done)
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
