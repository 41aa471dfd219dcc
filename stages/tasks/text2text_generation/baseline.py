"""The floors of text to text: the source's first sentence, the source itself, or a word for each of its words.

baseline.writes names one of them; `auto` takes that which comes nearest to the targets of a tenth of the training rows.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from stages.core.contracts import Outputs, Space, Text, as_one
from stages.tasks.contract import Linear, TaskBaseline
from stages.tasks.shared import dictionary
from stages.tasks.shared.written import canonical

if TYPE_CHECKING:
    from stages.core.params.baseline import BaselineParams

log = logging.getLogger("winnow")

TENTH = 10  # `auto` is decided by every tenth row
MOST_JUDGED = 500  # of these rows
# The stop of "e.g." and "i.e." ends none.
_SENTENCE = re.compile(r"""\S.*?(?:(?<!\.[A-Za-z])[.!?]["'’”)\]]*(?=\s|$)|[。！？]|(?=\n\s*\n)|$)""", re.DOTALL)
_BETWEEN = "\t"  # of a word and its translation, which never hold one


def lead(source: str) -> str:
    """The first sentence, in a line: up to a full stop before a blank, or to the end of the paragraph."""
    found = _SENTENCE.search(source)
    return " ".join(found[0].split()) if found else ""


def fit(texts: Sequence[Text], targets: Sequence[str], _space: Space, params: BaselineParams, _seed: int) -> Linear:
    """What is written, and for `dictionary` its words, each with what it is translated by."""
    sources = [as_one(text) for text in texts]
    writes = params.writes if params.writes != "auto" else best(sources, targets)
    words = dictionary.learned(sources, targets) if writes == "dictionary" else {}
    return Linear([_BETWEEN.join(pair) for pair in sorted(words.items())], {}, {"writes": writes, "apart": True})


def best(sources: Sequence[str], targets: Sequence[str]) -> str:
    """Which of WRITERS comes nearest to the targets of every tenth row, by chrF; the others teach the dictionary."""
    from stages.tasks.text2text_generation.scores import score  # sacrebleu, which no opened model needs

    judged = [at for at in range(len(sources)) if at % TENTH == 0]
    judged = judged[:: -(-len(judged) // MOST_JUDGED)]
    taught = [at for at in range(len(sources)) if at % TENTH] or judged
    words = dictionary.learned([sources[at] for at in taught], [targets[at] for at in taught])
    truths = [targets[at] for at in judged]
    found = {
        name: score(truths, [write(sources[at], words) for at in judged])["chrf"] for name, write in WRITERS.items()
    }
    log.info("baseline: chrF of training rows: %s", ", ".join(f"{name} {value:.3f}" for name, value in found.items()))
    return max(found, key=lambda name: found[name])


WRITERS: Mapping[str, Callable[[str, Mapping[str, str]], str]] = {
    "lead": lambda source, _words: lead(source),
    "copy": lambda source, _words: canonical(source),
    "dictionary": dictionary.translated,
}


def opened(model: Linear) -> Callable[[Sequence[Text]], Outputs]:
    """predict(sources): what is written for each, without a probability; of pairs nothing is said."""
    words = dict(feature.split(_BETWEEN) for feature in model.features)
    write = WRITERS[model.settings["writes"]]

    def predict(texts: Sequence[Text]) -> Outputs:
        written = [write(text, words) for text in texts if isinstance(text, str)]
        nothing = np.zeros(len(texts) + 1, dtype=np.int64)
        return Outputs(
            np.zeros((0, 1), dtype=np.float32), nothing, np.zeros((0, 2), dtype=np.int64), [""] * len(texts),
            written=written if len(written) == len(texts) else None,
        )  # fmt: skip

    return predict


BASELINE = TaskBaseline(fit=fit, opened=opened)
