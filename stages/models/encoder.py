"""Encoders (BERT, DistilBERT, ALBERT, DeBERTa, ModernBERT, ...) with a linear head on rows or tokens, or with none."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, PretrainedConfig

from stages.core.contracts import Family, Head, Parts, Reader, Taps, Units
from stages.core.files import read_json, refuse_remote_code, write_json
from stages.models.checkpoint import named_in_errors, weights_of
from stages.models.layouts import NORMS, Layout, head_size, heads_of, laid_out, neurons_of, stack_of

if TYPE_CHECKING:
    from stages.core.params.model import ModelParams


# Deterministic everywhere, no slower on short rows, and the form that ONNX Runtime knows how to fuse.
ATTENTION = "eager"
# The names of the dropouts in the configurations of all kinds of encoders.
DROPOUTS = (
    "hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout", "embedding_dropout",
    "mlp_dropout",
)  # fmt: skip
# The names of the width of the feed-forward part in their configurations.
FEED_FORWARD_WIDTHS = ("intermediate_size", "hidden_dim")
ABOVE = ("final_norm", "LayerNorm")  # the names, in encoders that have one, of the norm behind their last layer
UNUSED = "pooler."  # the part of encoders whose output is not used

# The settings with which a stage leaves alone what a kind of model lacks.
SETTINGS = {
    "units": "prune.heads_kept and prune.feed_forward_kept 1.0",
    "vectors": "cache_logits.vectors []",
    "width": "distill.hidden_size null",
}
# Kinds with a table of positions of which a short model needs only the beginning.
POSITIONED = (
    "albert", "bert", "camembert", "data2vec-text", "distilbert", "electra", "ernie", "roberta", "xlm-roberta",
)  # fmt: skip


class EncoderWithHead(nn.Module):
    """A linear layer on an encoder's token vectors: on all of them pooled into one, or on each.

    Of a head of the kind `vector` there is no layer: the pooled vector is scaled to length 1.
    B examples, T tokens, K numbers of an output, H hidden width.
    """

    encoder: Any
    head: Any

    def __init__(self, encoder: Any, *, pooling: str, dropout: float, head: Head) -> None:
        super().__init__()
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler = None  # its output is not used, and weights without gradients are dead weight
        self.encoder = encoder
        self.pooling = pooling
        self.n_types = getattr(encoder.config, "type_vocab_size", 0)
        self.dropout = nn.Dropout(dropout)
        self.kind = head.kind
        self.head = _layer_of(head, encoder.config.hidden_size)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        """input_ids, attention_mask, token_type_ids (B, T) int64 -> logits (B, K), of a token head (B, T, K).

        Of the head `vector` (B, H) float32, each of length 1. Without types, all are 0.
        """
        types = {} if token_type_ids is None or self.n_types < 2 else {"token_type_ids": token_type_ids}
        hidden_BTH = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **types).last_hidden_state
        read = hidden_BTH if self.kind == "token" else self._pooled(hidden_BTH, attention_mask)
        if self.kind == "vector":
            return functional.normalize(read.float(), dim=-1)
        read = self.dropout(read).to(self.head.weight.dtype)
        if isinstance(self.head, nn.Conv1d):
            read = read * attention_mask.unsqueeze(-1)  # what fills a batch is nobody's neighbour
            return self.head(read.transpose(1, 2)).transpose(1, 2)
        return self.head(read)

    def _pooled(self, hidden_BTH: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        if self.pooling == "cls":
            return hidden_BTH[:, 0]
        mask_BT1 = attention_mask.unsqueeze(-1).float()
        return (hidden_BTH.float() * mask_BT1).sum(1) / mask_BT1.sum(1)


def _layer_of(head: Head, width: int) -> nn.Module:
    """The layer of a head that is still to be learned; nothing for a vector."""
    if head.kind == "vector":
        return nn.Identity()
    if head.reach:
        return nn.Conv1d(width, head.size, 2 * head.reach + 1, padding=head.reach)
    return nn.Linear(width, head.size)


def build(folder: Path, model: ModelParams, head: Head) -> nn.Module:
    """The pretrained encoder in `folder`, with a new `head`. The caller has set torch's seed.

    Raises ValueError, with the name of the model, where a weight that it needs is missing, or of another shape than
    config.json says. The kind of model has been checked by `stages.models.pretrained.locate`.
    """
    with named_in_errors(model.name):
        encoder = _pretrained(folder, model.encoder_dropout)
    return EncoderWithHead(encoder, pooling=model.pooling, dropout=model.head_dropout, head=head)


def _pretrained(folder: Path, dropout: float) -> Any:
    """The encoder in `folder`, whatever the prefix of its weights' names. Raises ValueError where it is not whole."""
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        for name in DROPOUTS:
            if hasattr(config, name):
                setattr(config, name, dropout)
        with torch.device("meta"):  # names and shapes alone
            known = AutoModel.from_config(config, trust_remote_code=False)
    except Exception as error:  # whatever transformers and torch raise for values that make no model
        raise ValueError(f"no model can be made of its config.json: {type(error).__name__}: {error}") from None
    needed = [name for name, _ in known.named_parameters() if not name.startswith(UNUSED)]
    weights = weights_of(folder / "model.safetensors", known, needed)
    return type(known).from_pretrained(
        None, config=config, state_dict=weights, dtype=torch.float32, attn_implementation=ATTENTION
    )


def above_layers(encoder: Any) -> list[nn.Module]:
    """The norm behind the encoder's last layer, where there is one."""
    return [module for name in ABOVE if (module := getattr(encoder, name, None)) is not None]


def parts(model: Any) -> Parts:
    return Parts(
        encoder=model.encoder,
        embeddings=model.encoder.get_input_embeddings(),
        layers=tuple(stack_of(model.encoder) or ()),
        head=model.head,
        above=above_layers(model.encoder),
    )


def student(teacher: Any, layers: Sequence[int]) -> nn.Module:
    """A copy of `teacher` with only its layers number `layers`, in that order.

    ALBERT's layers share their weights: there, only their number matters. Raises ValueError for a layer that the
    teacher does not have, and for one that has no place there.
    """
    n_layers = teacher.encoder.config.num_hidden_layers
    if too_high := [layer for layer in layers if layer >= n_layers]:
        raise ValueError(
            f"params.yaml: distill.teacher_layers has {too_high[0]}. Allowed: 0 to {n_layers - 1},"
            f" as the teacher has {n_layers} layers."
        )
    copied = copy.deepcopy(teacher)
    config = copied.encoder.config
    stack = stack_of(copied.encoder)
    if stack is not None:
        kept = [stack[layer] for layer in layers]
        _refuse_misplaced(stack, kept, config.model_type)
        del stack[:]
        stack.extend(copy.deepcopy(layer) for layer in kept)
    config.num_hidden_layers = len(layers)
    if getattr(config, "layer_types", None) is not None:  # ModernBERT's: which layers see all tokens
        config.layer_types = [config.layer_types[layer] for layer in layers]
    return copied


def _refuse_misplaced(stack: nn.ModuleList, kept: Sequence[nn.Module], kind: str) -> None:
    """Raise ValueError where a kept layer has other weights than the model has a place for."""
    for place, layer in zip(stack, kept, strict=False):
        if place.state_dict().keys() != layer.state_dict().keys():
            raise ValueError(
                f"params.yaml: distill.teacher_layers does not begin with 0, or has it twice. The first layer of a"
                f" {kind} model has no norm before its attention, and the others have one. Allowed: 0, and others"
                " behind it."
            )


def units(model: Any) -> dict[str, list[Units]]:
    """The attention heads and the feed-forward neurons of each layer that has weights of its own."""
    config = model.encoder.config
    found = laid_out(model.encoder)
    if not found:
        raise _cannot(model, "pruned", "units")
    return {
        "heads": [heads_of(layer, layout, head_size(config)) for layer, layout in found],
        "feed_forward": [neurons_of(layer, layout) for layer, layout in found],
    }


def readers(model: Any) -> list[Reader]:
    """Each layer's queries, keys and values; its feed-forward part; and, after the last layer, the head."""
    found: list[Reader] = []
    layers = _plain(model, "made narrower", "width")
    _refuse_other_widths(model)
    norm = model.encoder.embeddings.LayerNorm
    for layer, layout in layers:
        part: dict[str, Any] = dict(layer.named_modules())
        behind_attention, at_the_end = next(names for names in NORMS if all(name in part for name in names))
        found.append(Reader(norm, (part[layout.query], part[layout.key], part[layout.value])))
        found.append(Reader(part[behind_attention], (part[layout.up],)))
        norm = part[at_the_end]
    return [*found, Reader(norm, _head_layers(model))]


def _head_layers(model: Any) -> tuple[nn.Linear, ...]:
    """The linear layer of the head, where it has one."""
    return () if model.kind == "vector" else (model.head,)


def _refuse_other_widths(model: Any) -> None:
    """Raise ValueError where a module beside the layers' matrices and the head is not as wide as the layers.

    Norms at other places than NORMS names (before the attention, say) are refused with it.
    """
    width, kind = model.encoder.config.hidden_size, model.encoder.config.model_type
    layouts = laid_out(model.encoder)
    matrices = {layer.get_submodule(name) for layer, layout in layouts for name in layout.matrices} | {model.head}
    norms = [dict(layer.named_modules()).get(name) for layer, _ in layouts for names in NORMS for name in names]
    norms += [getattr(model.encoder.embeddings, "LayerNorm", None)]
    for name, module in model.named_modules():
        is_table = isinstance(module, nn.Embedding) and module.embedding_dim == width
        is_norm = isinstance(module, nn.LayerNorm) and any(module is norm for norm in norms)
        known = module in matrices or is_table or is_norm
        if not known and next(module.parameters(recurse=False), None) is not None:
            raise ValueError(
                f"params.yaml: model.name: {name} of this {kind} model is not as wide as its layers, or of a form that"
                " is not known, so it cannot be made narrower. Allowed: distill.hidden_size null."
            )


def narrower(model: Any, projection_Hh: torch.Tensor, heads: Sequence[Sequence[int]]) -> nn.Module:
    """A copy whose layers pass on vectors times `projection_Hh`; of layer i it has only the attention heads `heads[i]`.

    The output of a layer norm is scaled dimension by dimension, which does not carry over to rotated vectors: each new
    dimension gets the mean of the old scales, weighted by its components. Where all scales are equal, nothing is lost.
    """
    config = copy.deepcopy(model.encoder.config)
    size = config.hidden_size // config.num_attention_heads
    config.hidden_size, config.num_attention_heads = projection_Hh.shape[1], len(heads[0])
    if hasattr(config, "embedding_size"):
        config.embedding_size = config.hidden_size
    weights = dict(model.state_dict())
    names = {module: name for name, module in model.named_modules()}

    def reads(module: nn.Module, rows: Any = slice(None)) -> None:
        weights[f"{names[module]}.weight"] = weights[f"{names[module]}.weight"][rows] @ projection_Hh
        if f"{names[module]}.bias" in weights:
            weights[f"{names[module]}.bias"] = weights[f"{names[module]}.bias"][rows].clone()

    def writes(module: nn.Module, columns: Any = slice(None)) -> None:
        weights[f"{names[module]}.weight"] = projection_Hh.T @ weights[f"{names[module]}.weight"][:, columns]
        weights[f"{names[module]}.bias"] = projection_Hh.T @ weights[f"{names[module]}.bias"]

    for module, name in names.items():
        if isinstance(module, nn.Embedding) or module in _head_layers(model):
            reads(module)
        if isinstance(module, nn.LayerNorm):
            weights[f"{name}.weight"] = projection_Hh.square().T @ weights[f"{name}.weight"]
            weights[f"{name}.bias"] = projection_Hh.T @ weights[f"{name}.bias"]
    for (layer, layout), own in zip(laid_out(model.encoder), heads, strict=True):
        rows = (torch.tensor(own)[:, None] * size + torch.arange(size)).ravel()
        for name in (layout.query, layout.key, layout.value):
            reads(layer.get_submodule(name), rows)
        writes(layer.get_submodule(layout.attention_output), rows)
        reads(layer.get_submodule(layout.up))
        writes(layer.get_submodule(layout.down))
    return assemble(config, ours_of(model), weights)


def taps(model: Any) -> Taps:
    """The modules that put out the vectors of embeddings, layers and attentions."""
    layers = _plain(model, "compared layer by layer", "vectors")
    return Taps(
        embeddings=model.encoder.embeddings,
        hidden=[layer for layer, _ in layers],
        queries=[layer.get_submodule(layout.query) for layer, layout in layers],
        keys=[layer.get_submodule(layout.key) for layer, layout in layers],
        values=[layer.get_submodule(layout.value) for layer, layout in layers],
    )


def _plain(model: Any, purpose: str, lacked: str) -> list[tuple[nn.Module, Layout]]:
    """Each layer with the names of its matrices. Raises ValueError where they, or their order, are unknown."""
    found = [(layer, layout) for layer, layout in laid_out(model.encoder) if layout.plain]
    if not found:
        raise _cannot(model, purpose, lacked)
    return found


def _cannot(model: Any, purpose: str, lacked: str) -> ValueError:
    kind = model.encoder.config.model_type
    return ValueError(
        f"params.yaml: model.name: the layers of a {kind} model cannot be {purpose}. Allowed for it:"
        f" {SETTINGS[lacked]}. docs/models.md says what each kind can."
    )


def cut_vocabulary(model: Any, kept: Sequence[int], max_tokens: int) -> nn.Module:
    """A copy, in evaluation mode, with only the tokens `kept`, renumbered in that order, and for `max_tokens` at most.

    Raises ValueError where the token from which a model counts positions (RoBERTa) would get another number.
    """
    counted_from = _counted_from(model)
    if counted_from is not None and (counted_from not in kept or kept.index(counted_from) != counted_from):
        raise ValueError(
            f"params.yaml: prune.vocabulary is corpus, and this model counts positions from token number"
            f" {counted_from}, which would not keep its number. Allowed for it: all."
        )
    config = copy.deepcopy(model.encoder.config)
    weights = dict(model.state_dict())
    name = _name_of(model, model.encoder.get_input_embeddings())
    weights[name] = weights[name][list(kept)].clone()
    config.vocab_size = len(kept)
    numbers = {old: new for new, old in enumerate(kept)}
    _renumber_special(config, numbers.get)
    positions = "encoder.embeddings.position_embeddings.weight"
    if config.model_type in POSITIONED and positions in weights:
        first = 0 if counted_from is None else counted_from + 1
        config.max_position_embeddings = min(config.max_position_embeddings, first + max_tokens)
        weights[positions] = weights[positions][: config.max_position_embeddings].clone()
    return assemble(config, ours_of(model), weights).eval()


def new_vocabulary(model: Any, pieces: Sequence[Sequence[int]]) -> nn.Module:
    """A copy whose token i has the mean of the embeddings of the tokens `pieces[i]`.

    Raises ValueError where the token that pads has another number in a model that counts positions from it (RoBERTa).
    """
    config = copy.deepcopy(model.encoder.config)
    weights = dict(model.state_dict())
    name = _name_of(model, model.encoder.get_input_embeddings())
    weights[name] = torch.stack([weights[name][list(old)].mean(0) for old in pieces])
    config.vocab_size = len(pieces)
    _renumber_special(config, lambda old: _new_number(pieces, old))
    counted_from = _counted_from(model)
    if counted_from is not None and (new := _new_number(pieces, counted_from)) != counted_from:
        raise ValueError(
            f"params.yaml: tokenize.tokenizer is trained, and its token for padding is number {new};"
            f" this model counts positions from number {counted_from}. Allowed for it: pretrained."
        )
    return assemble(config, ours_of(model), weights)


def _renumber_special(config: Any, number: Callable[[int], int | None]) -> None:
    """The new numbers of the tokens that pad, begin and end a text, and so on; None for those that are gone."""
    for name, old in list(vars(config).items()):
        if name.endswith("_token_id") and isinstance(old, int):
            setattr(config, name, number(old))


def _new_number(pieces: Sequence[Sequence[int]], old: int | None) -> int | None:
    """The new token that consists of the token `old` alone; None where there is none."""
    return next((new for new, of in enumerate(pieces) if list(of) == [old]), None)


def _counted_from(model: Any) -> int | None:
    """The number of the padding token, after which the encoder counts positions; None where it counts from 0."""
    embeddings = getattr(model.encoder, "embeddings", None)
    return getattr(getattr(embeddings, "position_embeddings", None), "padding_idx", None)


def _name_of(model: nn.Module, module: nn.Module) -> str:
    return next(f"{name}.weight" for name, found in model.named_modules() if found is module)


def ours_of(model: Any) -> dict[str, Any]:
    """Winnow's own settings of a model, beside its encoder's."""
    reach = int(model.head.padding[0]) if isinstance(model.head, nn.Conv1d) else 0
    head = Head(model.kind, 0 if model.kind == "vector" else len(model.head.weight), reach)
    return {"pooling": model.pooling, "dropout": model.dropout.p, **head.described()}


def write(model: Any, folder: Path) -> None:
    """config.json (the encoder's, and ours under `winnow`) and model.safetensors, byte-stable."""
    config = stable(model.encoder.config)
    widths: set[Any] = {layer.get_submodule(layout.down).in_features for layer, layout in laid_out(model.encoder)}
    if len(widths) == 1:  # so that other programs can open pruned models
        config |= {name: min(widths) for name in FEED_FORWARD_WIDTHS if name in config}
    config["winnow"] = ours_of(model)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    weights = {name: tensor.detach().float().contiguous().cpu() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")


def stable(config: PretrainedConfig) -> dict[str, Any]:
    """config.json without what hangs on a version of a library, or on a path."""
    values: dict[str, Any] = config.to_dict()
    for volatile in ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype"):
        values.pop(volatile, None)
    return values


def open_model(folder: Path, weights: Mapping[str, torch.Tensor] | None = None) -> nn.Module:
    """The model that `write` wrote to `folder`, in evaluation mode; `weights` replace those in the folder."""
    refuse_remote_code(folder)
    ours = read_json(folder / "config.json")["winnow"]
    config: PretrainedConfig = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return assemble(config, ours, weights or load_file(folder / "model.safetensors")).eval()


def assemble(config: PretrainedConfig, ours: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> nn.Module:
    """A model of these weights; where layers were pruned, its matrices have the smaller shapes."""
    encoder = AutoModel.from_config(config, trust_remote_code=False, dtype=torch.float32, attn_implementation=ATTENTION)
    model = EncoderWithHead(encoder, pooling=ours["pooling"], dropout=ours["dropout"], head=Head.of(ours))
    shape_as(model, weights)
    for layer, layout in laid_out(encoder):
        heads = heads_of(layer, layout, head_size(config))
        heads.resized(len(heads))
    model.load_state_dict(weights)
    return model


def shape_as(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Give the linear layers the shapes of these weights: smaller ones where heads or neurons were cut."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and (shape := weights[f"{name}.weight"].shape) != module.weight.shape:
            module.weight.data = torch.zeros(shape)
            if module.bias is not None:
                module.bias.data = torch.zeros(shape[0])
            module.out_features, module.in_features = shape


FAMILY = Family(
    build=build, parts=parts, student=student, units=units, readers=readers, narrower=narrower, taps=taps,
    cut_vocabulary=cut_vocabulary, new_vocabulary=new_vocabulary, write=write, open=open_model,
)  # fmt: skip
