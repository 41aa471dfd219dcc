"""A bidirectional LSTM over a teacher's token embeddings, with a linear head or none: a student, never a teacher.

B examples, T tokens, E embedding width, H hidden units of a direction, X = 2H, K numbers of an output.
Source: Tang et al. 2019, arXiv:1903.12136, section 3.1.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from stages.core.contracts import Family, Head, Parts
from stages.core.files import read_json, write_json

if TYPE_CHECKING:
    from stages.core.params.distill import DistillParams


@dataclass(frozen=True)
class Shape:
    """The shape of a model, as in config.json."""

    vocabulary_size: int
    embedding_width: int
    hidden_units: int
    layers: int
    dropout: float
    pooling: str
    head: Head

    def as_config(self) -> dict[str, Any]:
        """config.json."""
        return {"model_type": "bilstm", **asdict(self), **self.head.described()}

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Shape:
        """The shape that a config.json holds."""
        values = {one.name: config[one.name] for one in fields(cls) if one.name != "head"}
        return cls(**values, head=Head.of(config))


class Recurrent(nn.Module):
    """Embeddings, a norm that gives those of any teacher the same scale, and LSTM layers."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(shape.vocabulary_size, shape.embedding_width)
        self.norm = nn.LayerNorm(shape.embedding_width)
        self.dropout = nn.Dropout(shape.dropout)
        widths = [shape.embedding_width, *[2 * shape.hidden_units] * (shape.layers - 1)]
        self.layers = nn.ModuleList(nn.LSTM(width, shape.hidden_units, bidirectional=True) for width in widths)

    def forward(self, input_ids: torch.Tensor, lengths_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The states (B, T, 2H), 0 behind a row's end, and the final states of both directions (B, 2H)."""
        embedded_BTE = self.norm(self.embeddings(input_ids))
        rows = pack_padded_sequence(embedded_BTE, lengths_B.cpu(), batch_first=True, enforce_sorted=False)
        last_2BH = embedded_BTE
        for layer in self.layers:
            rows, (last_2BH, _) = layer(PackedSequence(self.dropout(rows.data), *rows[1:]))
        states, _ = pad_packed_sequence(rows, batch_first=True, total_length=input_ids.shape[1])
        return states, torch.cat(tuple(last_2BH), dim=-1)


class BilstmWithHead(nn.Module):
    """A linear layer on the states of an LSTM: on all of them pooled into one, or on that of each token.

    Of a head of the kind `vector` there is no layer: the pooled states are scaled to length 1.
    """

    head: Any

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = Recurrent(shape)
        self.dropout = nn.Dropout(shape.dropout)
        is_vector = shape.head.kind == "vector"
        self.head = nn.Identity() if is_vector else nn.Linear(2 * shape.hidden_units, shape.head.size)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, _token_type_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        """input_ids, attention_mask (B, T) int64, padded at the end -> logits (B, K), of a token head (B, T, K).

        Of the head `vector` (B, X) float32, each of length 1. Token types are ignored.
        """
        states_BTX, last_BX = self.encoder(input_ids, attention_mask.sum(1))
        kind = self.shape.head.kind
        read = states_BTX if kind == "token" else self._pooled(states_BTX, last_BX, attention_mask)
        if kind == "vector":
            return functional.normalize(read.float(), dim=-1)
        return self.head(self.dropout(read).to(self.head.weight.dtype))

    def _pooled(self, states_BTX: torch.Tensor, last_BX: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        if self.shape.pooling == "mean":
            return states_BTX.float().sum(1) / attention_mask.sum(1, keepdim=True)
        if self.shape.pooling == "max":
            return states_BTX.masked_fill(attention_mask.unsqueeze(-1) == 0, -torch.inf).amax(1)
        return last_BX


def begin(teacher: Parts, params: DistillParams, head: Head) -> nn.Module:
    """A new student, whose token embeddings are a copy of the teacher's. The caller has set torch's seed."""
    embeddings: Any = teacher.embeddings
    size, width = embeddings.weight.shape
    model = BilstmWithHead(Shape(vocabulary_size=size, embedding_width=width, head=head, **params.bilstm.model_dump()))
    with torch.no_grad():
        model.encoder.embeddings.weight.copy_(embeddings.weight)
    return model


def parts(model: Any) -> Parts:
    return Parts(
        encoder=model.encoder, embeddings=model.encoder.embeddings, layers=tuple(model.encoder.layers), head=model.head
    )


def cut_vocabulary(model: Any, kept: Sequence[int], _max_tokens: int) -> nn.Module:
    """A copy, in evaluation mode, with only the tokens `kept`, renumbered in that order. It has no positions."""
    cut = copy.deepcopy(model)
    cut.shape = replace(model.shape, vocabulary_size=len(kept))
    cut.encoder.embeddings = nn.Embedding.from_pretrained(
        model.encoder.embeddings.weight.detach()[list(kept)].clone(), freeze=False
    )
    return cut.eval()


def write(model: Any, folder: Path) -> None:
    """config.json and model.safetensors, byte-stable."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", model.shape.as_config())
    weights = {name: tensor.detach().float().contiguous().cpu() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")


def open_model(folder: Path, weights: Mapping[str, torch.Tensor] | None = None) -> nn.Module:
    """The model that `write` wrote to `folder`, in evaluation mode; `weights` replace those in the folder."""
    model = BilstmWithHead(Shape.of_config(read_json(folder / "config.json")))
    model.load_state_dict(weights or load_file(folder / "model.safetensors"))
    return model.eval()


def _as_a_teacher(*_: Any) -> NoReturn:
    raise ValueError(
        "params.yaml: model.family is 'bilstm', which has no pretrained weights. Allowed: encoder. A bilstm is a"
        " student: set distill.family to it."
    )


def _taken_apart(_: nn.Module) -> NoReturn:
    raise ValueError(
        "params.yaml: distill.family is 'bilstm', whose layers have neither attention heads nor feed-forward neurons."
        " Set prune.heads_kept: 1.0, prune.feed_forward_kept: 1.0; of distill.losses only logits and labels."
    )


FAMILY = Family(
    build=_as_a_teacher, parts=parts, student=_as_a_teacher, units=_taken_apart, taps=_taken_apart,
    readers=_taken_apart, narrower=_as_a_teacher,
    cut_vocabulary=cut_vocabulary, new_vocabulary=_as_a_teacher, write=write, open=open_model, begin=begin,
)  # fmt: skip
