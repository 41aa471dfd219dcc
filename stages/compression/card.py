"""The short card that a quantized model's folder has, from the facts known when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from stages.compression.recipe import pruned_to, recurrent
from stages.core.contracts import INPUTS
from stages.core.model_folder import reads_apart, reads_images, wants_pairs

if TYPE_CHECKING:
    from stages.core.params.distill import DistillParams
    from stages.tasks.contract import TaskSettings

DESCRIBED = ("README.md", "tokenizer.json", "model.json", "manifest.json")  # the card says what each of these is
MADE_OF = {
    "unlabelled_rows": "without a label",
    "swapped_copies": "copies of them with words swapped",
    "hidden_copies": "copies of them with some tokens hidden",
    "written_texts": "texts that its teacher wrote",
}
"""The kinds of texts in metrics/training beside the rows with a label, in words."""
LIMITS = (
    "- It knows nothing of other answers, languages or kinds of text than those it was trained on, and always answers."
)


class Origin(NamedTuple):
    """What a quantized model was made of, as params.yaml says it."""

    source: str
    """ingest.source."""
    taught: str
    """As `recipe.taught` says it."""
    distill: DistillParams


def card(
    settings: TaskSettings,
    description: dict[str, Any],
    origin: Origin,
    training: dict[str, Any],
    pruning: dict[str, Any],
    found: dict[str, Any],
    folder: Path,
) -> str:
    """A short model card, from the facts known when the model is made."""
    cut = f", pruned to {left}" if (left := pruned_to(pruning)) else ""
    width = f" with a width of {origin.distill.hidden_size}" if origin.distill.hidden_size else ""
    layers = f"its layers\n{', '.join(map(str, origin.distill.teacher_layers))}{width}"
    made = f"distilled to {recurrent(origin.distill) or layers}{cut}, quantized with `{description['backend']}`"
    more = "".join(f", and on {count} {what}" for kind, what in MADE_OF.items() if (count := training.get(kind)))
    inputs = ", ".join(f"`{name}`" for name in INPUTS[:2])
    inputs += f", and `{INPUTS[2]}` where the model tells types apart" if wants_pairs(description) else ""
    texts = "pairs of texts" if wants_pairs(description) or reads_apart(description) else "texts"
    if reads_images(description):
        texts = f"images of {description['images']['size']} pixels a side, and texts"
        inputs += " of texts; `pixel_values` of images"
    files = ", ".join(f"`{path.name}`" for path in sorted(folder.iterdir()) if path.name not in DESCRIBED)
    answered = "".join(f"- {key.capitalize()}: {_listed(of)}\n" for key, of in description["space"].items())
    writing = _of_writing(description, settings)
    reads, held = f": inputs {inputs}; output `logits`", "can answer, in the order of the logits"
    if settings.writes is not None:
        reads, held = "", "reads, and how it writes"
    return f"""# A small {settings.noun}

int8, made with Winnow: {description["pretrained"]}, {origin.taught}, {made}.

- Task: {description["task"]}; {texts} of up to {description["max_tokens"]} tokens, {_longer(description)}.
{answered}- Trained on {training["train_rows"]} rows of the source `{origin.source}`{more}.
- On the validation rows: {_of_validation(found, settings)}. The figures of the test rows are in the project's
  metrics/quality/quantized.json.
{writing}{LIMITS}

Files: {files} (the model{reads}), `tokenizer.json`, `model.json` (what
it {held}), `manifest.json` (SHA-256 of each file).
"""


def _longer(description: dict[str, Any]) -> str:
    """A phrase on the treatment of texts that are longer than the model's maximum."""
    if description.get("long_texts") != "windows":
        return "longer ones are cut"
    return f"longer ones are read in windows that share {description['stride']} tokens, and their outputs put together"


def _listed(found: Any) -> str:
    """An entry of the space in a line."""
    if isinstance(found, dict):
        return ", ".join(f"{name} {of}" for name, of in found.items())
    return ", ".join(map(str, found)) if isinstance(found, list) else str(found)


def _of_validation(found: Mapping[str, Any], settings: TaskSettings) -> str:
    """The measure before and after, and what stayed the same. A likelihood has its sign turned there, and not here."""
    int8, before = (found[name] if settings.writes is None else abs(found[name]) for name in ("int8", "float32"))
    as_before = settings.as_before.format(found["agreement"])
    return f"{found['measure']} {int8:.4f}, before quantization {before:.4f};\n  {as_before}"


def _of_writing(description: Mapping[str, Any], settings: TaskSettings) -> str:
    """A line of the card on how the model writes; nothing of one that reads alone."""
    how = description.get("generation")
    if settings.writes is None or how is None:
        return ""
    told = ", ".join(f"{name} {value}" for name, value in sorted(how.items()) if value != [])
    return f"- It writes like this where nothing else is asked, and for all figures:\n  {told}.\n"
