"""An explanation in a terminal, in colour, or in a pipe, a line a word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from flows.answering.explaining import Aspect, Explanation, Word
from flows.answering.terminal import cleaned

FOR, AGAINST = (27, 95, 168), (184, 72, 10)  # red, green and blue of words that speak for the answer, and against it
STEPS = 4  # strengths of a colour


def coloured(found: Explanation, stream: TextIO, width: int | None = None) -> None:
    """Write the text with its words in colour: blue speaks for the answer, orange against it; the stronger the more."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, width=width, highlight=False)
    if not says_it_all(found):
        console.print(cleaned(found.shown.replace("\t", "  ")), style="bold", markup=False)
    for aspect in found.aspects:
        console.print(Text.assemble((cleaned(aspect.name), "bold"), f"  {check(aspect)}"))
        for of, text in enumerate(found.texts):
            line = Text(cleaned(text))
            for word in (word for word in aspect.words if word.of == of):
                if style := _style(strength(word, aspect), word.weight):
                    line.stylize(style, word.start, word.end)
            console.print(line)


def plain(found: Explanation) -> Iterator[str]:
    """Lines with a tab between the weight and the word, the heaviest first; a line above says of what."""
    if not says_it_all(found):
        yield found.shown
    for aspect in found.aspects:
        yield f"{cleaned(aspect.name)}\t{check(aspect)}"
        yield from (f"{word.weight:+.4f}\t{word.text}" for word in sorted(aspect.words, key=lambda word: -word.weight))


def check(aspect: Aspect) -> str:
    """The value, and what it is without the words that weigh most and without others, where words would be left."""
    value = f"{aspect.unit} {aspect.value:.4f}"
    if not aspect.is_checked:
        return value
    return (
        f"{value}; without the words that weigh most {aspect.without_top:.4f}, without as many at random"
        f" {aspect.without_random:.4f}"
    )


def says_it_all(found: Explanation) -> bool:
    """Whether the line of the only aspect has the answer too, such as a label with its probability."""
    return len(found.aspects) == 1 and found.shown.partition("\t")[0] == found.aspects[0].name


def strength(word: Word, aspect: Aspect) -> int:
    """How strong the word's colour is: 0 to STEPS, of the heaviest word of the aspect STEPS."""
    largest = max(abs(one.weight) for one in aspect.words)
    return round(abs(word.weight) / largest * STEPS) if largest > 0 else 0


def _style(strong: int, weight: float) -> str:
    if not strong:
        return ""
    share = strong / STEPS
    ground = ",".join(str(round(255 - (255 - part) * share)) for part in (FOR if weight > 0 else AGAINST))
    return f"{'white' if share > 0.6 else 'black'} on rgb({ground})"
