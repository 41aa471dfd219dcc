"""Mistakes in params.yaml that its values alone do not show, for `winnow check`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.params.identity import IDENTITY_WORDS

if TYPE_CHECKING:
    from stages.core.params.file import Params
    from stages.core.params.ingest import IngestParams


def mistakes(root: Path, params: Params) -> Iterator[str]:
    """Mistakes that the values alone do not show, such as plug-ins and files that do not exist; one line each."""
    from flows.running.masking import keys_with_a_secret
    from stages.backends import NEEDS, QUANTIZERS
    from stages.compression.refusals import faults_of_folder, faults_of_lora, faults_of_student
    from stages.core import plugins
    from stages.models import FAMILIES
    from stages.models.pretrained import faults_of_model, located_here
    from stages.sources import SOURCES
    from stages.tasks import TASKS

    if secret := list(keys_with_a_secret(params.model_dump())):
        remedy = "Keep it in the environment, or in dvc remote modify --local."
        yield from (f"params.yaml: {key} holds a secret in a URL. {remedy}" for key in secret)
        return  # the other messages show the values
    for table, name, key in (
        (TASKS, params.task.name, "task.name"),
        (SOURCES, params.ingest.source, "ingest.source"),
        (FAMILIES, params.model.family, "model.family"),
        (FAMILIES, params.distill.family, "distill.family"),
        (QUANTIZERS, params.quantize.backend, "quantize.backend"),
    ):
        try:
            plugins.check(table, name, key=key)
        except ValueError as error:
            yield str(error)
    if params.task.name in TASKS:
        yield from _of_task(params)
    backend = params.quantize.backend
    yield from plugins.not_installed(backend, NEEDS.get(backend, ()), key="quantize.backend")
    yield from faults_of_student(params)
    yield from faults_of_lora(params)
    yield from _of_groups(params)
    try:  # a model of the Hub may not be here yet; then the stage `tokenize` looks at it
        if folder := located_here(params.model, root):
            yield from list(faults_of_model(folder, params)) or faults_of_folder(folder, params)
    except ValueError as error:
        yield str(error)
    if params.ingest.splits.transfer is not None and params.clean.unlabelled == "drop":
        yield (
            f"params.yaml: ingest.splits.transfer is '{params.ingest.splits.transfer}', and clean.unlabelled 'drop', "
            "so all of its rows would be dropped. Set clean.unlabelled: transfer, or ingest.splits.transfer: null."
        )
    yield from _of_path(root, params.ingest)


def _of_groups(params: Params) -> Iterator[str]:
    """Mistakes of what is asked of groups: what is never measured limits nothing."""
    evaluate, limit = params.evaluate, params.promotion.max_error_rate_gap
    if limit is not None and evaluate.positive_class is None:
        yield (
            f"params.yaml: promotion.max_error_rate_gap is {limit}, and evaluate.positive_class null, of whose errors"
            " it is. Name the class, such as toxic, or set the limit to null."
        )
    if evaluate.positive_class is not None and evaluate.group_column is None:
        yield (
            f"params.yaml: evaluate.positive_class is '{evaluate.positive_class}', and evaluate.group_column null, so"
            f" that it is measured of no group. Name a column of ingest.keep_columns, or {IDENTITY_WORDS}."
        )


def _of_task(params: Params) -> Iterator[str]:
    """Mistakes by the task: those that every stage refuses as it starts, those of `clean`, and those of `tokenize`."""
    from stages.core import plugins
    from stages.core.params.debias import faults_of_debias
    from stages.core.params.task import faults_of_task
    from stages.tasks import TASKS

    yield from faults_of_task(params)
    data = plugins.part(TASKS, params.task.name, "data", key="task.name")
    if not data.exclusive:
        yield from params.clean.faults_without_one_class()
    if data.writes != "target":
        yield from params.clean.faults_without_targets()
    encoding = plugins.part(TASKS, params.task.name, "encoding", key="task.name")
    if params.tokenize.long_texts == "windows":
        yield from _of_windows(params, of_pairs=encoding.windows_of_pairs)
    yield from faults_of_debias(params, encoding)
    if encoding.writes == "target":
        yield from _of_room(params)


def _of_room(params: Params) -> Iterator[str]:
    """The mistake of a source that has no room before its target, where a model reads it there."""
    from stages.core.lacks import LACKS

    tokenize = params.tokenize
    least = tokenize.max_target_tokens + 3  # what begins, a token of the source, and what parts it from its target
    if "source_apart" in LACKS.get(params.model.family, ()) and tokenize.max_tokens < least:
        yield (
            f"params.yaml: tokenize.max_tokens is {tokenize.max_tokens}, of which what is written may take"
            f" {tokenize.max_target_tokens} (tokenize.max_target_tokens), so that none is left for its source. Allowed:"
            f" {least} or more."
        )


def _of_windows(params: Params, *, of_pairs: bool) -> Iterator[str]:
    """Mistakes about windows; `of_pairs`: whether the task reads pairs in them, the second text in each."""
    tokenize, are_pairs = params.tokenize, params.ingest.columns.text_pair is not None
    if are_pairs and not of_pairs:
        yield (
            "params.yaml: tokenize.long_texts is 'windows', and ingest.columns.text_pair gives pairs of texts. "
            "Allowed for pairs: truncate, which cuts the longer text first."
        )
        return
    room, of = (tokenize.max_tokens // 2, "half of ") if are_pairs else (tokenize.max_tokens, "")
    if tokenize.stride >= room:
        why = ", as the second text may take the other half" if are_pairs else ""
        yield (
            f"params.yaml: tokenize.stride is {tokenize.stride}, and tokenize.max_tokens {tokenize.max_tokens}. "
            f"Allowed: less than {of}tokenize.max_tokens{why}; {tokenize.max_tokens // 4}, say."
        )


def _of_path(root: Path, ingest: IngestParams) -> Iterator[str]:
    """Mistakes in ingest.path: missing data, or data that does not fit the parameters. S3 is not accessed."""
    from flows.retraining.refresh import not_here
    from stages.reading import corpora

    scheme, separator, _ = ingest.path.partition("://")
    path = Path(ingest.path)
    if separator and scheme != "s3":
        yield f"params.yaml: ingest.path is a {scheme}:// URL. Allowed: a path, or a URL with s3://."
    elif not separator and not path.is_absolute() and not_here(root, [path]):
        return  # a clone without the data that DVC keeps can be checked, and reviewed, all the same
    elif not separator and not (root / path).exists():
        yield (
            f"params.yaml: ingest.path is '{ingest.path}'. There is no such file or folder. "
            "Give a path from the project's folder, or an absolute one."
        )
    elif not separator and ingest.source == "files":
        from stages.sources.files import faults

        with contextlib.chdir(root):  # as the stage, which is told the same path
            yield from faults(ingest)
    elif not separator and ingest.source == "parallel":
        from stages.sources import parallel

        with contextlib.chdir(root):
            yield from parallel.faults(ingest)
    elif not separator and ingest.source in corpora.SOURCES:
        yield from corpora.faults(root / ingest.path, ingest.source)
