"""Opening of a model's folder with any backend; the runner takes raw texts, and cleans them as in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from stages.backends import RUNNERS
from stages.cleaning.rules import Cleaning, cleaner, cutting_cleaner, of_description
from stages.core.contracts import Generation, Image, Outputs, Runner, Text, UnwritableError, each
from stages.core.model_folder import (
    describe,
    generation_of,
    left_out,
    plugin_of,
    reads_apart,
    reads_images,
    verify,
    wants_pairs,
    writes_for_sources,
)
from stages.decoding.settings import adjusted


def open_runner(folder: Path, *, threads: int, how: Generation | None = None) -> Runner:
    """Open the model in `folder`, with `threads` threads, after checking it against its manifest.

    It cleans texts by the rules in model.json, which were applied to the training texts, and of a model that writes for
    a source the source alone. Its `predict` raises ValueError for single texts where the model is of pairs, and the
    other way round; one that reads the texts of a pair apart takes both, but not in one call, and so does one that
    writes for a source: it writes for single texts, and of pairs it tells how likely the second text is.

    `how`: how such a model's `predict` writes; None: as `generation_of` its folder. Other models know none.
    """
    description = describe(folder)
    verify(folder)
    if (reason := left_out(folder)) is not None:
        raise ValueError(f"{folder}: the task '{description['task']}' has no such model: {reason}. Take another.")
    runner = plugin_of(folder, "backend", RUNNERS)(folder, threads)
    cleaning = of_description(description)
    clean = cleaner(cleaning) if cleaning else str
    has_source = writes_for_sources(description)
    either = (reads_apart(description) and not wants_pairs(description)) or has_source
    # Not by way of the runner that is returned: a circle would keep its graphs in memory when nobody has it any more.
    writing = _writing(runner, folder, cleaning, may_cut=has_source)

    def predict(texts: Sequence[Text]) -> Outputs:
        are_pairs = wants_pairs(description)
        if either:
            are_pairs = len(texts) > 0 and not isinstance(texts[0], str)
        checked = _checked(texts, folder, are_pairs=are_pairs, either=either)
        if reads_images(description) and are_pairs:
            _refuse_no_images(checked, folder)
        if has_source and how is not None and not are_pairs:
            written: Outputs = writing["written"](texts, how)
            return written
        if has_source:  # a target is as it is
            return runner.predict([clean(text) if isinstance(text, str) else (clean(text[0]), text[1])
                                   for text in checked])  # fmt: skip
        return runner.predict([each(clean, text) for text in checked])

    return replace(runner, predict=predict, clean=clean, **writing)


def _refuse_no_images(pairs: Sequence[Text], folder: Path) -> None:
    """Raise ValueError for a pair whose first part is no image. Who asks reads files, and nobody else's (see app)."""
    for number, pair in enumerate(pairs, start=1):
        if not isinstance(first := pair[0], Image):
            raise ValueError(
                f"{folder}: pair number {number} begins with {first[:40]!r}, no image. In Python, `load(FOLDER)` reads"
                " files of images; a runner takes what `image_at` gives."
            )


# Of files of images, also such as are not read: their names are no captions.
IMAGE_ENDINGS = (
    ".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".avif", ".svg",
)  # fmt: skip


def reading_files(runner: Runner, folder: Path, root: Path | None = None) -> Runner:
    """The runner of a model of images, for paths of these from `root` (None: the current folder); any other as it is.

    A path is the first part of a pair, or a single text that ends as files of images do. Its `predict` raises
    UnwritableError, a ValueError, for images that cannot be read.
    """
    description = describe(folder)
    if not reads_images(description):
        return runner
    predict = runner.predict

    def of_paths(texts: Sequence[Any]) -> Outputs:
        read, reasons = [], {}
        for number, text in enumerate(texts):
            try:
                read.append(_with_pixels(text, description, root or Path()))
            except ValueError as error:
                reasons[number] = f"names {error}"
        if reasons:
            raise UnwritableError(reasons)
        return predict(read)

    return replace(runner, predict=of_paths)


def _with_pixels(text: Any, description: Mapping[str, Any], root: Path) -> Any:
    if isinstance(text, Image):
        return text
    if isinstance(text, str):
        return image_at(root / text, description) if text.lower().endswith(IMAGE_ENDINGS) else text
    is_pair = isinstance(text, list | tuple) and len(text) == 2 and isinstance(text[0], str | Path)
    return (image_at(root / text[0], description), text[1]) if is_pair and not isinstance(text[0], Image) else text


def image_at(path: str | Path, description: Mapping[str, Any]) -> Image:
    """The image in that file, read as the model of that model.json reads them. Raises ValueError where it cannot."""
    from stages.core.params.ingest import ImagesParams
    from stages.reading.images import UnreadableImageError, read_image
    from stages.reading.pixels import name_of

    found = Path(path).resolve()  # whoever asks may name a link: it is no part of a data set
    try:
        read = read_image(found.name, found.parent, ImagesParams.model_validate(description["images"]))
    except UnreadableImageError as error:
        raise ValueError(f"{path}: {error}.") from None
    return Image(name_of(read.pixels), read.pixels)


def _writing(runner: Runner, folder: Path, cleaning: Cleaning | None, *, may_cut: bool) -> dict[str, Any]:
    """What a model that writes does with texts as they are asked; nothing of another.

    `may_cut`: whether a text is written for as well where cleaning cut it, as a source may be.
    """
    write, written, stream = runner.write, runner.written, runner.stream
    if write is None or written is None or stream is None:
        return {}
    clean = cutting_cleaner(cleaning) if cleaning else lambda text: (text, False)

    def cleaned(texts: Sequence[Text]) -> list[str]:
        found = [clean(str(text)) for text in _checked(texts, folder, are_pairs=False, either=False)]
        cut = [at for at, (_, was_cut) in enumerate(found) if was_cut and not may_cut]
        if cut and cleaning:
            told = "has {:,} characters, and the model reads {:,} of them. Shorten it: what is written follows its end."
            raise UnwritableError({at: told.format(len(texts[at]), cleaning.max_chars) for at in cut})
        return [text for text, _ in found]

    return {
        "write": lambda texts, how: write(cleaned(texts), how),
        "written": lambda texts, how: written(cleaned(texts), how),
        "stream": lambda text, how: stream(cleaned([text])[0], how),
    }


def generation_with(folder: Path, settings: Mapping[str, Any]) -> Generation:
    """How the model in `folder` writes: as `generation_of` says, but for these settings.

    Raises ValueError where it writes nothing, and for a name or a value that is no setting.
    """
    description = describe(folder)
    if (usual := generation_of(description)) is None:
        raise ValueError(f"{folder}: a model of the task '{description['task']}' writes no text: leave settings out.")
    return adjusted(usual, settings)


def as_writer(runner: Runner, how: Generation) -> Runner:
    """The runner of a model that writes, such that its `predict` writes for each text."""
    written = runner.written
    assert written is not None
    return replace(runner, predict=lambda texts: written(cast("Sequence[str]", texts), how))


def _checked(texts: Sequence[Any], folder: Path, *, are_pairs: bool, either: bool) -> Sequence[Text]:
    """The texts, pairs as tuples. Raises ValueError for texts of another kind than the model in `folder` takes.

    `either`: whether it would take the other kind as well, if all of them were of it.
    """
    for number, text in enumerate(texts, start=1):
        is_pair = isinstance(text, list | tuple) and len(text) == 2 and all(isinstance(part, str) for part in text)
        if is_pair != are_pairs or not (is_pair or isinstance(text, str)):
            found = "a pair" if is_pair else "a single text" if isinstance(text, str) else f"{str(text)[:40]!r}"
            wanted = (
                "pairs of texts: give (text, text_pair); to `winnow predict`, TEXT --pair TEXT, or a file with a tab"
                " between the two"
                if are_pairs
                else "single texts: give a str; to `winnow predict`, no --pair"
            )
            if either:
                raise ValueError(
                    f"{folder}: text number {number} is {found}, and the first is none. Ask for them apart."
                )
            raise ValueError(f"{folder}: text number {number} is {found}. The model was trained on {wanted}.")
    return [(text[0], text[1]) for text in texts] if are_pairs else texts
