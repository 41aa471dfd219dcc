"""BERT-like encoders (BERT, DistilBERT, ALBERT, RoBERTa, ...) with mean or [CLS] pooling and a linear head."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig

from stages.contracts import Family
from stages.files import read_json, refuse_remote_code, write_json

if TYPE_CHECKING:
    from stages.params import ModelParams


# Deterministic everywhere, no slower on short rows, and the form that ONNX Runtime knows how to fuse.
ATTENTION = "eager"
# What the kinds of encoders call the dropouts of their own.
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout")


class EncoderClassifier(nn.Module):
    """Token vectors pooled into one, and a linear layer on it. B examples, T tokens, C classes, H hidden width."""

    encoder: Any

    def __init__(self, encoder: Any, *, pooling: str, dropout: float, n_labels: int) -> None:
        super().__init__()
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler = None  # its output is not used, and weights without gradients are dead weight
        self.encoder = encoder
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.config.hidden_size, n_labels)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """input_ids, attention_mask (B, T) int64 -> logits (B, C)."""
        hidden_BTH = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.pooling == "cls":
            pooled_BH = hidden_BTH[:, 0]
        else:
            mask_BT1 = attention_mask.unsqueeze(-1).float()
            pooled_BH = (hidden_BTH.float() * mask_BT1).sum(1) / mask_BT1.sum(1)
        return self.head(self.dropout(pooled_BH).to(self.head.weight.dtype))


def build(folder: Path, model: ModelParams, n_labels: int) -> nn.Module:
    """The pretrained encoder in `folder`, with a new head. The caller has set torch's seed."""
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        for name in DROPOUTS:
            if hasattr(config, name):
                setattr(config, name, model.encoder_dropout)
        encoder = AutoModel.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation=ATTENTION,
        )
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(f"params.yaml: model.name is '{model.name}': {str(error).splitlines()[0]}") from None
    if not hasattr(encoder.config, "hidden_size") or encoder.config.is_encoder_decoder:
        raise ValueError(
            f"params.yaml: model.name is '{model.name}', a {encoder.config.model_type} model. Allowed for"
            " model.family 'encoder': BERT-like encoders (bert, distilbert, albert, roberta, ...)."
        )
    return EncoderClassifier(encoder, pooling=model.pooling, dropout=model.head_dropout, n_labels=n_labels)


def parts(model: Any) -> Mapping[str, nn.Module]:
    return {"encoder": model.encoder, "embeddings": model.encoder.get_input_embeddings(), "head": model.head}


def student(teacher: Any, layers: Sequence[int]) -> nn.Module:
    """A copy of `teacher` with only its layers number `layers`, in that order.

    ALBERT's layers share their weights: there, only their number matters. Raises ValueError for a layer that the
    teacher does not have.
    """
    n_layers = teacher.encoder.config.num_hidden_layers
    if too_high := [layer for layer in layers if layer >= n_layers]:
        raise ValueError(
            f"params.yaml: distill.teacher_layers has {too_high[0]}. Allowed: 0 to {n_layers - 1},"
            f" as the teacher has {n_layers} layers."
        )
    copied = copy.deepcopy(teacher)
    stack = _layer_stack(copied.encoder)
    if stack is not None:
        kept = [stack[layer] for layer in layers]
        del stack[:]
        stack.extend(copy.deepcopy(layer) for layer in kept)
    copied.encoder.config.num_hidden_layers = len(layers)
    return copied


def _layer_stack(encoder: Any) -> nn.ModuleList | None:
    """The list of the encoder's layers; None where all layers are one (ALBERT)."""
    for name in ("encoder.layer", "transformer.layer"):
        try:
            found = encoder.get_submodule(name)
        except AttributeError:
            continue
        if isinstance(found, nn.ModuleList):
            return found
    if hasattr(encoder.config, "num_hidden_groups") and encoder.config.num_hidden_groups == 1:
        return None
    raise ValueError(f"model.name: layers of a {encoder.config.model_type} model cannot be chosen yet.")


def write(model: Any, folder: Path) -> None:
    """config.json (the encoder's, and ours under `winnow`) and model.safetensors, byte-stable."""
    config = model.encoder.config.to_dict()
    for volatile in ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype"):
        config.pop(volatile, None)
    config["winnow"] = {"pooling": model.pooling, "dropout": model.dropout.p, "n_labels": model.head.out_features}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    weights = {name: tensor.detach().float().contiguous().cpu() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")


def open_model(folder: Path) -> nn.Module:
    """The model that `write` wrote to `folder`, in evaluation mode."""
    refuse_remote_code(folder)
    ours = read_json(folder / "config.json")["winnow"]
    config: PretrainedConfig = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    encoder = AutoModel.from_config(config, trust_remote_code=False, dtype=torch.float32, attn_implementation=ATTENTION)
    model = EncoderClassifier(encoder, pooling=ours["pooling"], dropout=ours["dropout"], n_labels=ours["n_labels"])
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval()


FAMILY = Family(build=build, parts=parts, student=student, write=write, open=open_model)
