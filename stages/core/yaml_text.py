"""YAML as DVC reads it: version 1.2, by the library that DVC uses, so that all see the same values as dvc.lock."""

from __future__ import annotations

import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError


def parse(text: str, name: str) -> Any:
    """The content of the file called `name`. Raises ValueError in one line where it is no YAML or has a key twice."""
    try:
        return YAML(typ="safe").load(text)
    except (YAMLError, ValueError, KeyError) as error:  # ValueError: the 31st of February; KeyError: "!!bool maybe"
        raise ValueError(_told(error, text, name)) from None


def _told(error: Exception, text: str, name: str) -> str:
    if conflict := re.search(r"^<{7}(?: .*)?$", text, re.MULTILINE):
        line = text.count("\n", 0, conflict.start()) + 1
        return (
            f"{name}, line {line}: a merge conflict ('{conflict[0][:40]}'). Keep one side of it, and delete the lines "
            "that begin with <<<<<<<, ======= and >>>>>>>."
        )
    if isinstance(error, KeyError):
        return f"{name}: not YAML: {error} is no value of the type that its tag (!!) names."
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark and (twice := re.match(r'found duplicate key "(.+?)" with value', problem or "")):
        return f"{name}, line {mark.line + 1}: the key '{twice[1]}' is here a second time. Keep one of the two lines."
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{name}{where}: not YAML: {problem or str(error).splitlines()[0]}."
