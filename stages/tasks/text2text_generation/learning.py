"""The training of a writer for sources: the likelihood of each token of a target, given its source and those before."""

from __future__ import annotations

from stages.tasks.shared.next_tokens import learning
from stages.tasks.text2text_generation.scores import NAMES

LEARNING = learning(NAMES)
