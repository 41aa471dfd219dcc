"""What the OpenAPI document says of each path."""

from __future__ import annotations

import json
from typing import Any

from fastapi.responses import JSONResponse, StreamingResponse

from flows.app.limits import EXAMPLES, ONE_EXAMPLE, PAIRS, SETTINGS, TEXT, TEXT_EXAMPLE, TEXTS, Limits
from flows.app.served import Served

REFUSALS = {
    400: "The body is no JSON, or the server is not called so (header Host)",
    408: "The body did not come in time",
    413: "The body is too large",
    415: "The body is not announced as application/json",
    422: "JSON that is no request: another kind, too many rows, a text that is empty or too long",
    429: "Too many rows wait for the model, or too many bodies are being read",
    503: "There was no answer in time, or the server is ending",
}
_TEXT = {"type": "string"}


def about_predict(served: Served, limits: Limits) -> dict[str, Any]:
    """Of POST /predict, as FastAPI's decorators take it."""
    writes = served.usual is not None
    kinds = [_rows(name, limits, writes=writes) for name in sorted(served.takes, reverse=True)]
    examples = {name: {"value": json.loads(EXAMPLES[name])} for name in sorted(served.takes, reverse=True)}
    if TEXTS in served.takes:
        kinds.append(_rows(TEXT, limits, writes=writes))
        examples[TEXT] = {"value": json.loads(ONE_EXAMPLE)}
    content = {
        "schema": kinds[0] if len(kinds) == 1 else {"oneOf": kinds},
        "examples": examples,
    }
    body = {"required": True, "content": {"application/json": content}}
    return {
        "summary": "What the model says of each text, or pair of texts",
        "description": "Requests that come at the same time are answered together. The answers are a list in the"
        " order of the rows, of one text alone too, each as the command winnow predict --json has it.",
        "response_class": JSONResponse,
        "responses": {
            200: {"description": "The answers", "content": {"application/json": {"schema": _ANSWERS}}},
            **_refusals(),
        },
        "openapi_extra": {"requestBody": body},
    }


def about_stream(limits: Limits) -> dict[str, Any]:
    """Of POST /stream."""
    schema = {
        "type": "object", "required": [TEXT], "additionalProperties": False,
        "properties": {TEXT: {**_TEXT, "minLength": 1, "maxLength": limits.characters}, SETTINGS: _SETTINGS},
    }  # fmt: skip
    content = {"schema": schema, "examples": {TEXT: {"value": json.loads(TEXT_EXAMPLE)}}}
    return {
        "summary": "What the model writes for one text, piece by piece",
        "description": 'Each line is JSON: {"piece": "..."} as it is written, and at the end {"written": "..."}, the'
        ' whole text, or {"error": {...}}.',
        "response_class": StreamingResponse,
        "responses": {
            200: {"description": "The pieces", "content": {"application/x-ndjson": {"schema": _TEXT}}},
            **_refusals(),
        },
        "openapi_extra": {"requestBody": {"required": True, "content": {"application/json": content}}},
    }


def _refusals() -> dict[int, dict[str, Any]]:
    return {
        status: {"description": why, "content": {"application/json": {"schema": _REFUSAL}}}
        for status, why in REFUSALS.items()
    }


def about_model() -> dict[str, Any]:
    """Of GET /model."""
    return {"summary": "The model, what it takes, and the limits of a request", "response_class": JSONResponse}


def about_health(summary: str, *, may_fail: bool) -> dict[str, Any]:
    """Of GET /health and what is below it; `may_fail`: whether it may be 503."""
    failure = {503: {"description": "No: the server is ending, or the model no longer answers"}}
    return {"summary": summary, "response_class": JSONResponse, "responses": failure if may_fail else {}}


def _rows(name: str, limits: Limits, *, writes: bool) -> dict[str, Any]:
    text = {**_TEXT, "minLength": 1, "maxLength": limits.characters}
    pair = {"type": "array", "items": text, "minItems": 2, "maxItems": 2}
    items = {TEXTS: text, PAIRS: pair}
    rows = {"type": "array", "items": items[name], "minItems": 1, "maxItems": limits.rows} if name in items else text
    members = {name: rows, SETTINGS: _SETTINGS} if writes else {name: rows}
    return {"type": "object", "properties": members, "required": [name], "additionalProperties": False}


_SETTINGS = {
    "type": "object",
    "description": "How text is written: max_new_tokens, beams, temperature, top_k, top_p, repetition_penalty,"
    " length_penalty, stop (a list), seed; what is missing is as the model says (GET /model)",
}


_ANSWERS = {
    "type": "object",
    "required": ["model", "manifest", "answers"],
    "properties": {
        "model": {**_TEXT, "description": "The name of the model's folder"},
        "manifest": {**_TEXT, "description": "The SHA-256 of its manifest"},
        "answers": {"type": "array", "items": {"type": "object"}},
    },
}
_REFUSAL = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "properties": {"status": {"type": "integer"}}
            | dict.fromkeys(("what", "where", "found", "allowed", "next"), _TEXT),
        }
    },
}
