"""The folder of a demo page: the model, what the page must know of it, and what others wrote; complete in itself.

artifacts/models/quantized ──┐
tables of characters ────────┤──>  FOLDER/index.html, page.js ..., demo.json, model/, vendor/
parts of npm, by their hashes┘
"""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from flows.app.pages import TEMPLATES
from flows.demo import parts, tables
from flows.demo.fitness import PAGE, refuse_unfit
from stages.backends.batching import CHARACTERS_A_TOKEN, WINDOWED_CHARACTERS, open_reader, task_of
from stages.backends.runners import open_runner
from stages.cleaning import markup
from stages.core import plugins
from stages.core.contracts import Runner
from stages.core.files import publish, read_object, sha256, write_json
from stages.core.model_folder import MANIFEST, describe, verify
from stages.tasks import TASKS
from stages.tasks.contract import TaskAnswers
from winnow import Model

ABOUT = "demo.json"
_SHARED = ("look.css", "records.js")  # with the page of `winnow app`
_MODEL = ("model.onnx", "tokenizer.json")
CHECKS = (
    "Return the eigenvalues of a symmetric matrix.",
    "It didn't arrive, and nobody answers: 3 calls, 2 e-mails (see #4711)!",
    "<p>One <b>bold</b> word</p> &amp; an entity &eacute;, a < b, List<a>",
    "Café naïve Ærøskøbing Straße İstanbul ΟΔΟΣ ΟΔΟΣ.",
    "Привет, мир! 我喜欢这个产品。 これは\u3000本です 한국어 𠮷野家",
    "می\u200cخواهم क्\u200dष 👩\u200d💻 ❤\ufe0f \ufeffwo\u200brd so\u00adft\u202e \x93quoted\x94",
    "https://example.org/a?b=c a.b@example.org +49 30 1234567 1,234.5",
    "[CLS] [SEP] [MASK] [UNK] " + "long" * 60,
    "A long text goes on and on. " * 40,
    "\u0378 \u1ac1 \u2e52 \U0001f9ff",
)
"""Texts that the page answers before it answers a reader's: of no corpus, in several scripts, and odd."""


def write_demo(model: Path, folder: Path) -> int:
    """Write the page of the sealed model in `model` to `folder`, in place of a page that is there; its size in bytes.

    Raises FileNotFoundError where there is no model, or a part of the page was not fetched; ValueError where the model
    is none that a page runs, or was altered; FileExistsError where `folder` is something else than a page.
    """
    folder = folder.absolute()  # "." has no name
    _refuse_other(folder)
    description = describe(model)
    verify(model)
    tokenizer = read_object(model / "tokenizer.json") if (model / "tokenizer.json").is_file() else {}
    refuse_unfit(model, description, tokenizer)
    made = parts.files()
    runner = open_runner(model, threads=1)
    made |= {f"model/{name}": (model / name).read_bytes() for name in _MODEL}
    about = _about(model, description, runner, tokenizer)
    with publish(folder) as draft:
        shutil.copytree(PAGE, draft)
        for name in _SHARED:
            shutil.copyfile(TEMPLATES / name, draft / name)
        for name, content in made.items():
            (draft / name).parent.mkdir(exist_ok=True)
            (draft / name).write_bytes(content)
        write_json(draft / ABOUT, {**about, "files": {name: _integrity(content) for name, content in made.items()}})
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _refuse_other(folder: Path) -> None:
    """Raise FileExistsError where `folder` holds anything that no page has: a repository around it, say, or a CNAME."""
    if not folder.exists():
        return
    own = {*(path.name for path in PAGE.iterdir()), *_SHARED, ABOUT, "model", "vendor"}
    held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else [folder.name]
    other = [name for name in held if name not in own]
    if other or (held and ABOUT not in held):
        raise FileExistsError(
            f"{folder} is there, and is no demo page. Name another folder, or remove it. It holds"
            f" {', '.join((other or held)[:3])}."
        )


def _about(model: Path, description: Mapping[str, Any], runner: Runner, tokenizer: Mapping[str, Any]) -> dict[str, Any]:
    """What the page must know of the model."""
    settings = plugins.part(TASKS, runner.task, "settings", key=f"{model / 'model.json'}: task")
    cleaning = description.get("cleaning")
    return {
        "name": model.resolve().name,
        "noun": settings.noun,
        "manifest": sha256(model / MANIFEST),
        "task": task_of(description),
        "space": runner.space,
        "temperature": description.get("temperature", 1.0),
        "cleaning": cleaning,
        "tables": tables_of(cleaning["rules"]) if cleaning else {},
        "reading": _reading(model, description, tokenizer),
        "checks": _checks(model, description, runner),
    }


def answers_of(model: Path) -> TaskAnswers:
    """What a record is made by, of the task of the model in `model`."""
    found: TaskAnswers = plugins.part(TASKS, task_of(describe(model)), "answers", key=f"{model / 'model.json'}: task")
    return found


def tables_of(rules: Sequence[str]) -> dict[str, Any]:
    """What the page's cleaning by these rules needs: tables of characters, and the words of HTML."""
    elements = {
        "blocks": sorted(markup.BLOCKS), "inlines": sorted(markup.INLINES), "left_open": sorted(markup.LEFT_OPEN),
        "bare_attributes": markup.BARE_ATTRIBUTES,
    }  # fmt: skip
    return tables.of_rules(rules) | (elements if "html_markup" in rules else {})


def _reading(model: Path, description: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> dict[str, Any]:
    """How a text becomes windows of tokens, as `Reader` has it, and what the page changes for its own tokenizer."""
    reader, engine = open_reader(model, description), Tokenizer.from_file(str(model / "tokenizer.json"))
    around = engine.encode("a")
    first = around.special_tokens_mask.index(0)
    return {
        "max_tokens": reader.max_tokens,
        "stride": reader.stride,
        "characters": WINDOWED_CHARACTERS if reader.stride is not None else reader.max_tokens * CHARACTERS_A_TOKEN,
        "before": around.ids[:first],
        "after": around.ids[first + 1 :],
        **tables.of_tokenizer(engine, tokenizer["model"]["vocab"]),
    }


def _checks(model: Path, description: Mapping[str, Any], runner: Runner) -> list[dict[str, Any]]:
    """Some texts, the ids of their windows, and what the model says of each, asked alone."""
    reader, ask = open_reader(model, description), Model(runner, answers_of(model))
    windows = [reader.read([runner.clean(text)]).encodings for text in CHECKS]
    return [
        {"text": text, "ids": [window.ids for window in of_text], "record": ask([text])[0]}
        for text, of_text in zip(CHECKS, windows, strict=True)
    ]


def _integrity(content: bytes) -> str:
    """As browsers want it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}"
