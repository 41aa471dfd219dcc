"""Answers of a language model by prompts, which `winnow prompt` calls.

    python -m stages.programs.prompted measure VALUES SPLIT OUT    the figures on a split's rows, as JSON
    python -m stages.programs.prompted label VALUES ROWS OUT       rows without a label, with the model's, as jsonl

It is in no graph: what is made of its labels begins with `ingest`, as with any data.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from stages.cleaning.rules import cleaner, cleaning_of
from stages.core import plugins
from stages.core.contracts import Family, Head, Runner, Text
from stages.core.entry import run_stage
from stages.core.files import publish, sha256, write_json
from stages.core.params.file import Params
from stages.core.params.model import ModelParams
from stages.core.paths import Paths
from stages.measures import calibration, quality
from stages.measures.opened import Opened
from stages.models import FAMILIES
from stages.models.pretrained import load_tokenizer, locate, without_path
from stages.prompting.asking import Asker
from stages.prompting.demonstrations import Demonstration, Demonstrations
from stages.prompting.prompts import Reader
from stages.prompting.values import TEXT_PAIR, PromptValues, load_values, words_of
from stages.reading.clean_rows import GROUP, read_split, texts_of
from stages.reading.clean_rows import TEXT_PAIR as SECOND
from stages.tasks import TASKS
from stages.tasks.contract import TaskAnswers, TaskEncoding, TaskLearning, TaskMeasures, TaskSettings
from stages.tokens.literal import literal
from stages.training.processes import own_device

DIGITS = 6
SAID = ("probability", "probabilities")  # of the label, and of every label


def prompted(params: Params, paths: Paths) -> None:
    """Do what the command line says. Raises ValueError as `measured` and `labelled`."""
    what, values, of, out = sys.argv[1:]
    {"measure": measured, "label": labelled}[what](params, paths, Path(values), of, Path(out))


def measured(params: Params, paths: Paths, file: Path, split: str, out: Path) -> None:
    """Write the figures on the rows of `split` to `out`: the task's measures with their intervals, and of what.

    Raises ValueError where the task has not one label a text, where the model or a value cannot be taken, and where a
    row has a label that no training row has.
    """
    values = load_values(file)
    model, asker = opened(params, paths, values, file.name)
    rows = read_split(paths.clean, split, GROUP)
    truths = rows["label"].to_pylist()
    judged = model.judge(
        texts_of(rows), truths, units=rows[GROUP].to_pylist(), seed=params.data_seed, columns={"label": truths}
    )
    told = asker.told
    write_json(
        out,
        {
            **quality.measure(judged, model, params.evaluate),
            **calibration.measure(judged, model, params.evaluate),
            "split": split,
            "data": sha256(paths.clean),
            "prompt": described(values),
            "demonstrations": round(told["demonstrations"] / told["texts"], DIGITS),
            "cut": round(told["cut"] / told["texts"], DIGITS),
        },
    )


def labelled(params: Params, paths: Paths, file: Path, rows: str, out: Path) -> None:
    """Write the rows of the jsonl `rows` to `out`, a line each, with the model's label, and how likely each is.

    A row of `rows` has its `texts`, and what it `kept`. The columns are named as those of the project's data, so that
    the file can stand beside it. Rows whose label is less likely than `min_probability` are left out. Raises ValueError
    as `measured`.
    """
    values = load_values(file)
    model, _ = opened(params, paths, values, file.name)
    ingest, columns = params.ingest, params.ingest.columns
    found = list(_rows(Path(rows)))
    outputs, answers = model.ask([text for text, _ in found])
    sure = model.confidence(outputs, answers)
    assert sure is not None  # a label has a probability
    split = {} if ingest.split_column is None else {ingest.split_column: ingest.splits.train}
    with publish(out) as draft, draft.open("w", encoding="utf-8") as lines:
        for row, (text, kept) in enumerate(found):
            if sure[row] < values.min_probability:
                continue
            first, *second = (text,) if isinstance(text, str) else text
            record = _rounded(model.of_answers.record(outputs, row, first, model.runner.space))
            texts = {columns.text: first, **({str(columns.text_pair): second[0]} if second else {})}
            beside = {name: kept.get(name) for name in ingest.keep_columns} | split
            own = {**texts, columns.label: answers[row], **beside, **{name: record[name] for name in SAID}}
            lines.write(f"{json.dumps(own, ensure_ascii=False)}\n")


def opened(params: Params, paths: Paths, values: PromptValues, file: str) -> tuple[Opened, Asker]:
    """The language model as a model of the task, with its parts, and what asks it; `file`: what the values are of.

    Raises ValueError as `measured`.
    """
    name, key = params.task.name, "task.name"
    refuse_task(name)
    encoding: TaskEncoding = plugins.part(TASKS, name, "encoding", key=key)
    learning: TaskLearning = plugins.part(TASKS, name, "learning", key=key)
    of_answers: TaskAnswers = plugins.part(TASKS, name, "answers", key=key)
    of_measures: TaskMeasures = plugins.part(TASKS, name, "measures", key=key)
    rows = read_split(paths.clean, "train")
    if (SECOND in rows.column_names) != values.of_pairs:
        needed = f"with {TEXT_PAIR}, as rows are pairs" if not values.of_pairs else f"without {TEXT_PAIR}"
        raise ValueError(f"{file}: template is '{values.template}'. Allowed for this project: one {needed}.")
    shown = [(text, label) for text, label in zip(texts_of(rows), rows["label"].to_pylist(), strict=True) if label]
    space = encoding.space([label for _, label in shown])
    assert learning.names is not None  # the task was not refused
    names = list(learning.names(space))
    words = dict(zip(names, words_of(names, values, file), strict=True))
    language, tokenizer, begin = _language(values, file)
    try:
        reader = Reader(values, list(words.values()), tokenizer, begin)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    cleaning = cleaning_of(
        params.clean.rules, params.clean.masks, params.clean.stop_word_language, params.clean.max_chars
    )
    demonstrations = Demonstrations([Demonstration(text, words[label]) for text, label in shown])
    asker = Asker(language, reader, demonstrations, values, cleaner(cleaning))
    return Opened(Runner(name, space, asker.predict), of_answers, of_measures), asker


def refuse_task(name: str) -> None:
    """Raise ValueError for a task whose target is not one label."""
    settings: dict[str, TaskSettings] = {one: plugins.part(TASKS, one, "settings", key="task.name") for one in TASKS}
    if settings[name].classes != "one":
        allowed = ", ".join(one for one, of in settings.items() if of.classes == "one")
        raise ValueError(
            f"params.yaml: task.name is '{name}'. Allowed for prompts, which score single labels: {allowed}."
        )


def described(values: PromptValues) -> dict[str, Any]:
    """The values for a record: of a model in a folder only the folder's name."""
    found = values.model_dump(mode="json")
    return {**found, "model": {**found["model"], "name": without_path(values.model.name)}}


def _language(values: PromptValues, file: str) -> tuple[Any, Tokenizer, int]:
    """The language model with its head, its tokenizer, and the token that begins a text, as models here learn it."""
    own = values.model
    try:
        model = ModelParams(
            family="decoder", name=own.name, revision=own.revision, sha256=own.sha256, pooling="mean",
            encoder_dropout=0.0, head_dropout=0.0, scratch=None, image=None, image_augmentation=0.0,
        )  # fmt: skip
        tokenizer = load_tokenizer(model)
        if values.max_tokens > tokenizer.model_max_length:
            raise ValueError(
                f"{file}: max_tokens is {values.max_tokens}. Allowed: {tokenizer.model_max_length} or less, which"
                f" {without_path(own.name)} takes."
            )
        family: Family = plugins.load(FAMILIES, model.family, key="model.family")
        language: Any = family.build(locate(model), model, Head("vocabulary", 0)).eval().to(own_device()).language
    except ValueError as error:
        raise ValueError(str(error).replace("params.yaml: ", f"{file}: ")) from None
    language.set_attn_implementation("sdpa")  # it takes a mask of bool, and holds no scores of all tokens with all
    begin = tokenizer.bos_token_id
    return language, literal(tokenizer.backend_tokenizer), tokenizer.eos_token_id if begin is None else begin


def _rows(path: Path) -> Iterator[tuple[Text, Mapping[str, str | None]]]:
    """The texts, or pairs, of a jsonl, and what each row kept; half a surrogate pair, which is no text, as "?"."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            first, *second = [part.encode("utf-8", "replace").decode("utf-8") for part in row["texts"]]
            yield ((first, second[0]) if second else first), row["kept"]


def _rounded(value: Any) -> Any:
    """The record with numbers that are the same on every machine."""
    if isinstance(value, Mapping):
        return {name: _rounded(one) for name, one in value.items()}
    return round(value, DIGITS) if isinstance(value, float) else value


if __name__ == "__main__":
    run_stage(prompted)
