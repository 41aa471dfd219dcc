"""Text classification in words."""

from __future__ import annotations

from stages.tasks.contract import TaskSettings

SETTINGS = TaskSettings(
    noun="text classifier", pipeline_tag="text-classification", measures=("macro_f1", "accuracy")
)  # fmt: skip
