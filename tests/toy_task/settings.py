"""The toy in words."""

from __future__ import annotations

from stages.tasks.contract import TaskSettings

SETTINGS = TaskSettings(noun="toy", pipeline_tag="other", measures=("right",))
