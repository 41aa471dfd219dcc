"""Which addresses are this machine's alone, and which names a request may call the server by.

A page of the web that has its name point at 127.0.0.1 (DNS rebinding) reaches a server there, by that name: so a name
that nobody has allowed is refused. An address in numbers points nowhere else, and where others may ask, all are taken.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection

LOCAL = "localhost"


def is_loopback(host: str) -> bool:
    """Whether the host, a name or an address without port, is this machine's alone."""
    return host.lower().rstrip(".") == LOCAL or ((address := _address(host)) is not None and address.is_loopback)


def is_known(header: str, allowed: Collection[str], *, remote: bool) -> bool:
    """Whether a request may have this header Host.

    `allowed`: names in small letters, without port. `remote`: whether the server is also for others than this machine.
    """
    name = _without_port(header)
    return name in allowed or is_loopback(name) or (remote and _address(name) is not None)


def allowed_name(name: str) -> str:
    """A name that requests may call the server by, as `is_known` compares it.

    Raises ValueError where no request could have it.
    """
    if not re.fullmatch(r"\[?[0-9a-z_.:-]+\]?", name.lower()) or not _without_port(name):
        raise ValueError(
            f"{name!r} is no name of a host. Give it without http:// and path, for example models.example."
        )
    if _without_port(name) != name.lower().rstrip(".").strip("[]"):
        raise ValueError(f"{name!r} has a port, and requests may name any. Leave it out: {_without_port(name)}")
    return _without_port(name)


def _without_port(header: str) -> str:
    found = re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::[0-9]+)?", header)
    return found[1].strip("[]").lower().rstrip(".") if found else ""


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
