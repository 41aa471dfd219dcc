"""Lazy look-up of plug-ins: a name table maps a name to "module:ATTRIBUTE", loaded on demand."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_INSTALL = ".venv/bin/pip install --constraint constraints.txt"


def load(table: Mapping[str, str], name: str, *, key: str) -> Any:
    """The plug-in that `table` holds under `name`.

    `key` is the parameter that gave the name, or "FILE: key" of another file, for the message.
    Raises ValueError for a name not in the table, and for a plug-in that needs a package that is not installed.
    """
    check(table, name, key=key)
    module, _, attribute = table[name].partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == module.partition(".")[0]:
            raise
        raise ValueError(_needed(name, package, str(error.name), key)) from None


def part(table: Mapping[str, str], name: str, part: str, *, key: str) -> Any:
    """A part of a plug-in that is a package: the attribute PART (`part` in capitals) of its module `part`.

    Raises ValueError as `load`.
    """
    check(table, name, key=key)
    return load({name: f"{table[name]}.{part}:{part.upper()}"}, name, key=key)


def install_extra(name: str) -> str:
    """The command that installs an extra of pyproject.toml: from this checkout, as the index has none of ours."""
    return f"{_INSTALL} --editable '.[{name}]'"


def _needed(name: str, package: str, module: str, key: str) -> str:
    install = f"{_INSTALL} {package}"
    if module != package and importlib.util.find_spec(package):
        return f"{_where(key)} is '{name}', which needs another version of '{package}' (with {module}): {install}"
    return f"{_where(key)} is '{name}', which needs the package '{package}': it is not installed. Install it: {install}"


def not_installed(name: str, packages: Iterable[str], *, key: str) -> Iterator[str]:
    """A line for the first of the `packages` of the plug-in `name` that is not installed; none is imported."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            yield _needed(name, package, package, key)
            return


def check(table: Mapping[str, Any], name: str, *, key: str) -> None:
    """Raise ValueError, with what is allowed and the nearest guess, where `table` has no `name`."""
    if name in table:
        return
    near = difflib.get_close_matches(name, table, n=1)
    guess = f" Did you mean '{near[0]}'?" if near else ""
    raise ValueError(f"{_where(key)} is '{name}'. Allowed: {', '.join(sorted(table))}.{guess}")


def _where(key: str) -> str:
    return key if ":" in key else f"params.yaml: {key}"
