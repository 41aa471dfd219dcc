"""The values of prompts, in a file of their own such as prompt.yaml: strict and without defaults, as params.yaml.

No stage reads them, so that a change of a prompt has nothing of the graph run again.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, field_validator

from stages.core.params.mistakes import explained, shown
from stages.core.params.model import SCRATCH, ModelName
from stages.core.params.values import Name, PositiveInt, Revision, Section, Sha256, UnitInterval
from stages.core.yaml_text import parse

TEXT, TEXT_PAIR, LABEL = "{text}", "{text_pair}", "{label}"
SLOTS = (TEXT, TEXT_PAIR, LABEL)
FILE = "prompt.yaml"


class PromptModel(Section):
    """The language model: a decoder's folder, or its id on the Hub with a commit; its weights by their SHA-256."""

    name: ModelName
    revision: Revision | None
    sha256: Sha256 | None

    @field_validator("name")
    @classmethod
    def _it_has_weights(cls, name: str) -> str:
        if name == SCRATCH:
            raise ValueError(
                f"it is '{name}', a model that has learned nothing. Allowed: a folder, or an id on the Hub"
            )
        return name


class PromptValues(Section):
    """All that an answer by a prompt depends on, but the rows."""

    model: PromptModel
    instruction: Annotated[str, Field(max_length=10_000)] = Field(description="stands before all else; may be empty")
    template: Annotated[str, Field(max_length=10_000)] = Field(description="of a demonstration and of what is asked")
    separator: Name = Field(description="between instruction, demonstrations and what is asked")
    verbalizers: dict[Name, Name] = Field(description="the words for a label; without them its name")
    demonstrations: Annotated[int, Field(ge=0, le=100)] = Field(description="training rows in the context, at most")
    content_free: list[str] = Field(description="texts that say nothing, for calibration; none: no calibration")
    length_normalized: bool = Field(description="whether a label's log-likelihood is over the number of its tokens")
    max_tokens: Annotated[int, Field(ge=8)] = Field(description="of instruction, demonstrations, text and label")
    batch_size: PositiveInt = Field(description="rows that the model reads at once")
    min_probability: UnitInterval = Field(description="rows whose label is less likely are not written as labelled")

    @field_validator("template")
    @classmethod
    def _a_label_ends_the_template(cls, template: str) -> str:
        found = re.findall(r"\{\w*\}", template)
        if unknown := [slot for slot in found if slot not in SLOTS]:
            raise ValueError(f"it has the slot {unknown[0]}. Allowed: {', '.join(SLOTS)}")
        if not template.endswith(LABEL) or found.count(LABEL) > 1:
            raise ValueError(
                f"it is {shown(template)}. Allowed: {LABEL} once, at its end, as a label is scored after all else"
            )
        if found.count(TEXT) != 1 or found.count(TEXT_PAIR) > 1:
            raise ValueError(f"it is {shown(template)}. Allowed: {TEXT} once, and for pairs {TEXT_PAIR} once")
        return template

    @field_validator("verbalizers")
    @classmethod
    def _words_begin_and_end_with_words(cls, verbalizers: dict[str, str]) -> dict[str, str]:
        for label, words in verbalizers.items():
            if words != words.strip() or not words:
                raise ValueError(
                    f"the words for '{label}' are '{words}'. Allowed: words without blanks around them; the one before"
                    f" {LABEL} stands in the template"
                )
        return verbalizers

    @property
    def of_pairs(self) -> bool:
        """Whether what is asked has two texts."""
        return TEXT_PAIR in self.template


def load_values(path: Path) -> PromptValues:
    """Read the file. Raises FileNotFoundError where there is none, ValueError with one line a mistake."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file. docs/few-labels.md shows one whole, to be changed.")
    try:
        values = parse(path.read_text(encoding="utf-8"), path.name)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name}: not UTF-8 text: byte {error.start} is not valid. Save it as UTF-8.") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path.name}: found {shown(values)}, expected lines such as 'template: ...'.")
    try:
        return PromptValues.model_validate(values)
    except ValidationError as error:
        mistakes = error.errors()
        missing = [mistake for mistake in mistakes if mistake["type"] == "missing"]
        lines = [
            f"{'.'.join(map(str, mistake['loc']))} is missing. It has no default: docs/few-labels.md shows all of them."
            for mistake in missing
        ]
        lines += explained([mistake for mistake in mistakes if mistake["type"] != "missing"], PromptValues)
        raise ValueError("\n".join(f"{path.name}: {line}" for line in lines)) from None


def words_of(names: list[str], values: PromptValues, file: str) -> list[str]:
    """The words for each of the labels `names`, in their order; one without any is read with blanks for underscores.

    `file`: the name of the file that the values are of. Raises ValueError for words of a label that there is not, and
    for two labels with the same words.
    """
    if unknown := sorted({*values.verbalizers} - {*names}):
        raise ValueError(
            f"{file}: verbalizers has '{unknown[0]}', a label that no training row has. Allowed: {', '.join(names)}."
        )
    words = [values.verbalizers.get(name, name.replace("_", " ").strip()) for name in names]
    for number, one in enumerate(words):
        if one in words[:number]:
            raise ValueError(
                f"{file}: verbalizers: the labels '{names[words.index(one)]}' and '{names[number]}' have the same"
                f" words, '{one}'. Allowed: words of their own for each label."
            )
    return words
