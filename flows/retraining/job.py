"""One retraining: the record passed between the parts of the flow `retrain`, the retries of its network tasks, its end.

Annotations are objects here: Prefect sends the flow to another process, where the names of its types are not known.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun
from prefect.states import Completed, State

from flows.releases.releases import Release
from flows.running import git
from flows.running.processes import Children
from stages.core.params.file import Params, load_params

Approval = Literal["by hand", "when the gate passes"]
RETRY_SECONDS = [5, 30, 120]
PASSES = re.compile(
    r"time(d )?[ -]?out|could(n't| not) (resolve|connect)|connection|unreachable|temporar|reset by peer|hung up"
    r"|early eof|slow ?down|\b(429|500|502|503|504)\b",
    re.IGNORECASE,
)


class StopError(Exception):
    """The end of the run, with its state."""

    def __init__(self, state: State) -> None:
        super().__init__(state.message)
        self.state = state


def passes_by_itself(_task: Any, _run: TaskRun, state: State) -> bool:
    """Whether another attempt may succeed: networks recover, permissions and bad data do not."""
    try:
        state.result()
    except Exception as error:
        return bool(PASSES.search(str(error)))
    return False


NETWORK: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": len(RETRY_SECONDS),
    "retry_delay_seconds": RETRY_SECONDS,
    "retry_condition_fn": passes_by_itself,
}


@dataclass(frozen=True)
class Job:
    """One retraining: its clone, its worktree, and the commit it starts from."""

    root: Path
    worktree: Path
    start: str
    released: Release | None
    children: Children
    log: Callable[[str], None]

    @property
    def params(self) -> Params:
        try:
            return load_params(self.worktree / "params.yaml")
        except ValueError as error:
            schema = ":(top)stages/core/params"  # Winnow's, where the project is in its repository
            if git.attempt(self.root, "diff", "--quiet", "HEAD", self.start, "--", schema).returncode == 0:
                raise
            raise ValueError(f"{error}\nThis clone's code is not that of {self.start[:7]}: `git pull`.") from None


def skipped(reason: str) -> State:
    """The end of a run that had nothing to do."""
    return Completed(name="Skipped", message=reason)
