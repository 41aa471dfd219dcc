"""The training of a text generator: the likelihood of each token, given those before it."""

from __future__ import annotations

from stages.tasks.shared.next_tokens import learning
from stages.tasks.text_generation.scores import NAMES

LEARNING = learning(NAMES)
