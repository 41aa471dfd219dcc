"""The files of a pretrained model's folder, and faults in them that show, without torch, that it cannot be trained."""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from stages.core.files import BUFFERS, one_prefix, plain_names, prefixes, read_object, some

CONFIG, WEIGHTS, TOKENIZER, SETTINGS = "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"
# The number from behind which these kinds count positions where config.json does not say it; the padding's.
FROM_PADDING = {
    "camembert": 1, "data2vec-text": 1, "mpnet": 1, "roberta": 1, "roberta-prelayernorm": 1,
    "xlm-roberta": 1, "xlm-roberta-xl": 1,
}  # fmt: skip
ALWAYS_THAT = ("mpnet",)  # they do, whatever config.json says
# Kinds of models that can be trained, taken apart, written, opened and exported, and that give a text the same answer
# alone and among longer ones.
KINDS = (
    "albert", "bert", "deberta", "deberta-v2", "distilbert", "electra", "ernie", "megatron-bert",
    "mobilebert", "modernbert", "rembert", "roc_bert", *FROM_PADDING,
)  # fmt: skip
KINDS_OF = {
    "encoder": KINDS, "decoder": ("gpt2", "llama"), "encoder_decoder": ("t5",), "two_towers": ("clip", *KINDS)
}  # fmt: skip
"""Kinds by family; of those that write they can also be made anew (model.scratch)."""
# Where they have the table of tokens, and all but ALBERT their layers.
WORDS, LAYERS = "embeddings.word_embeddings.weight", "encoder.layer."
OTHER_WORDS = {
    "modernbert": "embeddings.tok_embeddings.weight", "gpt2": "wte.weight", "llama": "embed_tokens.weight",
    "t5": "shared.weight", "clip": "text_model.embeddings.token_embedding.weight",
}  # fmt: skip
OTHER_LAYERS = {
    "distilbert": "transformer.layer.", "modernbert": "layers.", "gpt2": "h.", "llama": "layers.",
    "t5": "encoder.block.", "clip": "text_model.encoder.layers.",
}  # fmt: skip
N_LAYERS = ("num_hidden_layers", "n_layers", "n_layer", "num_layers")
WIDTHS = ("input_embedding_size", "embedding_size", "hidden_size", "dim", "n_embd", "d_model")
UNLIMITED = 10**9  # tokens, where a file says no limit


def refuse_kind(config: Mapping[str, Any], family: str) -> None:
    """Raise ValueError where config.json is of a kind of model that Winnow does not take, or not in this family."""
    kind, kinds = config.get("model_type"), KINDS_OF.get(family, KINDS)
    if kind in kinds:
        return
    other = next((name for name, of in KINDS_OF.items() if kind in of), None)
    nearest = difflib.get_close_matches(str(kind), kinds, n=1)
    hint = f" Did you mean '{nearest[0]}'?" if nearest and kind is not None else ""
    hint = hint if other is None else f" Those of its kind are of model.family '{other}'."
    found = "config.json names no model_type" if kind is None else f"it is a {kind} model"
    named = family if family in KINDS_OF else "encoder"
    raise ValueError(f"{found}. Allowed for model.family '{named}': {', '.join(sorted(kinds))}.{hint}")


def of_texts(config: Mapping[str, Any]) -> dict[str, Any]:
    """What config.json says of the part that reads texts: of a model of images too it is a part of its own."""
    own = config.get("text_config")
    return {**config, **own, "model_type": config.get("model_type")} if isinstance(own, dict) else dict(config)


def positions(config: Mapping[str, Any]) -> int:
    """The number of tokens that the model has positions for. Raises ValueError where it cannot count them."""
    kind, table = config.get("model_type"), config.get("max_position_embeddings")
    if kind == "gpt2":
        table = config.get("n_positions", table)
    if not isinstance(table, int):
        return UNLIMITED
    if kind not in FROM_PADDING:
        return table
    padding = FROM_PADDING[kind] if kind in ALWAYS_THAT else config.get("pad_token_id", FROM_PADDING[kind])
    if not isinstance(padding, int):
        raise ValueError(
            f"config.json: pad_token_id is {padding}, and a {kind} model counts positions from it. Give it the number"
            " of the token for padding."
        )
    return table - padding - 1


def faults(folder: Path, max_tokens: int, family: str) -> Iterator[str]:
    """The faults of the model in `folder` for a `family` of models, one line each.

    `max_tokens`: how many tokens it is to take. Raises ValueError for a file that is not JSON.
    """
    if fault := lacking(folder):
        yield fault
    if not (folder / TOKENIZER).is_file():
        yield no_fast_tokenizer(folder)
    if (folder / CONFIG).is_file():
        config = of_texts(read_object(folder / CONFIG))
        refuse_kind(config, family)
        yield from faults_of_tokens(folder, config)
        allowed = min(positions(config), stated_limit(folder))
        if max_tokens > allowed:
            yield too_many_tokens(max_tokens, allowed, "the model")
        if (folder / WEIGHTS).is_file():
            yield from faults_of_weights(folder / WEIGHTS, config)


def lacking(folder: Path) -> str | None:
    """The message for a folder without a configuration or weights in one file; None where it has both."""
    shards = sorted(path.name for path in folder.glob("model-*-of-*.safetensors"))
    if not (folder / WEIGHTS).is_file() and (shards or (folder / f"{WEIGHTS}.index.json").is_file()):
        return (
            f"its weights are in {len(shards)} files (model-...-of-....safetensors). Allowed: one, model.safetensors."
            " Merge them: AutoModel.from_pretrained(FOLDER).save_pretrained(FOLDER, max_shard_size='100GB') of"
            " transformers."
        )
    missing = next((name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()), None)
    return missing and f"it has no {missing}. Allowed: safetensors models."


def no_fast_tokenizer(folder: Path) -> str:
    """The message for a model whose tokenizer is one of transformers' slow ones, or is missing.

    Raises ValueError where tokenizer_config.json is no JSON object.
    """
    path = folder / SETTINGS
    kind = (read_object(path).get("tokenizer_class") if path.is_file() else None) or "of an unknown class"
    return (
        f"it has no fast tokenizer ({TOKENIZER}); its own is {kind}. Allowed: those of the library tokenizers"
        " (WordPiece, BPE, Unigram). Where transformers can convert it,"
        " AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) writes one."
    )


def stated_limit(folder: Path) -> int:
    """The number of tokens that the model takes by tokenizer_config.json. Raises ValueError where that is no number."""
    path = folder / SETTINGS
    found = read_object(path).get("model_max_length") if path.is_file() else None
    if found is None:
        return UNLIMITED
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < math.inf:
        raise ValueError(
            f"{path}: model_max_length is {found!r}. Allowed: a number above 0, or no such line for as many tokens as"
            " the model has positions for."
        )
    return int(found)


def too_many_tokens(max_tokens: int, allowed: int, taker: str) -> str:
    return f"params.yaml: tokenize.max_tokens is {max_tokens}. Allowed: at most {allowed}, which is what {taker} takes."


def read_tokenizer(path: Path) -> dict[str, Any]:
    """The content of the tokenizer.json at `path`. Raises ValueError where it is no tokenizer."""
    tokenizer = read_object(path)
    if not isinstance(tokenizer.get("model"), dict):
        raise ValueError(f"{path}: it has no 'model', so it is no tokenizer. Fetch or save it again.")
    return tokenizer


def faults_of_tokens(folder: Path, config: Mapping[str, Any]) -> Iterator[str]:
    """A fault where the model has no embeddings for some tokens. Raises ValueError for a file that is no tokenizer."""
    path, rows = folder / TOKENIZER, config.get("vocab_size")
    if not path.is_file() or not isinstance(rows, int):
        return
    settings = read_object(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    tokenizer = read_tokenizer(path)
    largest = max(
        _largest(path, lambda: _numbers(tokenizer)),
        _largest(folder / SETTINGS, lambda: map(int, settings.get("added_tokens_decoder") or {})),
    )
    if largest >= rows:
        yield too_few_rows(largest, rows)


def _largest(path: Path, numbers: Callable[[], Iterable[Any]]) -> int:
    """The largest token number in the file at `path`; -1 where it has none."""
    try:
        return max((operator.index(number) for number in numbers()), default=-1)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its tokens have no numbers ({error!r}). Fetch or save it again.") from None


def _numbers(tokenizer: Mapping[str, Any]) -> Iterator[Any]:
    """The token numbers of a tokenizer.json."""
    vocabulary = tokenizer["model"].get("vocab") or {}
    yield from vocabulary.values() if isinstance(vocabulary, dict) else [len(vocabulary) - 1]
    yield from (token["id"] for token in tokenizer.get("added_tokens") or [])


def too_few_rows(largest: int, rows: int) -> str:
    """The message for a tokenizer whose largest token has no embedding."""
    return (
        f"the tokenizer's largest token is number {largest}, and the model has embeddings for {rows} (0 to {rows - 1})."
        " Take the tokenizer and the weights from the same model, or call resize_token_embeddings and save both."
    )


def faults_of_weights(path: Path, config: Mapping[str, Any]) -> Iterator[str]:
    """The faults that the names and shapes in model.safetensors show; the full check is made where the model is built.

    Raises ValueError where a weight is there twice.
    """
    table = _words(config)
    try:
        with safe_open(path, framework="numpy") as file:
            sources = plain_names(file.keys())
            prefix = _prefix(sources, config)
            words = None if prefix is None else sources[prefix + table]
            shape = [] if words is None else file.get_slice(words).get_shape()
    except SafetensorError as error:
        yield f"{path}: not safetensors ({error}). Fetch or write it again."
        return
    if prefix is None:
        yield (
            f"none of the {len(sources)} weights in {path.name} is a table of words ({table}). Found:"
            f" {some(list(sources.values()))}. Allowed: the weights of a whole model. Save it with save_pretrained."
        )
        return
    rows, width = config.get("vocab_size"), next((config[name] for name in WIDTHS if config.get(name)), None)
    if len(shape) != 2 or any(said not in (None, found) for said, found in zip((rows, width), shape, strict=True)):
        yield (
            f"{path.name}: {words} has the shape {shape}, and by config.json it is {[rows, width]}. Take both files"
            " from the same model."
        )
    wanted, found = _wanted_layers(config), _layers(sources, prefix, config)
    if wanted is not None and found != wanted:
        yield (
            f"config.json says {len(wanted)} layers, and {WEIGHTS} has {len(found)}"
            f" ({some([str(number) for number in sorted(found)])}){f' under {prefix!r}' if prefix else ''}. Save the"
            " whole model with save_pretrained, or correct num_hidden_layers."
        )


def _prefix(names: Collection[str], config: Mapping[str, Any]) -> str | None:
    """The prefix of the model's weights, judged by the word embeddings and the layers; None without word embeddings."""
    tables = prefixes(names, (_words(config),))
    wanted = _wanted_layers(config) or set()
    whole = [prefix for prefix in tables if wanted <= _layers(names, prefix, config)]
    return one_prefix(whole, {prefix: _count(names, prefix) for prefix in tables}) if tables else None


def _words(config: Mapping[str, Any]) -> str:
    return OTHER_WORDS.get(str(config.get("model_type")), WORDS)


def _count(names: Iterable[str], prefix: str) -> int:
    return sum(name.startswith(prefix) for name in names)


def _wanted_layers(config: Mapping[str, Any]) -> set[int] | None:
    """The numbers of the layers by config.json; None where they are unknown."""
    wanted = next((config[name] for name in N_LAYERS if name in config), None)
    if not isinstance(wanted, int) or config.get("model_type") == "albert":  # whose layers are one
        return None
    return set(range(wanted))


def _layers(names: Iterable[str], prefix: str, config: Mapping[str, Any]) -> set[int]:
    """The numbers of the layers that have weights under the prefix."""
    stack = prefix + OTHER_LAYERS.get(str(config.get("model_type")), LAYERS)
    numbers = {
        name.removeprefix(stack).partition(".")[0]
        for name in names
        if name.startswith(stack) and name.rpartition(".")[2] not in BUFFERS
    }
    return {int(number) for number in numbers if number.isdecimal()}
