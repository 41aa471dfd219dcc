"""The task in words."""

from __future__ import annotations

from stages.tasks.contract import TaskSettings

SETTINGS = TaskSettings(noun="tagger", pipeline_tag="token-classification", measures=("found", "exact"))
