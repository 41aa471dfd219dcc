"""Fetching of archives from npm's registry, by name, version and hash: kept as corpora are, and never installed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from flows.running.corpora import Places, download, kept
from stages.reading.corpora import Pin

REGISTRY = "https://registry.npmjs.org/"
SETTING = "npm_config_registry"  # npm's own; it reads it in small letters and in capitals


def fetch(pin: Pin, folder: Path, registry: str, places: Callable[[], Places]) -> Path:
    """The archive in `folder`, fetched where it is not there yet or is damaged.

    `registry` is its address. `places` says how other hosts are trusted, and is asked only then. Raises ConnectionError
    where the archive cannot be fetched; what is there stays.
    """
    url = address(pin, registry)
    return kept(pin, folder, lambda draft: download(pin, url, draft, places()))


def address(pin: Pin, registry: str) -> str:
    """Where the registry has the archive: of a package in a scope, @scope/name, it is called name-version.tgz.

    The @ is written as %40: behind one, unearth looks for a revision.
    """
    return f"{registry.rstrip('/')}/{quote(pin.package)}/-/{pin.package.rpartition('/')[2]}-{pin.version}.tgz"


def registry() -> str:
    """The registry that npm's variable in the environment names, or npm's own."""
    return os.environ.get(SETTING) or os.environ.get(SETTING.upper()) or REGISTRY
