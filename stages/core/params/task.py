"""Section `task`: what is learned, and the measure that counts."""

from __future__ import annotations

from stages.core.params.values import PluginName, Section


class TaskParams(Section):
    name: PluginName
    measure: PluginName
