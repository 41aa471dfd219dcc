"""The models of the table that tasks that write have not, each with the reason as the end of a sentence."""

from __future__ import annotations

LEFT_OUT = {
    "static": "a mean of token vectors says nothing of what comes next",
    "probe": "what it would fit is the head that writes, which is most of such a model",
}
