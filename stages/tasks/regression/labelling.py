"""Numbers are given by a person; a model that answers with one does not say how sure it is."""

from __future__ import annotations

from stages.tasks.shared.labelling import TaskLabelling

LABELLING = TaskLabelling("number")
