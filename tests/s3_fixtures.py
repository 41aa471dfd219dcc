"""S3 as moto's server speaks it, for tests; fixtures, to be named in the module that uses them."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCY"  # noqa: S105


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3 server that believes everybody."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The same, with an empty bucket `winnow` and this process's credentials."""
    as_user(monkeypatch, "AKIAWINNOWTESTS00000", SECRET)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # else an endpoint that is not there takes 50 s
    client("s3", server).create_bucket(Bucket="winnow")
    yield server
    believe_everybody(server, True)
    moto_api(server, "reset")


def as_user(monkeypatch: pytest.MonkeyPatch, key: str, secret: str) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)


def client(service: str, server: str) -> Any:
    return boto3.client(service, endpoint_url=server, region_name="us-east-1")


def believe_everybody(server: str, everybody: bool) -> None:
    """Whether the server takes any key, or only those that it gave out, for what their policies allow."""
    moto_api(server, "reset-auth", b"inf" if everybody else b"0")


def moto_api(server: str, command: str, body: bytes = b"") -> None:
    request = urllib.request.Request(f"{server}/moto-api/{command}", body, {"Content-Type": "text/plain"})  # noqa: S310
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
