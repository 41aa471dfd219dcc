"""The newest data, brought into a worktree: a new revision on the Hub, an import's source, files changed here."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from flows.dvc import storage
from flows.dvc.edits import set_values
from flows.retraining.proposals import GATE
from flows.running import git
from flows.running.processes import Children
from stages.core.params.file import Params
from stages.core.yaml_text import parse
from stages.reading.links import refuse_link, refuse_links

Log = Callable[[str], object]
LITERAL = {"GIT_LITERAL_PATHSPECS": "1"}  # file names are no patterns, whatever they begin with


def refresh(root: Path, worktree: Path, start: str, params: Params, log: Log, children: Children) -> tuple[str, ...]:
    """Bring the data of the clone at `root`, or its source's, into `worktree`, which is at the commit `start`.

    Returns what is new, in words. Raises ValueError for data that neither git nor DVC keeps, as nobody could reproduce
    a proposal with it; for links among it; and for data that would undo what others have changed.
    """
    if params.ingest.source == "hub" and params.ingest.hub.dataset is not None:
        return tuple(_from_hub(worktree, params))
    if params.ingest.is_outside:
        return ()  # read where it lies; DVC sees whether it changed
    path = Path(params.ingest.path)
    refuse_link(path.parent, worktree)  # else what is brought would be written elsewhere
    if pointers := pointers_of(worktree, path):
        return tuple(news for pointer in pointers for news in _from_dvc(root, worktree, start, pointer, log, children))
    if git.attempt(worktree, "ls-files", "--error-unmatch", "--", str(path), **LITERAL).returncode != 0:
        raise ValueError(
            f"params.yaml: ingest.path is '{path}', which neither git nor DVC keeps, so nobody could reproduce a "
            f"proposal. Keep it: `dvc add {path}`, `git add {path}.dvc`, then commit."
        )
    return tuple(_from_checkout(root, worktree, start, path, log))


def pointers_of(worktree: Path, path: Path) -> tuple[Path, ...]:
    """The .dvc files, by paths from the project's folder, whose data is `path`, contains it, or lies in it."""
    for part in (path, *path.parents[:-1]):
        if (worktree / f"{part}.dvc").is_file():
            return (Path(f"{part}.dvc"),)
    return tuple(sorted(found.relative_to(worktree) for found in (worktree / path).rglob("*.dvc")))


def inputs_of(root: Path, params: Params) -> list[Path]:
    """The data, and a pretrained model in a folder, that the pipeline reads from the project at `root`."""
    model = Path(params.model.name)
    data = [] if params.ingest.is_outside else [Path(params.ingest.path)]
    is_folder = (root / model).is_dir() or bool(pointers_of(root, model))
    return [path for path in (*data, *([model] if is_folder else [])) if not path.is_absolute()]


def not_here(worktree: Path, inputs: Iterable[Path]) -> list[str]:
    """The .dvc files of those `inputs` that DVC keeps and that `worktree` does not have yet."""
    return [
        str(pointer)
        for path in inputs
        for pointer in pointers_of(worktree, path)
        if not (worktree / pointer.with_suffix("")).exists()
    ]


def _from_checkout(root: Path, worktree: Path, start: str, path: Path, log: Log) -> Iterator[str]:
    """Copy the clone's uncommitted changes to data in git; they are the news. Files that git ignores are no data."""
    ignored = git.read(
        root, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--", str(path), **LITERAL
    )
    if left := list(filter(None, ignored.split("\0"))):
        log(f"{', '.join(left[:3])}: git ignores {len(left)}, so they are no data. `git add --force` keeps one.")
    changed = git.attempt(
        root, "status", "--porcelain", "--untracked-files=all", "--", str(path), **LITERAL
    ).stdout.splitlines()
    if not changed or not (root / path).exists():
        return
    _refuse_merged(root, start, path, path, "`git pull`, then run again.")
    listed = git.read(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", str(path), **LITERAL)
    names = [name for name in listed.split("\0") if name]
    for name in names:
        refuse_link(Path(name), root)
    names = [name for name in names if (root / name).is_file()]
    storage.remove(worktree / path)
    for name in names:
        _copy(root, worktree, Path(name))
    # Files that git tracks in an ignored folder were added by force, so they are part of the proposal.
    git.read(
        worktree, "add", "--force", "--pathspec-from-file=-", "--pathspec-file-nul", text="\0".join(names), **LITERAL
    )
    yield f"{path}: {len(changed)} {'file' if len(changed) == 1 else 'files'} changed in the clone"


def _refuse_merged(root: Path, start: str, kept: Path, data: Path, remedy: str) -> None:
    """Raise ValueError where `kept`, which git keeps of the changed `data`, was changed by others up to `start`."""
    form = f"--format=%h %(trailers:key={GATE},valueonly,separator=)"
    since = git.read(root, "log", form, f"HEAD..{start}", "--", str(kept), **LITERAL).splitlines()
    if others := [line.split()[0] for line in since if len(line.split()) == 1]:  # the rest are proposals of ours
        raise ValueError(
            f"{data} has changes in this clone, and others were merged since ({', '.join(others[:3])}): neither is"
            f" taken over the other. {remedy}"
        )


def _from_dvc(root: Path, worktree: Path, start: str, pointer: Path, log: Log, children: Children) -> Iterator[str]:
    before = (worktree / pointer).read_bytes()
    data = pointer.with_suffix("")
    if _yaml(worktree / pointer).get("deps"):
        storage.update(worktree, str(pointer), log, children=children)
        if (worktree / pointer).read_bytes() != before:
            yield f"{data}: its source has other data"
        return
    changed = git.attempt(root, "status", "--porcelain", "--", str(pointer), **LITERAL).stdout.strip()
    if changed and (root / pointer).is_file():
        _copy(root, worktree, pointer)  # `dvc add` was done, and not committed
    refuse_links(data, root)  # `dvc add` follows them
    if (root / data).exists() and storage.changed_data(root, str(pointer)):
        _copy(root, worktree, data)
        storage.add(worktree, str(data), log, children=children)
        digest = _yaml(worktree / pointer)["outs"][0]["md5"]
        if git.read(root, "log", "--format=%h", "-n1", f"-S{digest}", "HEAD", "--", str(pointer), **LITERAL):
            raise ValueError(
                f"{data} is what {pointer} said in an earlier commit, so it is old rather than new. `dvc checkout"
                f" {pointer}` gets what it says now; to go back to the old data, `dvc add {data}` and commit."
            )
    if (worktree / pointer).read_bytes() != before:
        aside = (
            f"Set your rows aside, `git checkout -- {pointer}`, `git pull` and `dvc pull --force {pointer}`, add them"
            " again, then run again."
        )
        _refuse_merged(root, start, pointer, data, aside)
        yield f"{data}: changed in the clone"


def _from_hub(worktree: Path, params: Params) -> Iterator[str]:
    from huggingface_hub import HfApi

    hub = params.ingest.hub
    newest = HfApi().dataset_info(str(hub.dataset), timeout=30).sha
    if newest is None or newest == hub.revision:
        return
    set_values(worktree / "params.yaml", {"ingest.hub.revision": newest})
    yield f"{hub.dataset}: {str(hub.revision)[:7]} -> {newest[:7]} on the Hub"


def _copy(root: Path, worktree: Path, path: Path) -> None:
    """Make `path` in the worktree the same as in the clone at `root`; files that only the worktree has are removed.

    Raises ValueError for links among the copied files, and on the way to their destination.
    """
    refuse_links(path, root)
    refuse_link(path.parent, worktree)
    source, target = root / path, worktree / path
    storage.remove(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=False)  # the only links left are those to DVC's cache
    else:
        shutil.copy2(source, target)


def _yaml(path: Path) -> dict[str, Any]:
    return parse(path.read_text(encoding="utf-8"), path.name) or {}
