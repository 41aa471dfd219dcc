"""The files of a pretrained model's folder, and what of them shows, without torch, that they are no model to train."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from stages.files import read_object

CONFIG, WEIGHTS, TOKENIZER, SETTINGS = "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"
# The number from behind which these kinds count positions where config.json does not say it; the padding's.
FROM_PADDING = {
    "camembert": 1, "data2vec-text": 1, "mpnet": 1, "roberta": 1, "roberta-prelayernorm": 1,
    "xlm-roberta": 1, "xlm-roberta-xl": 1,
}  # fmt: skip
ALWAYS_THAT = ("mpnet",)  # they do, whatever config.json says
# What can be trained, cut into layers, written, opened and exported, with the same answers alone and among longer rows.
KINDS = (
    "albert", "bert", "deberta", "deberta-v2", "distilbert", "electra", "ernie", "megatron-bert",
    "mobilebert", "rembert", "roc_bert", *FROM_PADDING,
)  # fmt: skip
WORDS = "embeddings.word_embeddings.weight"  # where all of them have the table of tokens
LAYERS = ("encoder.layer.", "transformer.layer.")  # where all of them but ALBERT have their layers
N_LAYERS, WIDTHS = ("num_hidden_layers", "n_layers"), ("input_embedding_size", "embedding_size", "hidden_size", "dim")


def refuse_kind(config: Mapping[str, Any]) -> None:
    """Raise ValueError where config.json is of a kind of model that Winnow does not take."""
    kind = config.get("model_type")
    if kind in KINDS:
        return
    nearest = difflib.get_close_matches(str(kind), KINDS, n=1)
    hint = f" Did you mean '{nearest[0]}'?" if nearest and kind is not None else ""
    found = "config.json names no model_type" if kind is None else f"it is a {kind} model"
    raise ValueError(f"{found}. Allowed for model.family 'encoder': {', '.join(sorted(KINDS))}.{hint}")


def positions(config: Mapping[str, Any]) -> int:
    """How many tokens the model has positions for. Raises ValueError where it cannot count them."""
    kind, table = config.get("model_type"), config.get("max_position_embeddings")
    if not isinstance(table, int):
        return 10**9
    if kind not in FROM_PADDING:
        return table
    padding = FROM_PADDING[kind] if kind in ALWAYS_THAT else config.get("pad_token_id", FROM_PADDING[kind])
    if not isinstance(padding, int):
        raise ValueError(
            f"config.json: pad_token_id is {padding}, and a {kind} model counts positions from it. Give it the number"
            " of the token for padding."
        )
    return table - padding - 1


def faults(folder: Path, max_tokens: int) -> Iterator[str]:
    """What is wrong with the model in `folder`, a line each; what is not there is nothing wrong.

    `max_tokens`: how many tokens it is to take. Raises ValueError for JSON that is none.
    """
    if shards := sharded(folder):
        yield shards
    if (folder / CONFIG).is_file():
        config = read_object(folder / CONFIG)
        refuse_kind(config)
        settings = read_object(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
        yield from faults_of_tokens(folder, config)
        allowed = min(positions(config), int(settings.get("model_max_length") or 10**9))
        if max_tokens > allowed:
            yield too_many_tokens(max_tokens, allowed, "the model")
        if (folder / WEIGHTS).is_file():
            yield from faults_of_weights(folder / WEIGHTS, config)


def sharded(folder: Path) -> str | None:
    """What to say of weights that are in several files; None where they are not."""
    shards = sorted(path.name for path in folder.glob("model-*-of-*.safetensors"))
    if (folder / WEIGHTS).is_file() or not (shards or (folder / f"{WEIGHTS}.index.json").is_file()):
        return None
    return (
        f"its weights are in {len(shards)} files (model-...-of-....safetensors). Allowed: one, model.safetensors. Merge"
        " them: AutoModel.from_pretrained(FOLDER).save_pretrained(FOLDER, max_shard_size='100GB') of transformers."
    )


def too_many_tokens(max_tokens: int, allowed: int, taker: str) -> str:
    return f"params.yaml: tokenize.max_tokens is {max_tokens}. Allowed: at most {allowed}, which is what {taker} takes."


def read_tokenizer(path: Path) -> dict[str, Any]:
    """What the tokenizer.json at `path` holds. Raises ValueError for what is no tokenizer."""
    tokenizer = read_object(path)
    if not isinstance(tokenizer.get("model"), dict):
        raise ValueError(f"{path}: it has no 'model', so it is no tokenizer. Fetch or save it again.")
    return tokenizer


def faults_of_tokens(folder: Path, config: Mapping[str, Any]) -> Iterator[str]:
    """Tokens that the model has no embeddings for. Raises ValueError for a tokenizer that is none."""
    path, rows = folder / TOKENIZER, config.get("vocab_size")
    if not path.is_file() or not isinstance(rows, int):
        return
    tokenizer = read_tokenizer(path)
    try:
        largest = largest_token(tokenizer, folder)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: its tokens have no numbers ({error!r}). Fetch or save it again.") from None
    if largest >= rows:
        yield too_few_rows(largest, rows)


def largest_token(tokenizer: Mapping[str, Any], folder: Path) -> int:
    """The largest number that a token of the tokenizer (tokenizer.json) has; -1 where it has none."""
    vocabulary = tokenizer["model"].get("vocab") or {}
    numbers = list(vocabulary.values()) if isinstance(vocabulary, dict) else [len(vocabulary) - 1]
    numbers += [token["id"] for token in tokenizer.get("added_tokens") or []]
    settings = read_object(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    numbers += map(int, settings.get("added_tokens_decoder") or {})
    return max(numbers, default=-1)


def too_few_rows(largest: int, rows: int) -> str:
    """What to say where the largest token has no embedding."""
    return (
        f"the tokenizer's largest token is number {largest}, and the model has embeddings for {rows} (0 to {rows - 1})."
        " Take the tokenizer and the weights from the same model, or call resize_token_embeddings and save both."
    )


def faults_of_weights(path: Path, config: Mapping[str, Any]) -> Iterator[str]:
    """What the names and shapes in model.safetensors tell; the whole test is where the model is made."""
    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            words = [name for name in names if name.endswith(WORDS)]
            shape = file.get_slice(words[0]).get_shape() if words else []
    except SafetensorError as error:
        yield f"{path}: not safetensors ({error}). Fetch or write it again."
        return
    if not words:
        yield (
            f"none of the {len(names)} weights in {path.name} is a table of words ({WORDS}). Found: {_some(names)}."
            " Allowed: the weights of a whole encoder. Save it with save_pretrained."
        )
        return
    rows, width = config.get("vocab_size"), next((config[name] for name in WIDTHS if config.get(name)), None)
    if len(shape) != 2 or any(said not in (None, found) for said, found in zip((rows, width), shape, strict=True)):
        yield (
            f"{path.name}: {words[0]} has the shape {shape}, and by config.json it is {[rows, width]}. Take both files"
            " from the same model."
        )
    yield from _faults_of_layers(names, config)


def _faults_of_layers(names: Sequence[str], config: Mapping[str, Any]) -> Iterator[str]:
    wanted = next((config[name] for name in N_LAYERS if name in config), None)
    if not isinstance(wanted, int) or config.get("model_type") == "albert":  # whose layers are one
        return
    found = {
        int(number)
        for name in names
        for stack in LAYERS
        if (number := name.partition(stack)[2].partition(".")[0]).isdecimal()
    }
    if found == set(range(wanted)):
        return
    yield (
        f"config.json says {wanted} layers, and {WEIGHTS} has {len(found)}"
        f" ({_some([str(number) for number in sorted(found)])}). Save the whole encoder with save_pretrained, or"
        " correct num_hidden_layers."
    )


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:3])}, ..." if len(names) > 3 else ", ".join(names) or "none"
