"""Clients that keep the server waiting, and a server that cannot start: nothing is held for ever."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import app_fixtures
import pytest

from flows.app import reading, server
from flows.app.application import application
from flows.app.ending import Ending
from flows.app.limits import TEXTS, Limits
from flows.app.served import Served

Answer = Callable[[Sequence[Any]], list[dict[str, Any]]]
PATIENCE = 0.5
LONG = "x" * 8_000_000  # of an answer: more than the system takes of what nobody reads


@contextmanager
def serving(answer: Answer, ending: Ending | None = None, **limits: Any) -> Iterator[tuple[str, int]]:
    """The address of a server of this model, in a thread; it must end by itself after a signal."""
    served = Served("toy", "0" * 64, "toy", "toy model", frozenset({TEXTS}), answer)
    chosen = Limits(**{"rows": 8, "characters": 200, "bytes": 100_000, "waiting": 100, "seconds": PATIENCE} | limits)
    with app_fixtures.in_thread(served, chosen, ending or Ending()) as opened:
        yield opened.getsockname()


def echo(texts: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"is": text} for text in texts]


def request(text: str) -> bytes:
    body = json.dumps({"texts": [text]})
    lines = ("POST /predict HTTP/1.1", "Host: localhost", "Content-Type: application/json")
    return "\r\n".join((*lines, f"Content-Length: {len(body)}", "", body)).encode()


def read_until(raw: socket.socket, end: bytes) -> bytes:
    raw.settimeout(10)
    found = b""
    while not found.endswith(end):
        part = raw.recv(1000)
        assert part, found
        found += part
    return found


def seconds_to_the_end(raw: socket.socket) -> float:
    """How long the server keeps a connection that sends nothing more, and reads whatever comes."""
    started = time.monotonic()
    raw.settimeout(10)
    try:
        while raw.recv(1_000_000):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - started


@pytest.mark.parametrize("sent", [b"", b"POST /predict HTTP/1.1\r\nHost: loc"], ids=["nothing", "half a head"])
def test_who_sends_no_whole_head_is_cut_off_in_time(sent: bytes) -> None:
    with serving(echo) as address, socket.create_connection(address) as raw:
        raw.sendall(sent)
        assert PATIENCE * 0.8 < seconds_to_the_end(raw) < 5


def test_half_a_head_after_an_answer_is_cut_off_in_time_and_an_idle_connection_is_kept() -> None:
    with serving(echo) as address, socket.create_connection(address) as raw:
        for _ in range(2):
            raw.sendall(request("bread"))
            read_until(raw, b'"is":"bread"}]}')
            time.sleep(PATIENCE * 1.5)
        raw.sendall(b"POST /pre")
        assert PATIENCE * 0.8 < seconds_to_the_end(raw) < 5


def test_an_answer_that_nobody_reads_is_given_up_in_time() -> None:
    ended = threading.Event()

    def long(texts: Sequence[Any]) -> list[dict[str, Any]]:
        if texts != ["warm"]:
            ended.set()
        return [{"is": LONG} for _ in texts]

    with serving(long) as address, socket.create_connection(address) as raw:
        raw.sendall(request("bread") * 2)  # the second answer waits until there is room for it
        assert ended.wait(10)
        time.sleep(PATIENCE * 3)
        raw.settimeout(10)
        assert len(b"".join(iter(lambda: raw.recv(1_000_000), b""))) < len(LONG)


def test_bodies_that_are_read_at_the_same_time_share_a_limit_and_one_alone_is_always_read() -> None:
    whole = request("x" * 200)
    with serving(echo, held_bytes=150, seconds=10) as address, socket.create_connection(address) as first:
        first.sendall(whole[:-10])  # more than the limit, and nothing else is read
        time.sleep(0.3)
        with socket.create_connection(address) as second:
            second.sendall(whole)
            assert read_until(second, b"}").startswith(b"HTTP/1.1 429")
            first.sendall(whole[-10:])
            assert read_until(first, b"}]}").startswith(b"HTTP/1.1 200")
            second.sendall(whole)
            assert read_until(second, b"}]}").startswith(b"HTTP/1.1 200")


def test_a_body_that_is_allowed_is_read_whole_whatever_is_read_on_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READ_ON", 100)
    whole = request("x" * 1000)
    with serving(echo, characters=1000, seconds=10) as address, socket.create_connection(address) as client:
        client.sendall(whole)
        assert read_until(client, b"}]}").startswith(b"HTTP/1.1 200")


class Held:
    """A model that answers once it may, and keeps what it was asked."""

    def __init__(self) -> None:
        self.begun, self.may, self.seen = threading.Event(), threading.Event(), list[Any]()

    def __call__(self, texts: Sequence[Any]) -> list[dict[str, Any]]:
        self.begun.set()
        assert self.may.wait(10)
        self.seen.extend(texts)
        return echo(texts)


def test_rows_of_a_client_that_has_gone_are_not_answered() -> None:
    model = Held()
    with serving(model, seconds=10) as address, socket.create_connection(address) as stays:
        stays.sendall(request("first"))
        assert model.begun.wait(10)
        with socket.create_connection(address) as goes:
            goes.sendall(request("gone"))
            until(lambda: b"winnow_rows_waiting 1.0" in figures(address))
        until(lambda: b"winnow_rows_waiting 0.0" in figures(address))
        assert b'winnow_requests_total{path="/predict",status="499"} 1.0' in figures(address)
        model.may.set()
        read_until(stays, b"}]}")
        stays.sendall(request("last"))
        read_until(stays, b"}]}")
    assert model.seen == ["first", "last"]


def test_rows_that_wait_when_the_signal_comes_are_all_answered() -> None:
    model, ending = Held(), Ending()
    with serving(model, ending, seconds=10) as address:
        asked = [socket.create_connection(address) for _ in range(8)]
        for at, raw in enumerate(asked):
            raw.sendall(request(f"row {at}"))
        until(lambda: b"winnow_requests_held 9.0" in figures(address))  # these, and that for the figures
        ending.signal()
        model.may.set()
        for at, raw in enumerate(asked):
            assert read_until(raw, f'"is":"row {at}"}}]}}'.encode()).startswith(b"HTTP/1.1 200")
            raw.close()


def test_a_queue_that_is_full_refuses_a_request_and_says_when_to_come_again() -> None:
    model = Held()
    with serving(model, waiting=1, seconds=10) as address:
        asked = [socket.create_connection(address) for _ in range(3)]
        asked[0].sendall(request("at work"))
        assert model.begun.wait(10)
        asked[1].sendall(request("waits"))
        until(lambda: b"winnow_rows_waiting 1.0" in figures(address))
        asked[2].sendall(request("too many"))
        refused = read_until(asked[2], b"}}")
        assert refused.startswith(b"HTTP/1.1 429")
        assert b"retry-after: 1\r\n" in refused
        model.may.set()
        for raw in asked[:2]:
            assert read_until(raw, b"}]}").startswith(b"HTTP/1.1 200")
        for raw in asked:
            raw.close()


def figures(address: tuple[str, int]) -> bytes:
    with socket.create_connection(address) as raw:
        raw.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: raw.recv(65536), b""))


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_server_that_cannot_start_says_why_and_ends() -> None:
    served = Served("toy", "0" * 64, "toy", "toy model", frozenset({TEXTS}), echo)
    ending, closed = Ending(), server.listening("127.0.0.1", 0)
    app = application(served, Limits(8, 200, 1000, 100, 1), ending, gather=0)
    closed.close()
    raised: list[BaseException] = []

    def serve() -> None:
        try:
            server.serve(app, closed, ending, seconds=1, log=False)
        except OSError as error:
            raised.append(error)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert len(raised) == 1
