"""Lazy look-up of plug-ins: a name table maps a name to "module:ATTRIBUTE", loaded when asked for."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Any


def load(table: Mapping[str, str], name: str, *, key: str) -> Any:
    """The plug-in that `table` holds under `name`.

    `key` is the parameter that gave the name, or "FILE: key" of another file, for the message.
    Raises ValueError for a name not in the table.
    """
    check(table, name, key=key)
    module, _, attribute = table[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def check(table: Mapping[str, str], name: str, *, key: str) -> None:
    """Raise ValueError, with what is allowed and the nearest guess, where `table` has no `name`."""
    if name in table:
        return
    near = difflib.get_close_matches(name, table, n=1)
    guess = f" Did you mean '{near[0]}'?" if near else ""
    where = key if ":" in key else f"params.yaml: {key}"
    raise ValueError(f"{where} is '{name}'. Allowed: {', '.join(sorted(table))}.{guess}")
