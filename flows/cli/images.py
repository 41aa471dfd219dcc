"""What `winnow predict` does with files of images: which of some labels each shows, or their vectors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from winnow import Matcher

LABELS = "--labels"
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif")
DECIMALS = 6


class WithLabels(click.Command):
    """A command whose option --labels takes all that follows it, up to the next option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, repeated(args))


def repeated(args: Sequence[str]) -> list[str]:
    """The arguments with LABELS before each of its values, as options that may be repeated are read.

    `--labels cat dog --json` becomes `--labels cat --labels dog --json`; behind `--` nothing is an option.
    """
    found: list[str] = []
    rest = list(args)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*found, word, *rest]
        found.append(word)
        first = True
        while word == LABELS and rest and not rest[0].startswith("-"):
            found += [rest.pop(0)] if first else [LABELS, rest.pop(0)]
            first = False
    return found


def are_images(texts: Sequence[str]) -> bool:
    """Whether all arguments are files with the endings of images."""
    return bool(texts) and all(text.lower().endswith(ENDINGS) and Path(text).is_file() for text in texts)


def opened(folder: Path, threads: int | None) -> Matcher:
    """The model in `folder`. Raises UsageError where it is not one of images and texts."""
    from winnow import Matcher, load

    model = load(folder, threads=threads)
    if not isinstance(model, Matcher):
        raise click.UsageError(f"The model in {folder} reads no images. Give it texts, without {LABELS}.")
    return model


def labelled(
    model: Matcher, images: Sequence[str], labels: Sequence[str], templates: Sequence[str], *, as_json: bool
) -> Iterator[str]:
    """A line an image: its likeliest label, how likely that is among the labels, and the image's path.

    Raises ValueError for an image that cannot be read, and for a template without a place for the label.
    """
    for image, likely_L in zip(images, model.zero_shot(images, labels, templates or ("{}",)).tolist(), strict=True):
        best = max(range(len(labels)), key=likely_L.__getitem__)
        found = {"label": labels[best], "probability": round(likely_L[best], DECIMALS)}
        if as_json:
            each = {label: round(likely, DECIMALS) for label, likely in zip(labels, likely_L, strict=True)}
            yield _object({"image": image, **found, "probabilities": each})
        else:
            yield f"{labels[best]}\t{likely_L[best]:.4f}\t{image}"


def vectors(model: Matcher, images: Sequence[str], *, as_json: bool) -> Iterator[str]:
    """A line an image: its vector of length 1, as for an index, and the image's path. Raises as `labelled`."""
    for image, vector_K in zip(images, model.images(images).tolist(), strict=True):
        rounded = [round(number, DECIMALS) for number in vector_K]
        shown = " ".join(f"{number:g}" for number in rounded)
        yield _object({"image": image, "vector": rounded}) if as_json else f"{shown}\t{image}"


def _object(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False)
