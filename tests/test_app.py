"""`winnow app`: a real server of a real model, what it answers, what it refuses, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_fixtures import App, serving, told
from flow_fixtures import ROOT, environment, write_word_model
from safetensors.numpy import save_file

from flows.answering.rounded import rounded
from flows.app import server
from flows.app.served import open_served
from stages.core.files import sha256, write_json
from stages.core.model_folder import seal
from winnow import load

EVERYWHERE = "0.0.0.0"  # noqa: S104
BREAD = 1 / (1 + np.exp(-5))  # the word's logit is 5, and the other label's 0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "words"
    folder.mkdir()
    return write_word_model(folder)


@pytest.fixture(scope="module")
def app(model: Path) -> Iterator[App]:
    options = ("--max-rows", "8", "--max-characters", "100", "--max-bytes", "2000")
    with serving(model, *options) as app:
        yield app


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Of a model of pairs: 'bread' in the first text is kitchen, 'ship' in the second sea."""
    folder = tmp_path_factory.mktemp("pairs")
    write_json(folder / "vocabulary.json", ["bread", "ship"])
    coefficients = np.zeros((2, 6), np.float32)  # of the words of the first text, of the second, of what they share
    coefficients[0, 0], coefficients[1, 3] = 5, 3
    weights = {"coefficients": coefficients, "intercept": np.zeros(2, np.float32), "idf": np.ones(2, np.float32)}
    save_file(weights, folder / "weights.safetensors")
    space = {"labels": ["kitchen", "sea"]}
    seal(folder, backend="linear", task="text_classification", space=space, max_ngram=1, pairs=True)
    with serving(folder) as app:
        yield app


def test_answers_are_the_records_of_predict_with_the_models_name_and_the_hash_of_its_manifest(
    app: App, model: Path
) -> None:
    told = app.predict(texts=["bread", "no such word"])
    assert told.status == 200
    assert told.json["model"] == "words"
    assert told.json["manifest"] == sha256(model / "manifest.json")
    bread, nothing = told.json["answers"]
    assert bread["label"] == "kitchen"
    assert bread["probability"] == pytest.approx(BREAD, abs=1e-6)
    assert nothing["probabilities"] == {"kitchen": 0.5, "sea": 0.5}
    command = [sys.executable, "-m", "flows.cli", "predict", "--json", "--model", str(model), "bread"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"text": "bread", **bread}


def test_a_refused_name_is_told_each_that_is_allowed(app: App) -> None:
    error = refused(app.ask("POST", "/predict", b'{"txt": "bread"}'), 422)
    assert (error["allowed"], error["next"].partition("?")[0]) == ("'texts' or 'text'", "Did you mean 'text'")


def test_pairs_are_answered_and_single_texts_refused_by_a_model_of_pairs(pairs: App) -> None:
    told = pairs.predict(pairs=[["bread", "x"], ["x", "ship"]])
    assert [answer["label"] for answer in told.json["answers"]] == ["kitchen", "sea"]
    error = refused(pairs.predict(texts=["bread"]), 422)
    assert (error["what"], error["allowed"]) == ("the model takes pairs of texts", "'pairs'")
    assert refused(pairs.predict(pairs=[["bread"]]), 422)["where"] == "pairs[0]"
    assert refused(pairs.predict(pairs=["bread"]), 422)["found"] == "a text"
    assert refused(pairs.predict(pairs=[["bread", 3]]), 422)["where"] == "pairs[0][1]"


def refused(told: Any, status: int) -> Any:
    """What a refusal says; it must be a whole one."""
    assert told.status == status, told
    error = told.json["error"]
    assert error.pop("status") == status
    assert error.keys() == {"what", "where", "found", "allowed", "next"}
    assert all(error.values())
    return error


BAD = {  # the body, the status, where it is, what was found
    "no JSON": ('{"texts": [bread]}', 400, "body, line 1, column 12", "bread"),
    "no end": ('{"texts": ["bread"]', 400, "body, line 1", "its end"),
    "an empty body": ("", 400, "body, line 1", "its end"),
    "no UTF-8": (b'{"texts": ["\xff"]}', 400, "body, byte 12", "0xff"),
    "no number": ('{"texts": [NaN]}', 400, "body", "NaN"),
    "a name twice": ('{"texts": ["a"], "texts": ["b"]}', 400, "body, 'texts'", "2 times"),
    "nested deeply": ("[" * 1990, 400, "body", ""),
    "a list": ('["bread"]', 422, "body", "a list"),
    "null": ("null", 422, "body", "null"),
    "no field": ("{}", 422, "body", "an empty object"),
    "a misspelt field": ('{"txts": ["bread"]}', 422, "body", "'txts'"),
    "a list as one text": ('{"text": ["bread"]}', 422, "text", "a list"),
    "one text and a list": ('{"text": "bread", "texts": ["ship"]}', 422, "body", "both at once"),
    "a field too many": ('{"texts": ["bread"], "top": 3}', 422, "body", "'top'"),
    "one text for a list": ('{"texts": "bread"}', 422, "texts", "a text"),
    "an empty list": ('{"texts": []}', 422, "texts", "0 rows"),
    "too many rows": (json.dumps({"texts": ["a"] * 9}), 422, "texts", "9 rows"),
    "a number for a text": ('{"texts": ["a", 3]}', 422, "texts[1]", "a number"),
    "null for a text": ('{"texts": [null]}', 422, "texts[0]", "null"),
    "an empty text": ('{"texts": ["a", " "]}', 422, "texts[1]", "nothing but white space"),
    "a text too long": (json.dumps({"texts": ["a" * 101]}), 422, "texts[0]", "101 characters"),
    "half a surrogate pair": ('{"texts": ["\\ud83d"]}', 422, "texts[0]", "U+D83D, character 0"),
    "a NUL": ('{"texts": ["a\\u0000"]}', 422, "texts[0]", "NUL, character 1"),
    "pairs for texts": ('{"pairs": [["a", "b"]]}', 422, "body", "'pairs'"),
    "a pair for a text": ('{"texts": [["a", "b"]]}', 422, "texts[0]", "a list"),
    "a body too large": (json.dumps({"texts": ["a" * 90] * 40}), 413, "body", "3,771 bytes"),
}


@pytest.mark.parametrize(("body", "status", "where", "found"), BAD.values(), ids=BAD)
def test_a_bad_body_is_refused_with_where_it_is_and_what_was_found(
    app: App, body: str | bytes, status: int, where: str, found: str
) -> None:
    error = refused(app.ask("POST", "/predict", body), status)
    assert error["where"].startswith(where)
    assert found in error["found"]


def test_the_head_alone_is_that_of_the_whole_answer(app: App) -> None:
    for path in ("/", "/docs", "/model", "/health", "/health/ready", "/metrics"):
        whole, head = app.ask("GET", path), app.ask("HEAD", path)
        assert (head.status, head.content) == (200, b""), path
        assert head.headers["Content-Type"] == whole.headers["Content-Type"]
    assert app.ask("HEAD", "/predict").status == 405


def test_a_client_that_waits_to_be_asked_for_a_body_that_is_refused_is_cut_off(app: App) -> None:
    """It may send the body all the same, which would be taken for the next request."""
    with socket.create_connection(("127.0.0.1", app.port), timeout=30) as client:
        head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nExpect: 100-continue\r\n"
        client.sendall(f"{head}Content-Length: 70\r\n\r\n".encode())
        told = b"".join(iter(lambda: client.recv(65536), b""))
    assert told.startswith(b"HTTP/1.1 415")
    assert told.lower().count(b"connection: close") == 1


def test_another_content_type_method_path_or_host_is_refused(app: App) -> None:
    body = '{"texts": ["bread"]}'
    assert "text/plain" in refused(app.ask("POST", "/predict", body, Content_Type="text/plain"), 415)["found"]
    assert "gzip" in refused(app.ask("POST", "/predict", body, Content_Encoding="gzip"), 415)["found"]
    told = app.ask("GET", "/predict")
    assert refused(told, 405)["found"] == "GET"
    assert told.headers["Allow"] == "POST"
    assert refused(app.ask("OPTIONS", "/predict", Origin="http://evil.example"), 405)
    assert "/predict" in refused(app.ask("GET", "/predicted"), 404)["allowed"]
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "93.184.216.34", ""):
        assert refused(app.ask("POST", "/predict", body, Host=host), 400)["where"] == "header Host"
    for host in ("localhost", f"LOCALHOST:{app.port}", "[::1]:8000"):
        assert app.ask("POST", "/predict", body, Host=host).status == 200


def test_no_page_of_another_site_may_read_an_answer(app: App) -> None:
    told = app.ask("POST", "/predict", {"texts": ["bread"]}, Origin="http://evil.example")
    assert "Access-Control-Allow-Origin" not in told.headers
    assert told.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("sent", [b"\x16\x03\x01 hello\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000])
def test_what_is_no_http_and_a_head_without_end_are_answered_with_400(app: App, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", app.port), timeout=10) as raw:
        raw.sendall(sent)
        assert raw.recv(100).startswith(b"HTTP/1.1 400")


def test_a_body_in_chunks_is_counted_as_it_comes(app: App) -> None:
    def ask(*chunks: bytes) -> Any:
        connection = app.connect()
        connection.request("POST", "/predict", chunks, {"Content-Type": "application/json"}, encode_chunked=True)
        return told(connection)

    assert refused(ask(*[b"a" * 9] * 1000), 413)["found"] == "9,000 bytes"
    assert ask(b'{"texts"', b': ["br', b'ead"]}').json["answers"][0]["label"] == "kitchen"


def test_a_body_that_stops_half_way_is_given_up_in_time(model: Path) -> None:
    with serving(model, "--timeout", "1") as app:
        started = time.monotonic()
        with socket.create_connection(("127.0.0.1", app.port), timeout=30) as raw:
            raw.sendall(head(100) + b'{"texts"')
            assert raw.recv(100).startswith(b"HTTP/1.1 408")
        assert time.monotonic() - started > 0.9


def head(length: int) -> bytes:
    lines = ("POST /predict HTTP/1.1", "Host: localhost", "Content-Type: application/json", f"Content-Length: {length}")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def test_requests_at_the_same_time_get_the_answers_that_the_runner_gives_alone(app: App, model: Path) -> None:
    asked = [[f"{'bread ' * (at % 3)}and {'ship ' * (at % 5)}", f"row {at}"] for at in range(200)]
    probabilities = load(model).probabilities
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda texts: app.predict(texts=texts).json["answers"], asked))
    for texts, answers in zip(asked, found, strict=True):
        expected = [[round(value, 6) for value in row] for row in probabilities(texts).tolist()]
        assert [[*answer["probabilities"].values()] for answer in answers] == expected


def test_one_text_alone_is_answered_as_a_list_of_one(app: App) -> None:
    assert app.predict(text="bread").json == app.predict(texts=["bread"]).json


def test_probabilities_have_six_digits_as_in_a_file(app: App) -> None:
    (answer,) = app.predict(text="bread").json["answers"]
    assert answer["probability"] == 0.993307  # 1 / (1 + e^-5)
    assert answer["probabilities"] == {"kitchen": 0.993307, "sea": 0.006693}
    spans = {"spans": [{"start": 0, "probability": 0.123456789}], "number": 0.123456789, "top": {"probability": 1 / 3}}
    assert rounded(spans) == {
        "spans": [{"start": 0, "probability": 0.123457}], "number": 0.123456789, "top": {"probability": 0.333333},
    }  # fmt: skip


def test_a_model_of_a_project_is_called_by_the_projects_folder(tmp_path: Path) -> None:
    folder = write_word_model(tmp_path / "tickets/artifacts/models/quantized")
    assert open_served(folder, threads=1).title == "quantized"  # no project is around it
    (tmp_path / "tickets/dvc.yaml").write_text("stages: {}\n")
    served = open_served(folder, threads=1)
    assert (served.project, served.title, served.labels) == ("tickets", "tickets", ("kitchen", "sea"))


def test_figures_count_requests_rows_and_batches_and_know_no_path_that_is_not_there(app: App) -> None:
    before = app.metric("winnow_rows_total"), app.metric("winnow_batch_rows_sum")
    app.predict(texts=["bread", "ship", "bread"])
    assert (app.metric("winnow_rows_total"), app.metric("winnow_batch_rows_sum")) == (before[0] + 3, before[1] + 3)
    assert app.metric("winnow_rows_waiting") == 0
    before_404 = app.metric('winnow_requests_total{path="other",status="404"}')
    app.ask("GET", "/one-more")
    assert app.metric('winnow_requests_total{path="other",status="404"}') == before_404 + 1
    assert b"one-more" not in app.ask("GET", "/metrics").content


def test_the_api_is_described_without_loading_anything(app: App) -> None:
    described = app.ask("GET", "/openapi.json").json
    content = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    rows, one = content["schema"]["oneOf"]
    assert one["properties"]["text"]["maxLength"] == 100
    assert content["examples"].keys() == {"texts", "text"}
    assert rows["properties"]["texts"]["maxItems"] == 8
    assert {"413", "415", "422", "429", "503"} <= described["paths"]["/predict"]["post"]["responses"].keys()
    page = app.ask("GET", "/docs")
    assert page.status == 200
    text = page.content.decode()
    assert all(f" {path}</code>" in text for path in described["paths"])
    assert "http" not in text.replace("application/json", "")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "script-src 'none'" in page.headers["Content-Security-Policy"]


def test_the_model_and_its_limits_are_told(app: App) -> None:
    about = app.ask("GET", "/model").json
    assert (about["takes"], about["labels"], about["project"]) == (["texts"], ["kitchen", "sea"], None)
    of_request = {"rows": 8, "characters": 100, "bytes": 2000, "seconds": 30.0}
    of_writing = {"new_tokens": 512, "beams": 8, "streams": 4}
    assert about["limits"] == {**of_request, "waiting": 4096, "held_bytes": 256_000_000, **of_writing}


def test_the_log_has_a_line_a_request_and_nothing_of_its_content(model: Path) -> None:
    with serving(model) as app:
        app.ask("POST", "/predict?token=hunter2", {"texts": ["hunter2"]}, Authorization="hunter2")
        app.ask("GET", "/hunter2%0aFAKE")
        app.end()
        assert app.ended() == 0
    lines = app.said.splitlines()
    assert [line.split()[1:4] for line in lines[1:]] == [["POST", "/predict", "200"], ["GET", "other", "404"]]
    assert "hunter2" not in app.said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_once_all_that_it_holds_is_answered(model: Path, number: int) -> None:
    body = b'{"texts": ["bread"]}'
    with serving(model, "--quiet") as app:
        held = [socket.create_connection(("127.0.0.1", app.port), timeout=20) for _ in range(8)]
        for raw in held:
            raw.sendall(head(len(body)) + body[:5])
        until(lambda: app.metric("winnow_requests_held") == 9)  # these, and that for the figures
        app.end(number)
        until(lambda: app.ask("GET", "/health/ready").status == 503)
        assert app.ask("GET", "/health/live").status == 200
        late = app.predict(texts=["bread"])
        assert refused(late, 503)["what"] == "the server is ending"
        assert late.headers["Retry-After"]
        for raw in held:
            raw.sendall(body[5:])
        assert all(whole(raw).startswith(b"HTTP/1.1 200") for raw in held)
        assert app.ended() == 0
        assert app.said.count("\n") == 1


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def whole(raw: socket.socket) -> bytes:
    with raw:
        return b"".join(iter(lambda: raw.recv(65536), b""))


def test_a_second_signal_ends_it_at_once_and_the_exit_code_says_that_something_was_given_up(model: Path) -> None:
    with serving(model, "--quiet") as app:
        raw = socket.create_connection(("127.0.0.1", app.port), timeout=20)
        raw.sendall(head(100) + b"{")
        app.predict(texts=["bread"])  # the other one has begun before
        app.end()
        until(lambda: app.ask("GET", "/health").status == 503)
        started = time.monotonic()
        app.end()
        assert app.ended() == 1
        assert time.monotonic() - started < 30  # of the 35 seconds that the first signal gave it
        assert "some requests were given up" in app.said
        raw.close()


def test_other_machines_are_let_in_only_when_asked_and_then_with_a_warning(model: Path) -> None:
    command = [sys.executable, "-m", "flows.cli", "app", str(model), "--port", "0", "--host", EVERYWHERE]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--allow-remote" in done.stderr
    with serving(model, "--host", EVERYWHERE, "--allow-remote", "--allowed-host", "Models.example") as app:
        assert "other machines can reach this" in app.said
        assert app.ask("GET", "/health", Host="models.example:80").status == 200
        assert app.ask("GET", "/health", Host="192.0.2.7").status == 200
        assert app.ask("GET", "/health", Host="evil.example").status == 400


def test_an_altered_model_and_a_port_in_use_are_refused_in_a_line(model: Path, tmp_path: Path) -> None:
    def fails(folder: Path, port: int) -> str:
        command = [sys.executable, "-m", "flows.cli", "app", str(folder), "--port", str(port)]
        done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        return done.stderr

    opened = server.listening("127.0.0.1", 0)
    port = opened.getsockname()[1]
    assert f"port {port} of 127.0.0.1 is in use" in fails(model, port)
    opened.close()
    altered = tmp_path / "altered"
    altered.mkdir()
    for path in model.iterdir():
        (altered / path.name).write_bytes(path.read_bytes())
    (altered / "vocabulary.json").write_text('["ship", "bread"]')
    assert "vocabulary.json was altered" in fails(altered, 0)
    assert "no model there" in fails(tmp_path / "nowhere", 0)


def test_an_int8_folder_answers_alike_alone_and_among_others(
    tmp_path: Path, tiny_models: Callable[[str], Path]
) -> None:
    from test_backends import TEXTS, make_student, quantized

    folder = quantized(make_student(tiny_models("bert"), tmp_path / "student"), tmp_path / "int8")
    classify = load(folder, threads=1)
    with serving(folder, "--quiet") as app, ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda text: app.predict(texts=[text]).json["answers"][0], TEXTS * 5))
    for text, answer in zip(TEXTS * 5, found, strict=True):
        expected = classify.probabilities([text])[0]
        np.testing.assert_allclose([*answer["probabilities"].values()], expected, rtol=1e-5, atol=1e-6)  # of six digits
