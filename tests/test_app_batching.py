"""How rows of several requests are put together: what each batch holds, and who is told of what fails."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flows.app.batching import BATCH_CHARACTERS, BATCH_ROWS, Batcher
from flows.app.hosts import allowed_name, is_known, is_loopback
from flows.app.limits import PAIRS, TEXTS, Limits, texts_of
from flows.app.refusals import Refused
from flows.cli.serving_app import app

LIMITS = Limits(rows=8, characters=100, bytes=10_000, waiting=100, seconds=1)


class Model:
    """Answers each text with its length, and keeps what it was given; `held` until it may."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.may = threading.Event()
        self.may.set()

    def __call__(self, texts: Sequence[Any]) -> list[dict[str, Any]]:
        assert self.may.wait(10)
        self.batches.append(list(texts))
        if "bad" in texts:
            raise ValueError("a text that the model fails at")
        return [{"is": text} for text in texts]


def run(model: Model, does: Callable[[Batcher], Awaitable[Any]], *, gather: float = 0.0, waiting: int = 1000) -> Any:
    async def whole() -> Any:
        batcher = Batcher(model, waiting=waiting, gather=gather)
        working = asyncio.create_task(batcher.work())
        try:
            return await does(batcher)
        finally:
            model.may.set()
            working.cancel()
            batcher.close()

    return asyncio.run(whole())


def test_rows_that_come_while_the_model_is_at_work_are_answered_together() -> None:
    model = Model()

    async def ask(batcher: Batcher) -> Any:
        model.may.clear()
        first = asyncio.create_task(batcher.answers(["a"]))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(batcher.answers([text, text * 2])) for text in "bcd"]
        await asyncio.sleep(0.05)
        assert batcher.waiting == 6
        model.may.set()
        return await asyncio.gather(first, *others)

    answers = run(model, ask)
    assert model.batches == [["a"], ["b", "bb", "c", "cc", "d", "dd"]]
    assert answers == [[{"is": "a"}], *([{"is": text}, {"is": text * 2}] for text in "bcd")]


def test_a_batch_waits_for_further_rows_until_it_is_full_or_as_long_as_it_is_told() -> None:
    async def ask(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.answers(["a"]))
        while not batcher.waiting:
            await asyncio.sleep(0)
        await asyncio.gather(first, batcher.answers(["b"] * (BATCH_ROWS - 1)))

    full, alone, at_once = Model(), Model(), Model()
    started = time.monotonic()
    run(full, ask, gather=60)
    assert full.batches == [["a"] + ["b"] * (BATCH_ROWS - 1)]
    assert time.monotonic() - started < 30
    started = time.monotonic()
    run(alone, lambda batcher: batcher.answers(["a"]), gather=0.1)
    assert time.monotonic() - started >= 0.1
    run(at_once, lambda batcher: batcher.answers(["a"]))
    assert (alone.batches, at_once.batches) == ([["a"]], [["a"]])


def test_many_rows_and_long_ones_are_answered_in_several_batches_in_their_order() -> None:
    model = Model()
    rows = [str(at) for at in range(BATCH_ROWS * 2 + 3)]
    assert run(model, lambda batcher: batcher.answers(rows)) == [{"is": text} for text in rows]
    assert [len(batch) for batch in model.batches] == [BATCH_ROWS, BATCH_ROWS, 3]
    long = Model()
    run(long, lambda batcher: batcher.answers(["x" * BATCH_CHARACTERS] * 3))
    assert [len(batch) for batch in long.batches] == [1, 1, 1]


def test_texts_and_pairs_are_never_in_one_batch() -> None:
    model = Model()

    async def ask(batcher: Batcher) -> None:
        asked: list[Any] = [["a"], [("a", "b")], [("c", "d")], ["e"]]
        await asyncio.gather(*map(batcher.answers, asked))

    run(model, ask, gather=0.05)
    assert model.batches == [["a"], [("a", "b"), ("c", "d")], ["e"]]


def test_a_request_that_fails_fails_alone() -> None:
    model = Model()

    async def ask(batcher: Batcher) -> Any:
        return await asyncio.gather(*map(batcher.answers, (["a"], ["bad"], ["b"])), return_exceptions=True)

    first, failed, last = run(model, ask, gather=0.05)
    assert (first, last) == ([{"is": "a"}], [{"is": "b"}])
    assert isinstance(failed, ValueError)
    assert model.batches[0] == ["a", "bad", "b"]


def test_records_that_are_too_few_fail_their_request_and_no_other() -> None:
    class Forgetful(Model):
        def __call__(self, texts: Sequence[Any]) -> list[dict[str, Any]]:
            return super().__call__(texts)[: 1 if "lost" in texts else None]

    async def ask(batcher: Batcher) -> Any:
        asked = (["a"], ["lost", "b"], ["c"])
        first = await asyncio.wait_for(asyncio.gather(*map(batcher.answers, asked), return_exceptions=True), 5)
        return first, await asyncio.wait_for(batcher.answers(["d"]), 5), batcher.works

    (before, failed, after), later, works = run(Forgetful(), ask, gather=0.05)
    assert (before, after, later, works) == ([{"is": "a"}], [{"is": "c"}], [{"is": "d"}], True)
    assert str(failed) == "the model gave 1 records for 2 texts"


def test_whether_rows_are_answered_is_known_once_it_is_over() -> None:
    async def ask() -> tuple[bool, bool]:
        def fails(_: int) -> None:
            raise OSError("no room for the figures")

        batcher = Batcher(Model(), waiting=10, gather=0, observe=fails)
        working = asyncio.create_task(batcher.work())
        await asyncio.sleep(0)
        before = batcher.works
        asked = asyncio.create_task(batcher.answers(["a"]))
        with pytest.raises(OSError, match="no room"):
            await working
        asked.cancel()
        batcher.close()
        return before, batcher.works

    assert asyncio.run(ask()) == (True, False)


def test_rows_of_a_request_that_was_given_up_are_not_answered() -> None:
    model = Model()

    async def ask(batcher: Batcher) -> None:
        model.may.clear()
        first = asyncio.create_task(batcher.answers(["a"]))
        await asyncio.sleep(0.05)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await batcher.answers(["gone"] * 9)
        assert batcher.waiting == 0
        model.may.set()
        await asyncio.gather(first, batcher.answers(["b"]))

    run(model, ask)
    assert model.batches == [["a"], ["b"]]


def test_rows_beyond_those_that_may_wait_are_refused_but_a_first_request_never() -> None:
    model = Model()

    async def ask(batcher: Batcher) -> Any:
        model.may.clear()
        first = asyncio.create_task(batcher.answers(["a"] * 10))  # more than may wait, and nothing does
        await asyncio.sleep(0.05)
        waits = asyncio.create_task(batcher.answers(["b"] * 4))
        await asyncio.sleep(0)
        with pytest.raises(Refused) as refused:
            await batcher.answers(["c"])
        model.may.set()
        await asyncio.gather(first, waits)
        return refused.value

    error = run(model, ask, waiting=4)
    assert (error.status, error.found, error.headers) == (429, "4 rows waiting", {"Retry-After": "1"})


def test_a_body_is_read_as_the_texts_or_pairs_that_the_model_takes() -> None:
    both = {TEXTS, PAIRS}
    assert texts_of(b'{"texts": ["a", "\xc3\xa9\\ud83d\\ude00"]}', {TEXTS}, LIMITS) == ["a", "é😀"]
    assert texts_of(b'{"pairs": [["a", "b"]]}', both, LIMITS) == [("a", "b")]
    with pytest.raises(Refused) as refused:
        texts_of(b'{"texts": ["a"], "pairs": [["a", "b"]]}', both, LIMITS)
    assert refused.value.found == "both at once"
    with pytest.raises(Refused) as refused:
        texts_of(b'{"texts": [' + b"1" * 5000 + b"]}", {TEXTS}, LIMITS)
    assert refused.value.what == "the body has a number that is too long"
    with pytest.raises(Refused) as refused:
        texts_of(b'{"texs": ["a"]}', {TEXTS}, LIMITS)
    assert refused.value.next_step == "Did you mean 'texts'? Send for example " + '{"texts": ["a text", "another"]}'


def test_a_body_of_many_names_or_of_one_that_is_long_is_refused_in_less_than_a_second() -> None:
    names = [*(f'"{at}": 1' for at in range(100_000)), *['"again": 1'] * 3]
    started = time.perf_counter()
    with pytest.raises(Refused) as refused:
        texts_of(f"{{{', '.join(names)}}}".encode(), {TEXTS}, LIMITS)
    assert (refused.value.where, refused.value.found) == ("body, 'again'", "3 times")
    with pytest.raises(Refused) as refused:
        texts_of(f'{{"{"text" * 1_000_000}": []}}'.encode(), {TEXTS}, LIMITS)
    assert refused.value.what == "an unknown name"
    assert time.perf_counter() - started < 1


def test_which_hosts_are_this_machines_and_which_a_request_may_name() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.8.8.8", "::1", "LocalHost.")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.2", "localhost.example", "127.0.0.1.example")))  # noqa: S104
    assert is_known("models.example:8000", {"models.example"}, remote=False)
    assert is_known("[2001:db8::1]:80", set(), remote=True)
    assert not is_known("[2001:db8::1]:80", set(), remote=False)
    assert not any(is_known(name, set(), remote=True) for name in ("", "a.example", "[::1", "localhost:x", "1"))


def test_an_allowed_name_is_taken_as_a_request_names_it_and_refused_where_no_request_could() -> None:
    assert [allowed_name(name) for name in ("Models.example.", "[2001:db8::1]")] == ["models.example", "2001:db8::1"]
    assert is_known("models.example:8000", {allowed_name("Models.example.")}, remote=False)
    for name in ("models.example:8080", "http://models.example", "models.example/", "", ".", "a name", "*"):
        with pytest.raises(ValueError, match=r"is no name of a host|Leave it out: models\.example$"):
            allowed_name(name)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--timeout", "nan"), "'nan' is no number"),
        (("--gather", "NaN"), "'NaN' is no number"),
        (("--allow-remote",), "--allow-remote does nothing where it listens on 127.0.0.1"),
        (("--allowed-host", "models.example:80"), "has a port"),
        (("--host", "no.such.host.invalid", "--allow-remote"), "is no address and no known name"),
    ],
)
def test_options_that_could_not_do_anything_are_refused(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(app, [str(tmp_path), *options])
    assert done.exit_code != 0
    assert said in " ".join(f"{done.output} {done.exception}".split())
