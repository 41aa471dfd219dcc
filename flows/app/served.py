"""The model that is served: a sealed folder, opened, with what its users are told of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.answering.rounded import rounded
from flows.app.limits import PAIRS, TEXTS

if TYPE_CHECKING:
    from stages.core.contracts import Generation, Text


@dataclass(frozen=True)
class Served:
    """A model that answers."""

    name: str
    """The name of its folder."""
    manifest: str
    """The SHA-256 of its manifest, which has those of all its files."""
    task: str
    noun: str
    """What it is, in words."""
    takes: frozenset[str]
    """TEXTS, PAIRS or both."""
    answer: Callable[..., list[dict[str, Any]]]
    """answer(texts): the record of each, as `winnow predict --json` has it; either texts or pairs.

    Of a model that writes answer(texts, how).
    """
    usual: Generation | None = None
    """How it writes where a request says nothing else; None: it writes nothing."""
    stream: Callable[[str, Generation], Iterator[str]] | None = None
    """stream(text, how): what a model that writes writes for a text, in pieces."""
    project: str | None = None
    """The name of the project's folder, of a model that lies in one."""
    labels: tuple[str, ...] = ()
    """What it can answer, where these are labels."""

    @property
    def title(self) -> str:
        """What a reader knows it by."""
        return self.project or self.name


def _project_of(folder: Path) -> str | None:
    root = folder.parents[2] if len(folder.parents) > 2 else folder
    is_own = folder.parent == root / "artifacts/models" and (root / "dvc.yaml").is_file()
    return (root.name or None) if is_own else None


def open_served(folder: Path, *, threads: int) -> Served:
    """The model in `folder`, after checking its files against its manifest; it has answered once, to be warm.

    Raises FileNotFoundError where there is no model, ValueError where a file is not the one that was sealed.
    """
    from stages.backends.runners import as_writer, generation_with
    from stages.core import plugins
    from stages.core.files import sha256
    from stages.core.model_folder import MANIFEST, describe, reads_apart, reads_images, wants_pairs
    from stages.tasks import TASKS
    from winnow import Model, opened

    about = describe(folder)
    runner, answers = opened(folder, threads=threads)
    usual = None if runner.write is None else generation_with(folder, {})
    takes = frozenset({TEXTS, PAIRS} if reads_apart(about) else {PAIRS if wants_pairs(about) else TEXTS})
    takes -= {PAIRS} if reads_images(about) else set()  # nobody from outside names files here: vectors of texts alone

    def answer(texts: Sequence[Text], how: Generation | None = usual) -> list[dict[str, Any]]:
        return list(map(rounded, Model(runner if how is None else as_writer(runner, how), answers)(texts)))

    answer([("warm", "warm") if takes == {PAIRS} else "warm"])
    noun = plugins.part(TASKS, runner.task, "settings", key=f"{folder / 'model.json'}: task").noun
    place, manifest = folder.resolve(), sha256(folder / MANIFEST)
    labels = tuple(map(str, runner.space.get("labels", ())))
    return Served(
        place.name, manifest, runner.task, noun, takes, answer, usual, runner.stream, _project_of(place), labels
    )
