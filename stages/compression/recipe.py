"""Phrases for the cards on the kind of the student, and on the parts that `prune` left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stages.core.params.distill import DistillParams
    from stages.core.params.file import Params

CUT = (("heads", "attention heads"), ("feed_forward", "neurons"))


TAUGHT = {
    "supervised": "fine-tuned",
    "contrastive": "fine-tuned on pairs of rows",
    "zero_shot": "with a head of what its labels mean in words",
}
"""What became of the pretrained model, by finetune.method."""


def taught(params: Params) -> str:
    """What became of the pretrained model: "fine-tuned, 3 models whose answers are averaged"."""
    count = params.finetune.teachers
    several = f", {count} models whose answers are averaged" if count > 1 else ""
    return f"{TAUGHT[params.finetune.method]}{several}"


def recurrent(params: DistillParams) -> str:
    """ "a bidirectional LSTM (1 x 256 units a direction)" where the student is one; "" where it is an encoder."""
    return "" if params.own is None else params.own.words


def pruned_to(report: Mapping[str, Any]) -> str:
    """The parts left by pruning, from metrics/data/pruning.json: "10 of 20 tokens, 3 of 4 attention heads a layer".

    "" where nothing was pruned. Layers of several sizes are told apart: "960 of 1536 and 128 of 192 neurons a layer".
    """
    parts = [f"{report['tokens'][1]:,} of {report['tokens'][0]:,} tokens"] if "tokens" in report else []
    for kind, name in CUT:
        sizes = dict.fromkeys(f"{after} of {before}" for before, after in report.get(kind, []))
        parts += [f"{' and '.join(sizes)} {name} a layer"] if sizes else []
    return ", ".join(parts)
