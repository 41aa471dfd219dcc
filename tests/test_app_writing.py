"""The HTTP app with a model that writes: settings of a request, texts in pieces, what is refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from app_fixtures import App, serving
from writing_fixtures import TEXTS, write_writer

import winnow
from flows.app.limits import SETTINGS, Limits, settings_of
from flows.app.refusals import Refused
from flows.app.streaming import Streams
from stages.core.contracts import Generation


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("writer") / "gpt2"
    found.mkdir()
    write_writer(found, "gpt2", None)
    return found


@pytest.fixture(scope="module")
def app(folder: Path) -> Iterator[App]:
    with serving(folder, "--quiet") as found:
        yield found


@pytest.fixture(scope="module")
def writer(folder: Path) -> winnow.TextWriter:
    return winnow.load(folder, threads=1)


def streamed(app: App, **asked: Any) -> tuple[int, list[dict[str, Any]]]:
    found = app.ask("POST", "/stream", asked)
    return found.status, [json.loads(line) for line in found.content.decode().splitlines()]


def test_rows_are_written_for_with_the_settings_of_their_request(app: App, writer: winnow.TextWriter) -> None:
    found = app.predict(texts=TEXTS[:2])
    assert found.status == 200
    assert [one["written"] for one in found.json["answers"]] == writer.write(TEXTS[:2])
    found = app.predict(texts=TEXTS[:2], generation={"max_new_tokens": 5, "temperature": 2.0, "stop": ["the"]})
    wanted = writer.write(TEXTS[:2], max_new_tokens=5, temperature=2.0, stop=["the"])
    assert [one["written"] for one in found.json["answers"]] == wanted
    assert app.ask("GET", "/model").json["generation"] == writer.generation.described()


def test_requests_with_other_settings_do_not_share_a_batch(app: App, writer: winnow.TextWriter) -> None:
    found: dict[int, Any] = {}

    def ask(most: int) -> None:
        found[most] = app.predict(texts=TEXTS, generation={"max_new_tokens": most}).json["answers"]

    threads = [threading.Thread(target=ask, args=(most,)) for most in range(1, 9)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for most, answers in found.items():
        assert [one["written"] for one in answers] == writer.write(TEXTS, max_new_tokens=most)


def test_a_text_is_streamed_in_pieces(app: App, writer: winnow.TextWriter) -> None:
    status, lines = streamed(app, text=TEXTS[0], generation={"max_new_tokens": 9})
    wanted = writer.write([TEXTS[0]], max_new_tokens=9)[0]
    assert status == 200
    assert lines[-1] == {"written": wanted}
    assert "".join(line["piece"] for line in lines[:-1]) == wanted
    assert len(lines) > 3
    for _ in range(2 * Limits(1, 1, 1, 1, 1).streams):  # each ends, so that there is room for the next
        assert streamed(app, text=TEXTS[1], generation={"max_new_tokens": 2})[0] == 200


def test_a_text_that_was_not_begun_in_time_counts_until_its_thread_is_free() -> None:
    go_on, limits = threading.Event(), Limits(1, 1, 1, 1, 1)

    def slow(_text: str, _how: object) -> Iterator[str]:
        go_on.wait(20)
        yield "late"

    async def ask() -> list[int]:
        streams, counted = Streams(slow, limits), []
        for _ in range(limits.streams):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await streams.begin("a text", None)  # type: ignore[arg-type]
        counted.append(streams.open)
        with pytest.raises(Refused, match="too many texts"):
            await streams.begin("a text", None)  # type: ignore[arg-type]
        go_on.set()
        while streams.open:
            await asyncio.sleep(0.01)
        return counted

    assert asyncio.run(asyncio.wait_for(ask(), 20)) == [limits.streams]


def test_a_client_that_goes_leaves_room_for_others(app: App) -> None:
    for _ in range(2 * Limits(1, 1, 1, 1, 1).streams):
        connection = app.connect()
        connection.request("POST", "/stream", json.dumps({"text": TEXTS[0]}), {"Content-Type": "application/json"})
        connection.close()
    assert app.predict(texts=TEXTS[:1]).status == 200
    until = time.monotonic() + 20
    while (status := streamed(app, text=TEXTS[0])[0]) == 429 and time.monotonic() < until:
        time.sleep(0.1)
    assert status == 200
    assert app.metric('winnow_requests_total{path="/stream",status="500"}') == 0


@pytest.mark.parametrize(
    ("asked", "where", "found"),
    [
        ({"texts": ["a"], "generation": 4}, "generation", "a number"),
        ({"texts": ["a"], "generation": {"temprature": 1}}, "generation", "Did you mean 'temperature'"),
        ({"texts": ["a"], "generation": {"\ud83d": 1}}, "generation", "'\\ud83d' is no setting"),
        ({"texts": ["a"], "generation": {"temperature": "hot"}}, "generation", "temperature is 'hot'"),
        ({"texts": ["a"], "generation": {"temperature": 10**400}}, "generation", "temperature is 1000"),
        ({"texts": ["a"], "generation": {"beams": 2, "length_penalty": 10**9}}, "generation", "length_penalty is 1000"),
        ({"texts": ["a"], "generation": {"beams": 2, "temperature": 1}}, "generation", "beams is 2"),
        ({"texts": ["a"], "generation": {"max_new_tokens": 100_000}}, "generation.max_new_tokens", "100,000"),
        ({"texts": ["a"], "generation": {"beams": 99}}, "generation.beams", "99"),
        ({"texts": ["a", "one two three four " * 30]}, "texts[1]", "tokens together"),
        (  # of the second batch
            {"texts": ["a"] * 66 + ["one two three four " * 30], "generation": {"max_new_tokens": 2}},
            "texts[66]",
            "tokens together",
        ),
    ],
)
def test_what_cannot_be_written_is_refused(app: App, asked: Any, where: str, found: str) -> None:
    answer = app.predict(**asked)
    assert answer.status == 422
    assert answer.json["error"]["where"] == where
    assert found in answer.json["error"]["found"]


def test_a_stream_is_of_one_text_that_has_room(app: App) -> None:
    for asked, where in (
        ({"texts": ["a"]}, "body"), ({"text": ""}, "text"), ({"text": "one two three four " * 30}, "text"),
        ({"text": "a", "generation": {"beams": 0}}, "generation"),
    ):  # fmt: skip
        status, (line,) = streamed(app, **asked)
        assert (status, line["error"]["where"]) == (422, where)


def test_a_body_of_a_stream_that_stops_half_way_is_given_up_in_time(folder: Path) -> None:
    head = "POST /stream HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    with (
        serving(folder, "--timeout", "1", "--quiet") as app,
        socket.create_connection(("127.0.0.1", app.port), timeout=30) as raw,
    ):
        raw.sendall(head.encode() + b'{"text"')
        assert raw.recv(100).startswith(b"HTTP/1.1 408")


def test_a_model_that_has_more_stop_strings_than_a_request_may_is_asked_for_fewer_tokens() -> None:
    usual = Generation(9, stop=tuple(map(str, range(20))))
    body = {SETTINGS: {"max_new_tokens": 4}}
    assert settings_of(body, usual, Limits(1, 1, 1, 1, 1)) == usual._replace(max_new_tokens=4)


def test_a_model_that_writes_nothing_has_no_stream_and_no_settings(tmp_path: Path) -> None:
    from flow_fixtures import write_word_model

    with serving(write_word_model(tmp_path), "--quiet") as app:
        assert app.ask("POST", "/stream", {"text": "a"}).status == 404
        assert app.predict(texts=["a"], generation={}).status == 422
        assert app.ask("GET", "/model").json["generation"] is None


def test_the_api_describes_streams(app: App) -> None:
    api = app.ask("GET", "/openapi.json").json
    assert set(api["paths"]["/stream"]["post"]["responses"]) >= {"200", "422", "429"}
    assert "generation" in json.dumps(api["paths"]["/predict"]["post"]["requestBody"])
