"""The application: /predict, /stream, /model, /health, /metrics; / is a page to try the model on, /docs the API's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import Route

from flows import __version__
from flows.app import pages
from flows.app.batching import Batcher, Record
from flows.app.described import about_health, about_model, about_predict, about_stream
from flows.app.ending import Ending
from flows.app.guarding import Guard, Handler, fault
from flows.app.limits import TEXT, TEXTS, Limits, texts_to_write
from flows.app.metrics import CONTENT_TYPE, Metrics
from flows.app.reading import Held, body_of
from flows.app.refusals import Refused, is_ending, is_late, is_slow, unwritable
from flows.app.served import Served
from flows.app.streaming import Streams, streaming
from stages.core.contracts import UnwritableError

GONE = 499  # for the log and the metrics, as nobody reads it; the number is nginx's


def application(
    served: Served,
    limits: Limits,
    ending: Ending,
    *,
    gather: float,
    hosts: Collection[str] = (),
    remote: bool = False,
) -> Guard:
    """The application that serves a model.

    `gather`: the seconds that a batch that is not full waits for further rows. `hosts`: names, besides loopback's,
    that requests may call it by. `remote`: whether it is also for others than this machine.
    """
    batcher = Batcher(served.answer, waiting=limits.waiting, gather=gather, observe=lambda rows: metrics.batch(rows))
    metrics = Metrics(served, lambda: batcher.waiting, lambda: ending.held)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        working = asyncio.create_task(batcher.work())
        yield
        working.cancel()
        batcher.close()

    app = FastAPI(
        title="Winnow", version=__version__, description=f"The model '{served.name}' ({served.noun}).",
        docs_url=None, redoc_url=None, lifespan=lifespan, redirect_slashes=False,
        # Otherwise the environment could have it send traces elsewhere.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )  # fmt: skip
    held = Held(limits.held_bytes)
    predict = _predict(served, limits, held, ending, batcher, metrics)
    app.add_api_route("/predict", predict, methods=["POST"], **about_predict(served, limits))
    direct = {("POST", "/predict"): predict}
    if served.stream is not None and served.usual is not None:
        stream = streaming(Streams(served.stream, limits), served.usual, limits, held, ending, metrics)
        app.add_api_route("/stream", stream, methods=["POST"], **about_stream(limits))
        direct["POST", "/stream"] = stream
    _add_the_state(app, served, limits, lambda: batcher.works and not ending.begun, metrics)
    _add_pages(app, served)
    app.add_exception_handler(Refused, _told)
    app.add_exception_handler(HTTPException, _told_of_http)
    app.add_exception_handler(Exception, _told_of_fault)
    paths = frozenset(_paths(app))
    return Guard(app, direct, paths, frozenset(hosts), remote, ending, metrics)


def _paths(app: FastAPI) -> set[str]:
    return {route.path for route in app.routes if isinstance(route, Route)}


def _predict(served: Served, limits: Limits, held: Held, ending: Ending, batcher: Batcher, metrics: Metrics) -> Handler:
    head = {"model": served.name, "manifest": served.manifest}

    async def predict(request: Request) -> Response:
        if ending.begun:
            raise is_ending()
        refused = is_slow
        try:
            async with asyncio.timeout(limits.seconds):
                body = await body_of(request, limits.bytes, held)
                texts, how, name = texts_to_write(body, served.takes, limits, served.usual)
                refused = is_late
                answers = await _unless_gone(request, batcher.answers(texts, how))
        except TimeoutError:
            raise refused(limits.seconds) from None
        except UnwritableError as error:
            raise unwritable(error, None if name == TEXT else TEXTS) from None
        metrics.answered(len(texts))
        return JSONResponse({**head, "answers": answers})

    return predict


async def _unless_gone(request: Request, answers: Coroutine[Any, Any, list[Record]]) -> list[Record]:
    """These answers; where the client goes before they are there, its rows are given up, and Refused is raised."""
    asked, gone = asyncio.create_task(answers), asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({asked, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            raise Refused(GONE, "the client has gone", "connection", "its end", "a client that waits", "Ask again.")
        return asked.result()
    finally:
        asked.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _add_the_state(
    app: FastAPI, served: Served, limits: Limits, is_ready: Callable[[], bool], metrics: Metrics
) -> None:
    about = {"model": served.name, "manifest": served.manifest, "project": served.project, "task": served.task,
             "is_a": served.noun, "labels": served.labels, "takes": sorted(served.takes, reverse=True),
             "limits": asdict(limits),
             "generation": None if served.usual is None else served.usual.described()}  # fmt: skip

    @app.get("/model", **about_model())
    async def model() -> Response:
        return JSONResponse(about)

    @app.get("/health/live", **about_health("Whether the process answers", may_fail=False))
    async def live() -> Response:
        return JSONResponse({"live": True})

    @app.get("/health/ready", **about_health("Whether new requests are taken", may_fail=True))
    async def ready() -> Response:
        return JSONResponse({"ready": is_ready()}, 200 if is_ready() else 503)

    @app.get("/health", **about_health("Both", may_fail=True))
    async def health() -> Response:
        return JSONResponse({"live": True, "ready": is_ready()}, 200 if is_ready() else 503)

    @app.get("/metrics", summary="Figures for Prometheus", response_class=Response)
    async def figures() -> Response:
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE})


def _add_pages(app: FastAPI, served: Served) -> None:
    trial = pages.trial()

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return trial

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return pages.described(app.openapi(), served)


async def _told(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return error.response()


async def _told_of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    methods = (error.headers or {}).get("Allow", "")
    allowed = methods or ", ".join(sorted(_paths(request.app)))
    where, found = ("method", request.method) if methods else ("path", request.url.path[:100])
    what = HTTPStatus(error.status_code).phrase.lower()
    return Refused(error.status_code, what, where, found, allowed, "The page /docs says what there is.",
                   dict(error.headers or {})).response()  # fmt: skip


async def _told_of_fault(_: Request, error: Exception) -> Response:
    return fault(error).response()
