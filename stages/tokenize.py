"""Stage `tokenize`: clean rows to token ids in memory-mapped Arrow, a folder a split.

The bytes depend on the rows, the tokenizer and the parameters alone: no times, paths or versions of a cache.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import datasets
from transformers import PreTrainedTokenizerFast

from stages.cleaning.alike import like_others
from stages.core import plugins
from stages.core.entry import run_stage
from stages.core.files import publish, read_json, write_json
from stages.core.lacks import LACKS
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.models.pretrained import load_tokenizer, located_here, refuse_misfit
from stages.reading.clean_rows import read_split, splits_of
from stages.tasks import TASKS
from stages.tasks.contract import TaskEncoding
from stages.tokens.arrow import write_tokens
from stages.tokens.capitals import marked
from stages.tokens.counts import beyond
from stages.tokens.files import write_tokenizer
from stages.tokens.literal import literal
from stages.tokens.people import copies_of, write_groups
from stages.tokens.pieces import new_tokens
from stages.tokens.scratch import scratch_tokenizer
from stages.tokens.trained import texts_to_read, train_tokenizer
from stages.tokens.writing import refuse_long_targets, writing_of
from stages.validation.verdict import Broken, settle

START_OF_SCRATCH = "<pad>"  # as T5's


def tokenize(params: Params, paths: Paths) -> None:
    """Write `paths.tokens`, with what `debias` needs of the training rows, `paths.tokenizer` and `paths.token_report`.

    Raises ValueError where the tokenizer, `tokenize` or `debias` do not fit the model or the rows, a split has none, or
    a row's target is none that training rows have, and where more rows are cut than `validate.max_truncated_share`, or
    more tokens are unknown to the tokenizer than `validate.max_unknown_share`.
    """
    task: TaskEncoding = plugins.part(TASKS, params.task.name, "encoding", key="task.name")
    tokenizer = None if params.model.scratch else pretrained_tokenizer(params, task)
    rows = {split: read_split(paths.clean, split) for split in splits_of(paths.clean)}
    space = task.space(rows["train"]["label"].to_pylist())
    alike = partial(like_others, jaccard=params.clean.near_duplicate_jaccard)
    rows |= copies_of(rows, paths.held_out, params, task, alike)
    report: dict[str, Any] = {}
    start = start_of(tokenizer, params) if task.writes else None
    pieces: list[list[int]] | None = None
    if tokenizer is None or params.tokenize.tokenizer == "trained":
        tokenizer, pieces = trained_tokenizer(tokenizer, params, texts_to_read(rows["train"], task))
        report["vocabulary"] = {"tokens": len(pieces), "new_tokens": new_tokens(pieces)}
    write_tokenizer(tokenizer, paths.tokenizer, pieces)
    max_tokens, stride = params.tokenize.max_tokens, params.tokenize.shared
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    writing = writing_of(tokenizer, params.tokenize, task.writes, start) if task.writes else None
    if writing is not None and writing.source:
        targets = {split: of["label"].to_pylist() for split, of in rows.items()}
        refuse_long_targets(targets, literal(tokenizer.backend_tokenizer), writing)
    with publish(paths.tokens) as draft:
        draft.mkdir()
        values = {"space": space, "max_tokens": max_tokens, "stride": stride, "writing": writing}
        report |= {split: write_tokens(of, draft / split, task, tokenizer, values) for split, of in rows.items()}
        # Any token can fill batches where none is made for it: the attention mask hides what it fills.
        described: dict[str, Any] = {"space": space, "max_tokens": max_tokens, "pad_id": tokenizer.pad_token_id or 0}
        described |= {} if stride is None else {"stride": stride}
        described |= {"images": params.ingest.images.model_dump()} if task.images and params.ingest.images else {}
        write_json(draft / "space.json", described | ({} if writing is None else {"writing": writing.described()}))
        write_groups(draft, paths.clean, params.debias)
    found = beyond(
        report, max_tokens, max_truncated_share=params.validate_.max_truncated_share,
        max_unknown_share=params.validate_.max_unknown_share,
    )  # fmt: skip
    settle((Broken(limit, line, limit in params.validate_.warn_only) for limit, line in found), "Or raise the limit.")
    write_json(paths.token_report, report)


def pretrained_tokenizer(params: Params, task: TaskEncoding) -> PreTrainedTokenizerFast:
    """The model's own. Raises ValueError where `tokenize` does not fit it."""
    tokenizer = load_tokenizer(params.model)
    refuse_misfit(tokenizer, params.tokenize, params.model.name, writes=task.writes is not None)
    return marked(tokenizer) if params.tokenize.capitals == "marked" else tokenizer


def trained_tokenizer(
    pretrained: PreTrainedTokenizerFast | None, params: Params, texts: Sequence[str]
) -> tuple[PreTrainedTokenizerFast, list[list[int]]]:
    """One that is learned from these texts, of the kind of the pretrained one, and its tokens' pieces in that.

    Without one it is that of a model from scratch, whose tokens have no pieces.
    """
    size, scratch = params.tokenize.vocabulary_size, params.model.scratch
    if pretrained is not None:
        return train_tokenizer(pretrained, texts, size)
    assert scratch is not None
    if params.tokenize.tokenizer != "trained":
        raise ValueError(
            f"params.yaml: tokenize.tokenizer is '{params.tokenize.tokenizer}'. Allowed with model.name 'scratch':"
            " trained, as there is no model to have one."
        )
    tokenizer = scratch_tokenizer(scratch.kind, texts, size, max_tokens=scratch.positions)
    refuse_misfit(tokenizer, params.tokenize, params.model.name, writes=True)
    return tokenizer, [[] for _ in range(len(tokenizer))]


def start_of(pretrained: PreTrainedTokenizerFast | None, params: Params) -> str | None:
    """The token that the model's decoder begins with; None of a model that reads no source apart.

    Raises ValueError where neither config.json nor a token for padding, with which it begins else, says which.
    """
    if "source_apart" in LACKS[params.model.family]:
        return None
    if pretrained is None:
        return START_OF_SCRATCH
    folder = located_here(params.model)
    start = read_json(folder / "config.json").get("decoder_start_token_id") if folder else None
    token = pretrained.pad_token if start is None else pretrained.backend_tokenizer.id_to_token(start)
    if token is None:
        raise ValueError(
            f"params.yaml: model.name is '{params.model.name}': its config.json has decoder_start_token_id"
            f" {'null' if start is None else start}, which is no token, and what it writes begins with none. Name it"
            " there, or a pad_token in tokenizer_config.json."
        )
    return str(token)


if __name__ == "__main__":
    run_stage(tokenize)
